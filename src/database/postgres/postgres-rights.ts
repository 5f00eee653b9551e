import { SegueError } from '../../errors/segue-error.js';
import type { NeededRights, Queryable } from '../database.js';

interface RoleAndPlace {
  readonly role: string;
  readonly schema: string;
  readonly database: string;
  readonly mayCreate: boolean;
  readonly mayMakeTemporary: boolean;
}

interface TableRights {
  readonly owner: string;
  readonly isOwner: boolean;
  readonly mayRead: boolean;
}

/**
 * Checks what the connection's role may do. Tables that are not there are left to whoever asks for them.
 * @throws SegueError NOT_PERMITTED naming the role, and each object with the right that is missing.
 */
export async function checkRoleRights(
  reader: Queryable,
  { read, alter }: NeededRights,
): Promise<void> {
  const [place] = await reader.all<RoleAndPlace>(
    `SELECT current_user::text AS role, current_schema()::text AS schema, current_database()::text AS database,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), true) AS "mayCreate",
       has_database_privilege(current_database(), 'TEMPORARY') AS "mayMakeTemporary"`,
  );
  if (place === undefined) return;
  const role = quote(place.role);
  const lacking: [right: string, grant: string][] = [];
  for (const table of new Set([...alter, ...read])) {
    // The same question as ALTER TABLE asks: the owner, or a member of the owner who inherits his rights.
    const [rights] = await reader.all<TableRights>(
      `SELECT pg_get_userbyid(relowner)::text AS owner, pg_has_role(relowner, 'USAGE') AS "isOwner",
         has_table_privilege(oid, 'SELECT') AS "mayRead" FROM pg_class WHERE oid = to_regclass(quote_ident(:table))`,
      { table },
    );
    if (rights === undefined) continue;
    if (alter.includes(table) && !rights.isOwner)
      lacking.push([
        `ownership of the table ${table} (its owner is ${rights.owner})`,
        `GRANT ${quote(rights.owner)} TO ${role}`,
      ]);
    else if (!rights.mayRead)
      lacking.push([`SELECT on the table ${table}`, `GRANT SELECT ON ${quote(table)} TO ${role}`]);
  }
  if (!place.mayCreate)
    lacking.push([
      `CREATE on the schema ${place.schema}`,
      `GRANT CREATE ON SCHEMA ${quote(place.schema)} TO ${role}`,
    ]);
  if (!place.mayMakeTemporary)
    lacking.push([
      `TEMPORARY on the database ${place.database}`,
      `GRANT TEMPORARY ON DATABASE ${quote(place.database)} TO ${role}`,
    ]);
  if (lacking.length === 0) return;
  const grants = [...new Set(lacking.map(([, grant]) => grant))];
  throw new SegueError(
    'NOT_PERMITTED',
    `The role ${place.role} lacks ${lacking.map(([right]) => right).join(', ')}. ` +
      `Let the old tables' owner run this, or grant it: ${grants.join('; ')}. Nothing was changed.`,
  );
}

function quote(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

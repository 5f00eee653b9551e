import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { OWN_TABLE_NAMES } from '../../src/database/migrations/migrations.js';
import { oldTables } from '../../src/schema.js';
import { EXPAND } from './legacy.js';

/** The old tables, by name. */
const OLD = oldTables(DEFAULT_MAPPING).map(({ mapping }) => mapping.table);

const OWN = [...OWN_TABLE_NAMES, EXPAND.migrationsTable];

const ADDED = ['socket_id', 'last_seen', 'conversation_id'];

/**
 * What old apps have beside the columns of the mapping: columns of their own of odd types, triggers, views, an index,
 * on PostgreSQL rights. Nothing that acts when our column is filled.
 */
export const ODDITIES: Record<EngineName, readonly string[]> = {
  sqlite: [
    'CREATE TABLE audit (what TEXT, id INTEGER)',
    "CREATE TRIGGER audit_insert AFTER INSERT ON messages BEGIN INSERT INTO audit VALUES ('insert', NEW.id); END",
    "CREATE TRIGGER audit_users AFTER UPDATE OF name ON users BEGIN INSERT INTO audit VALUES ('user', NEW.id); END",
    "CREATE VIEW unread AS SELECT * FROM messages WHERE status <> 'read'",
    "ALTER TABLE messages ADD COLUMN mood VARCHAR(3) COLLATE NOCASE DEFAULT 'meh' CHECK (length(mood) < 9) /* how it was meant */",
    'ALTER TABLE users ADD COLUMN karma FLOATING POINT',
    'ALTER TABLE contacts ADD COLUMN "odd name" BANANA',
    'CREATE INDEX messages_mood ON messages (mood)',
    `UPDATE users SET name = 'Eve', karma = '1.50' WHERE id = 3`,
    `UPDATE messages SET mood = x'00ff', content = CAST(x'68ff69' AS TEXT) WHERE id = 7`,
    // The newest rows are gone: their ids must not be given out again.
    'DELETE FROM messages WHERE id > 290',
  ],
  postgres: [
    'CREATE TABLE audit (what TEXT, id INTEGER)',
    `CREATE FUNCTION audit_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (TG_OP, NEW.id); RETURN NEW; END $$`,
    'CREATE TRIGGER audit_insert AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION audit_it()',
    'CREATE TRIGGER audit_users AFTER UPDATE OF name ON users FOR EACH ROW EXECUTE FUNCTION audit_it()',
    "CREATE VIEW unread AS SELECT * FROM messages WHERE status <> 'read'",
    'ALTER TABLE messages ADD COLUMN mood VARCHAR(3) COLLATE "C" DEFAULT \'meh\' CHECK (length(mood) < 9)',
    'ALTER TABLE users ADD COLUMN karma NUMERIC(4,1)',
    'ALTER TABLE contacts ADD COLUMN "odd name" POINT',
    'CREATE INDEX messages_mood ON messages (mood)',
    'GRANT SELECT ON messages TO PUBLIC',
    'GRANT UPDATE (status) ON messages TO PUBLIC',
    `UPDATE users SET name = 'Eve', karma = 1.50 WHERE id = 3`,
    `UPDATE messages SET created_at = '2020-01-01 00:00:00.123456' WHERE id = 7`,
    'DELETE FROM messages WHERE id > 290',
  ],
};

const MINE = `NOT IN (${[...OWN, ...ADDED].map((name) => `'${name}'`).join(', ')})`;

/** Everything that the old app defined; our own tables are left out. */
const DEFINITIONS: Record<EngineName, readonly string[]> = {
  sqlite: [
    `SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name ${MINE} ORDER BY type, name`,
    `SELECT name, seq FROM sqlite_sequence WHERE name ${MINE} ORDER BY name`,
  ],
  postgres: [
    `SELECT c.relname, c.relkind, c.relowner::regrole::text AS owner, c.relacl::text, c.relhastriggers, c.relhasrules, obj_description(c.oid, 'pg_class') AS comment
       FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND c.relname ${MINE}
         AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'a' AND d.refobjid::regclass::text NOT IN (${OLD.map((name) => `'${name}'`).join(', ')})) ORDER BY 1`,
    `SELECT a.attrelid::regclass::text AS relation, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull, a.attidentity, a.attgenerated,
         a.attcollation::regcollation::text AS collation, a.attacl::text, a.attstorage, pg_get_expr(d.adbin, d.adrelid) AS fallback, col_description(a.attrelid, a.attnum) AS comment
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
         AND c.relname ${MINE} AND a.attname ${MINE} ORDER BY 1, 2`,
    `SELECT conrelid::regclass::text AS relation, conname, convalidated, pg_get_constraintdef(oid) AS definition FROM pg_constraint
       WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text ${MINE} ORDER BY 1, 2`,
    `SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename ${MINE} ORDER BY 1, 2`,
    `SELECT tgrelid::regclass::text AS relation, tgname, tgenabled, pg_get_triggerdef(oid) AS definition FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2`,
    `SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1`,
    `SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1`,
    `SELECT s.sequencename, s.last_value FROM pg_sequences s WHERE s.schemaname = 'public'
       AND regexp_replace(s.sequencename, '_(id_seq|own_ids)$', '') ${MINE} ORDER BY 1`,
  ],
};

/** A value with its type and its bytes. */
const EXACT: Record<EngineName, (column: string) => string> = {
  sqlite: (column) => `typeof(${column}) || ':' || coalesce(hex(CAST(${column} AS BLOB)), '')`,
  postgres: (column) => `encode(convert_to((${column})::text, 'UTF8'), 'hex')`,
};

/** The old side: definitions, and each value of each row with its type and bytes, but for our own columns. */
export interface OldSide {
  readonly definitions: readonly unknown[];
  readonly rows: Readonly<Record<string, unknown>>;
  /** The added columns that are there, and how many of their values are set. */
  readonly added: Readonly<Record<string, number>>;
}

export async function oldSideOf(database: Database): Promise<OldSide> {
  const { reader, dialect } = database;
  const definitions: unknown[] = [];
  for (const statement of DEFINITIONS[dialect.engine])
    definitions.push(await reader.all(statement));
  const rows: Record<string, unknown> = {};
  const added: Record<string, number> = {};
  for (const table of [...OLD, 'audit']) {
    const columns = await reader.all<{ name: string }>(dialect.describeTable, { table });
    if (columns.length === 0) continue;
    const old = columns.filter(({ name }) => !ADDED.includes(name));
    const values = old.map(({ name }) => `${EXACT[dialect.engine](`"${name}"`)} AS "${name}"`);
    rows[table] = await reader.all(
      `SELECT ${values.join(', ')} FROM ${table} ORDER BY "${old[0]?.name}"`,
    );
    for (const { name } of columns.filter((column) => ADDED.includes(column.name))) {
      const [set] = await reader.all<{ count: number | string }>(
        `SELECT count("${name}") AS count FROM ${table}`,
      );
      added[`${table}.${name}`] = Number(set?.count);
    }
  }
  return { definitions, rows, added };
}

/** The same without a trace of our columns in SQLite's texts: to compare where they may stay. */
export function withoutColumns({ definitions, rows }: OldSide): Omit<OldSide, 'added'> {
  const text = JSON.stringify(definitions).replaceAll(
    /, \\"(socket_id|last_seen|conversation_id)\\" (TEXT|DATETIME|INTEGER) \/\* added by segue \*\//g,
    '',
  );
  return { definitions: JSON.parse(text) as unknown[], rows };
}

/** The same without the triggers that capture writes, which are there from EXPANDED on. */
export function withoutCapture<Side extends Pick<OldSide, 'definitions'>>(side: Side): Side {
  const isOurs = (definition: unknown): boolean =>
    JSON.stringify(definition).includes('segue_capture_');
  return {
    ...side,
    definitions: side.definitions.map((found) =>
      Array.isArray(found) ? found.filter((definition) => !isOurs(definition)) : found,
    ),
  };
}

/** Which of our tables, and of their sequences, a database has. */
export async function oursIn(database: Database): Promise<string[]> {
  const statement = {
    sqlite: `SELECT name FROM sqlite_master WHERE tbl_name IN (${OWN.map((name) => `'${name}'`).join(', ')})
      UNION ALL SELECT name FROM sqlite_sequence WHERE name IN (${OWN.map((name) => `'${name}'`).join(', ')}) ORDER BY 1`,
    postgres: `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
      AND (${OWN.map((name) => `relname LIKE '${name}%'`).join(' OR ')}) ORDER BY 1`,
  }[database.dialect.engine];
  return (await database.reader.all<{ name: string }>(statement)).map(({ name }) => name);
}

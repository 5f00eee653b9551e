import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { ColumnDescription, EngineName } from '../../src/database/dialect.js';
import { oldTables } from '../../src/schema.js';
import { definitionsOf } from './definitions.js';

/** What a database holds, in a form that two of them can be compared by: for each table its rows, a line each. */
export type Contents = Readonly<Record<string, readonly string[]>>;

/** Columns that a clock fills, or that say how often something was tried. */
const VARYING: Readonly<Record<string, readonly string[]>> = {
  segue_migrations: ['id'],
  conversations: ['id'],
  event_log: ['epoch'],
  events: ['id', 'at'],
  // A step that is done again may be done by somebody else.
  changeover_log: ['id', 'at', 'who'],
  changeover_state: ['expanded_at', 'started_at', 'changed_at', 'rows_per_second'],
  changeover_quarantine: ['quarantined_at'],
  changeover_certificates: ['id', 'verified_at'],
  changeover_mismatches: ['certificate_id'],
  changeover_repairs: ['id', 'repaired_at'],
};

/**
 * Who looks once more writes one more certificate: the last one counts. The lease of a process that was killed when all was
 * done stands until it has run out, since nobody needs to take it over.
 */
const ONLY: Readonly<Record<string, string>> = {
  changeover_lease: 'WHERE false',
  changeover_certificates: 'WHERE t.id = (SELECT max(id) FROM changeover_certificates)',
  changeover_mismatches: 'WHERE t.certificate_id = (SELECT max(id) FROM changeover_certificates)',
};

/** The number of a conversation is given as rows come; whose it is, is not. */
const WHOSE = (id: string): string =>
  `(SELECT coalesce('group ' || c.legacy_group_id, c.pair_low || ' and ' || c.pair_high) FROM conversations c WHERE c.id = ${id})`;

/** How the numbers of the old tables go on: the old app must never be given one twice, nor one left out by us. */
const SEQUENCES: Record<EngineName, string> = {
  sqlite: 'SELECT name, seq AS at FROM sqlite_sequence',
  postgres: `SELECT regexp_replace(sequencename, '_id_seq$', '') AS name, last_value::text AS at FROM pg_sequences`,
};

/** How the numbers of the old tables go on. */
async function sequencesOf(database: Database): Promise<object[]> {
  const old = oldTables(DEFAULT_MAPPING).map(({ mapping }) => mapping.table);
  const all = await database.reader.all<{ name: string }>(SEQUENCES[database.dialect.engine]);
  return all.filter(({ name }) => old.includes(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** All tables, old and new, with their definitions: each value by its type and its bytes. */
export async function contentsOf(database: Database): Promise<Contents> {
  const contents: Record<string, string[]> = {
    definitions: (await definitionsOf(database))
      .flat()
      // Numbers that a rolled back transaction took are gone on PostgreSQL; of the old tables see `sequencesOf`.
      .filter((found) => typeof found === 'object' && found !== null && !('sequencename' in found))
      .map((found) => JSON.stringify(found)),
    sequences: (await sequencesOf(database)).map((found) => JSON.stringify(found)),
  };
  const tables = await database.reader.all<{ name: string }>(database.dialect.listTables);
  for (const { name } of tables) contents[name] = await linesOf(database, name);
  return contents;
}

/** The old tables alone, as the old app knows them: without what we add. */
export async function oldSideOf(database: Database): Promise<Contents> {
  const contents: Record<string, string[]> = {
    sequences: (await sequencesOf(database)).map((found) => JSON.stringify(found)),
  };
  for (const { mapping, columns } of oldTables(DEFAULT_MAPPING)) {
    const added = Object.entries(columns)
      .filter(([, column]) => column.added)
      .map(([property]) => mapping.columns[property] ?? '');
    contents[mapping.table] = await linesOf(database, mapping.table, added);
  }
  return contents;
}

async function linesOf(
  database: Database,
  table: string,
  leaveOut: readonly string[] = VARYING[table] ?? [],
): Promise<string[]> {
  const { dialect, reader } = database;
  const columns = await reader.all<ColumnDescription>(dialect.describeTable, { table });
  const values = columns
    .filter(({ name }) => !leaveOut.includes(name))
    .map(({ name }) => {
      const value = `t.${dialect.name(name)}`;
      return `'${name}=' || ${dialect.canonicalOf(name === 'conversation_id' ? WHOSE(value) : value)}`;
    });
  const rows = await reader.all<{ line: string }>(
    `SELECT ${values.join(` || ' ' || `)} AS line FROM ${dialect.name(table)} t ${ONLY[table] ?? ''}`,
  );
  return rows.map(({ line }) => line).sort();
}

/** Lines that are shown of a table and a side. */
const SHOWN = 3;

/** The first lines that one of two has and the other has not; none: they are the same. */
export function differences(expected: Contents, found: Contents): string[] {
  const differing: string[] = [];
  for (const table of new Set([...Object.keys(expected), ...Object.keys(found)])) {
    const [had, has] = [expected[table], found[table]];
    if (had === undefined || has === undefined)
      differing.push(`${table}: ${had === undefined ? 'too much' : 'missing'}`);
    else
      differing.push(
        ...surplus(had, has).map((line) => `${table}: missing ${line}`),
        ...surplus(has, had).map((line) => `${table}: too much ${line}`),
      );
  }
  return differing;
}

/** The lines of `lines` that are not, or not as often, among `others`. */
function surplus(lines: readonly string[], others: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
  return lines
    .filter((line) => {
      const count = left.get(line) ?? 0;
      left.set(line, count - 1);
      return count <= 0;
    })
    .slice(0, SHOWN);
}

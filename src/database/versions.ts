import { SegueError } from '../errors/segue-error.js';
import { VERSION } from '../version.js';
import type { Database } from './database.js';
import type { Schema } from './schema.js';

/** How far the tables of a database have come, and the lowest version whose programs may use them. */
interface TablesVersion {
  readonly version: number;
  readonly oldest: number;
}

/** Null where there are no tables of ours. */
async function findVersion({ dialect, reader }: Database): Promise<TablesVersion | null> {
  if (!(await isThere({ dialect, reader }, 'segue_schema'))) return null;
  const [row] = await reader.all<{ version: number | string; oldest: number | string }>(
    'SELECT version, oldest FROM segue_schema WHERE id = 1',
  );
  return row === undefined ? null : { version: Number(row.version), oldest: Number(row.oldest) };
}

/**
 * Checks that this program may use the database: newer programs may have added to it, and said that those of this version go
 * on beside them; else what they added has rules that this one would break without noticing.
 * @throws SegueError NEWER_DATABASE saying why, and what to start instead.
 */
export async function checkMayRun(database: Database, schema: Schema): Promise<void> {
  const { dialect, reader, shown } = database;
  const found = await findVersion(database);
  if (found !== null && schema.version < found.oldest)
    throw new SegueError(
      'NEWER_DATABASE',
      `${shown} is at schema version ${found.version}, which programs before schema version ${found.oldest} may not use any more; ` +
        `this is Segue ${VERSION} with schema version ${schema.version}. Start a newer one; nothing was changed.`,
    );
  if (!(await isThere(database, schema.migrationsTable))) return;
  const known = new Set(schema.migrations.map((Migration) => new Migration().name));
  const done = await reader.all<{ name: string }>(
    `SELECT name FROM ${dialect.name(schema.migrationsTable)} ORDER BY id`,
  );
  const unknown = done.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  // Those of a newer version, which lets this one go on.
  const isNewer = found !== null && found.version > schema.version;
  if (unknown.length > 0 && !isNewer)
    throw new SegueError(
      'NEWER_DATABASE',
      `${shown} was written by another version of Segue: its table ${schema.migrationsTable} names ${unknown.join(', ')}, ` +
        `which version ${VERSION} does not know. Use the version that wrote it; nothing was changed.`,
    );
}

/**
 * Brings our own tables up to this program's version, where they are there and older. Programs of earlier versions go on
 * beside it, as far as its migrations say. The old tables stay as they are.
 * @returns the version that they had; null: there was nothing to do
 * @throws SegueError LOCK_TIMEOUT when a table stays locked by others.
 */
export async function upgrade(database: Database, schema: Schema): Promise<number | null> {
  const found = await findVersion(database);
  if (found === null || found.version >= schema.version) return null;
  await database.migrate();
  return found.version;
}

async function isThere(
  { dialect, reader }: Pick<Database, 'dialect' | 'reader'>,
  table: string,
): Promise<boolean> {
  const [book] = await reader.all<{ present: number | string }>(dialect.hasTable, { table });
  return Number(book?.present) > 0;
}

import { SegueError } from '../errors/segue-error.js';
import { VERSION } from '../version.js';
import type { Database } from './database.js';
import type { Schema } from './schema.js';

/**
 * Checks that this version knows all that was done to the database: what a newer one added has rules that this one
 * would break without noticing.
 * @throws SegueError NEWER_DATABASE naming what is not known.
 */
export async function checkMigrationsAreKnown(
  { dialect, reader, shown }: Database,
  { migrations, migrationsTable }: Schema,
): Promise<void> {
  const [book] = await reader.all<{ present: number | string }>(dialect.hasTable, {
    table: migrationsTable,
  });
  if (Number(book?.present) === 0) return;
  const known = new Set(migrations.map((Migration) => new Migration().name));
  const done = await reader.all<{ name: string }>(
    `SELECT name FROM ${dialect.name(migrationsTable)} ORDER BY id`,
  );
  const unknown = done.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  if (unknown.length > 0)
    throw new SegueError(
      'NEWER_DATABASE',
      `${shown} was written by another version of Segue: its table ${migrationsTable} names ${unknown.join(', ')}, ` +
        `which version ${VERSION} does not know. Use the version that wrote it; nothing was changed.`,
    );
}

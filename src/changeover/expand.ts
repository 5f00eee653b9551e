import { SegueError } from '../errors/segue-error.js';
import { OWN_TABLE_NAMES } from '../database/migrations/migrations.js';
import type { ChangeoverContext } from './context.js';
import { checkNamesAreFree, checkShape, hasTable, isEmpty, type OldTrigger } from './shape.js';
import { changeStage, readState, type Stage } from './stage.js';

export interface ExpandOptions {
  /** What the operator would restore if all went wrong; null: he said that he needs nothing. */
  readonly backup: string | null;
  readonly migrationsTable: string;
}

/**
 * Adds our tables, and three nullable columns to the old ones; no old row changes. Does nothing when that is done.
 *
 * On SQLite it holds the write lock for some milliseconds. On PostgreSQL each ALTER TABLE waits at most 50 ms for its
 * lock and tries again, so that readers never queue up behind it.
 * @throws SegueError NO_SUCH_TABLE, NO_SUCH_COLUMN, UNSUPPORTED_DATABASE, NAME_TAKEN, LOCK_TIMEOUT.
 */
export async function expand(
  { database, mapping }: ChangeoverContext,
  { backup, migrationsTable }: ExpandOptions,
): Promise<Stage> {
  const { stage } = await readState(database);
  if (stage !== 'LEGACY') return stage;
  if (await isEmpty(database))
    throw new SegueError(
      'NO_SUCH_TABLE',
      `${database.shown} is empty: there is nothing to move. 'segue serve' sets a new chat up in it.`,
    );
  await checkShape(database, mapping);
  // A run that was killed may have made some of ours; its own book says which.
  if (!(await hasTable(database, migrationsTable)))
    await checkNamesAreFree(database, mapping, OWN_TABLE_NAMES);
  await database.migrate();

  const triggers = await database.reader.all<OldTrigger>(database.dialect.triggersOn, {
    table: mapping.messages.table,
  });
  // What an old trigger does when conversation_id is filled, nobody asked for.
  const fillsLink = !triggers.some(({ acts }) => Boolean(acts));
  await database.transaction(async (transaction) => {
    await transaction.run(
      'UPDATE changeover_state SET backup = :backup, fills_link = :fillsLink WHERE id = 1',
      { backup, fillsLink },
    );
    await changeStage(transaction, database.dialect.now, 'LEGACY', 'EXPANDED');
  });
  return 'EXPANDED';
}

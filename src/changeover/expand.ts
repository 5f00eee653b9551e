import { putCaptureOn } from './capture.js';
import type { ChangeoverContext } from './context.js';
import { Lease } from './lease.js';
import { examine } from './readiness.js';
import { listOldTriggers } from './shape.js';
import { changeStage, getState, readState, settleZone, type Stage } from './stage.js';
import { isUnlinking, unlink } from './unlink.js';

export interface ExpandOptions {
  /** What the operator would restore if all went wrong; null: he said that he needs nothing. */
  readonly backup: string | null;
  readonly migrationsTable: string;
  /** Leaves our three columns out of the old tables, for an old app whose INSERTs do not name theirs. */
  readonly withoutColumns?: boolean;
}

/**
 * Adds our tables, three nullable columns to the old ones, and the triggers that capture what the old app writes; no
 * old row changes. Does nothing when that is done, and nothing where `segue plan` shows a problem. On the way forward it first ends a rollback that was ended before it was done.
 *
 * On SQLite it holds the write lock for some milliseconds. On PostgreSQL each ALTER TABLE waits at most 50 ms for its
 * lock and tries again, so that readers never queue up behind it.
 * @throws SegueError NOT_PERMITTED, NO_SUCH_TABLE, NO_SUCH_COLUMN, UNSUPPORTED_DATABASE, NAME_TAKEN, NO_SPACE,
 *   LOCK_TIMEOUT; RUNNER_ACTIVE beside a rollback.
 */
export async function expand(
  context: ChangeoverContext,
  { backup, migrationsTable, withoutColumns = false }: ExpandOptions,
): Promise<Stage> {
  const { database, mapping } = context;
  const state = await readState(database);
  if (state.stage !== 'LEGACY') return state.stage;
  // What is left of an earlier copy must not be taken for a part of the next one.
  if (isUnlinking(state)) await finishUnlinking(context);
  // A run that was killed is ended as it was begun.
  const choice = { withoutColumns: withoutColumns || !state.addsColumns };
  const [problem] = (await examine(context, { migrationsTable, ...choice })).problems;
  if (problem !== undefined) throw problem;
  await database.migrate(choice);
  // Before anything is copied: what is written from here on leaves an entry, and what was written before is seen.
  await putCaptureOn(database, mapping);

  // Looked at again: the old app may have made one meanwhile.
  const triggers = await listOldTriggers(database, mapping);
  const fillsLink = !triggers.some(({ acts }) => Boolean(acts));
  return database.transaction(async (transaction) => {
    const isFirst = await transaction.run(
      `UPDATE changeover_state SET backup = :backup, fills_link = adds_columns AND :fillsLink WHERE id = 1 AND stage = 'LEGACY'`,
      { backup, fillsLink },
    );
    // Another process did all this at the same time, and may have come further.
    if (isFirst === 0) return (await getState(transaction)).stage;
    await settleZone(transaction, database.dialect);
    await changeStage(transaction, database.dialect.now, 'LEGACY', 'EXPANDED');
    return 'EXPANDED';
  });
}

/** Ends a rollback that was ended before it was done. */
async function finishUnlinking(context: ChangeoverContext): Promise<void> {
  await Lease.hold(context.database, (lease) => unlink(context, lease, 'LEGACY'));
}

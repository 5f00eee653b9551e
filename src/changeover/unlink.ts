import type { Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import { LOWEST_ID } from '../database/ids.js';
import { oldRows } from '../legacy/old-rows.js';
import { nextSize } from './batch-size.js';
import type { ChangeoverContext } from './context.js';
import type { Lease } from './lease.js';
import { Meter } from './progress.js';
import { hasColumn, type OldTrigger } from './shape.js';
import { type ChangeoverState, changeStage, getState, readState } from './stage.js';
import { Turns } from './turns.js';

/** Rows of the first batch: what a batch takes is not known yet. */
const FIRST_ROWS = 1_000;

/** Whether a rollback took the copies away and was ended before `messages.conversation_id` was empty again. */
export function isUnlinking({ stage, lowId }: ChangeoverState): boolean {
  return stage === 'LEGACY' && lowId !== null;
}

/**
 * Empties `messages.conversation_id` from where the books say on, and moves the stage from LEGACY to `to` in the
 * transaction that finds nothing left to empty. Until then the stage is LEGACY, where only the old side is read, and
 * both ways forward come through here again: 'expand', and a rollback.
 *
 * In batches of 25 ms on SQLite, where each holds the write lock, and of 100 on PostgreSQL, where each holds the locks of
 * the rows that it empties; in between it leaves others their turn.
 * @returns the number of rows that were emptied by this run.
 * @throws SegueError UNSUPPORTED_DATABASE when a trigger of the old app would fire; LEASE_LOST.
 */
export async function unlink(
  context: ChangeoverContext,
  lease: Lease,
  to: 'LEGACY' | 'EXPANDED',
): Promise<number> {
  const { database, mapping } = context;
  const { dialect } = database;
  const rows = oldRows(dialect, mapping);
  const { table, columns } = mapping.messages;
  const isThere = await hasColumn(database.reader, dialect, {
    table,
    column: columns.conversationId,
  });
  if (isThere) await checkNothingFires(context);

  const [left] = await database.reader.all<{ count: number | string }>(
    `SELECT count(*) AS count FROM ${rows.table} WHERE ${rows.names.id} <= CAST(:high AS bigint)`,
    { high: (await readState(database)).doneAbove },
  );
  const meter = new Meter('links', Number(left?.count ?? 0), context.report);

  /** Returns the rows looked at and those emptied; none looked at: it is done, and the stage is `to`. */
  const emptyBatch = async (transaction: Queryable, size: number): Promise<[number, number]> => {
    const { lowId, doneAbove } = await getState(transaction);
    const [range] =
      !isThere || lowId === null || doneAbove === null
        ? []
        : await transaction.all<{ low: string | null; count: number | string }>(
            `SELECT CAST(min(id) AS text) AS low, count(*) AS count FROM (
               SELECT ${rows.names.id} AS id FROM ${rows.table}
               WHERE ${rows.names.id} BETWEEN CAST(:floor AS bigint) AND CAST(:high AS bigint)
               ORDER BY ${rows.names.id} DESC LIMIT :size) AS newest`,
            { floor: lowId, high: doneAbove, size },
          );
    if (range?.low == null) {
      await transaction.run(
        'UPDATE changeover_state SET low_id = NULL, high_id = NULL, done_above = NULL WHERE id = 1',
      );
      await changeStage(transaction, dialect.now, 'LEGACY', to);
      return [0, 0];
    }
    const emptied = await transaction.run(
      `UPDATE ${rows.table} SET ${rows.names.conversationId} = NULL
       WHERE ${rows.names.id} BETWEEN CAST(:low AS bigint) AND CAST(:high AS bigint)
         AND ${rows.names.conversationId} IS NOT NULL`,
      { low: range.low, high: doneAbove },
    );
    await transaction.run(
      // Below the lowest id there is no number: null says that nothing is left.
      `UPDATE changeover_state SET done_above = CASE WHEN CAST(:low AS bigint) > CAST(:lowest AS bigint)
         THEN CAST(:low AS bigint) - 1 END, changed_at = ${dialect.now} WHERE id = 1`,
      { low: range.low, lowest: LOWEST_ID },
    );
    return [Number(range.count), emptied];
  };

  const turns = new Turns(dialect.manners);
  let emptied = 0;
  let size = FIRST_ROWS;
  for (;;) {
    const rowsOfBatch = size;
    const {
      result: [seen, done],
      heldMs,
    } = await turns.take<[number, number]>(
      (work) => lease.fenced(database, work),
      (transaction) => emptyBatch(transaction, rowsOfBatch),
    );
    if (seen === 0) return emptied;
    emptied += done;
    meter.add(seen);
    size = nextSize(size, heldMs, dialect.manners.busyTargetMs);
  }
}

/** Accounts of one transaction. */
const ACCOUNTS = 1_000;

/**
 * Empties our columns of the old table of accounts, in which it was kept who was there when, in transactions of 1,000
 * accounts that leave others their turn. Where a trigger of the old app's would act on that, they stay as they are.
 * @throws SegueError LEASE_LOST.
 */
export async function emptyUserColumns(
  { database, mapping }: ChangeoverContext,
  lease: Lease,
): Promise<void> {
  const { dialect, reader } = database;
  const { table: users, columns } = mapping.users;
  const [table, id] = [dialect.name(users), dialect.name(columns.id)];
  const triggers = await reader.all<OldTrigger>(dialect.triggersOn, { table: users });
  if (triggers.some(({ acts }) => Boolean(acts))) return;
  const ours: string[] = [];
  for (const column of [columns.socketId, columns.lastSeen])
    if (await hasColumn(reader, dialect, { table: users, column })) ours.push(dialect.name(column));
  if (ours.length === 0) return;
  const isSet = ours.map((column) => `${column} IS NOT NULL`).join(' OR ');
  const turns = new Turns(dialect.manners);
  for (;;) {
    const { result } = await turns.take(
      (work) => lease.fenced(database, work),
      (transaction) =>
        transaction.run(
          `UPDATE ${table} SET ${ours.map((column) => `${column} = NULL`).join(', ')}
           WHERE ${id} IN (SELECT ${id} FROM ${table} WHERE ${isSet} LIMIT :size)`,
          { size: ACCOUNTS },
        ),
    );
    if (result === 0) return;
  }
}

/**
 * Checks that emptying the column sets nothing of the old app's off: a trigger may have come after expand.
 * @throws SegueError UNSUPPORTED_DATABASE naming it.
 */
export async function checkNothingFires({ database, mapping }: ChangeoverContext): Promise<void> {
  const { table, columns } = mapping.messages;
  const triggers = await database.reader.all<OldTrigger>(database.dialect.triggersOn, { table });
  const acting = triggers.filter(({ acts }) => Boolean(acts)).map(({ name }) => name);
  if (acting.length > 0)
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      `${acting.join(', ')} of the old app would act on each row of ${table} when ${columns.conversationId} is emptied: ` +
        `take it off meanwhile, or drop the column with 'segue rollback --purge --drop-columns', which sets nothing off.`,
    );
}

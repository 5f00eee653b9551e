import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { inverseOf, keptBeside } from '../legacy/inverse.js';
import { LOWEST_ID } from '../database/ids.js';
import { SegueError } from '../errors/segue-error.js';
import { oldRows } from '../legacy/old-rows.js';
import { nextSize } from './batch-size.js';
import { isOfAccount, SOURCES } from './capture.js';
import { inParts } from './content-bytes.js';
import type { ChangeoverContext } from './context.js';
import { Departures } from './departures.js';
import { Lease } from './lease.js';
import { eachUnrefused, Settler } from './settle.js';
import { Turns } from './turns.js';
import { type ChangeoverState, getState, hasReached } from './stage.js';

/**
 * Entries of the first slice, of the smallest and of the largest. Some twenty statements cost the same for one row as for
 * fifty: where they alone take longer than a transaction should, smaller slices only make more of them.
 */
const FIRST_SLICE = 100;
const SMALLEST_SLICE = 50;
const LARGEST_SLICE = 1_000;

/** For how long after a message was sent here its old row counts as written with it, in microseconds. */
const A_MOMENT = 5_000_000;

/** Runs one transaction that excludes all others of the changeover: behind a lease's fence, or `Lease.once`. */
export type RunExcluded = <Result>(
  work: (transaction: Queryable) => Promise<Result>,
) => Promise<Result>;

export interface ApplyOptions {
  /** Ends it between two transactions. */
  readonly stopping?: AbortSignal | undefined;
}

/** An entry of the queue: this row is dirty, and nothing more. Without an id: the whole table may be. */
interface Entry {
  readonly id: string;
  readonly source: string;
  readonly legacyId: string | null;
}

/**
 * Brings to the new side what the old app wrote: for each entry of the queue the row is read anew, and its copy is made,
 * changed or taken away so that it says what the rules say of the row now. Exactly the entries that were read are
 * deleted, in the transaction that settled their rows: one that came meanwhile stays, and one whose row was changed
 * again is followed by another.
 *
 * Before the first pass is done nothing is applied, since the batches have everything still to read; at EXPANDED
 * entries are only taken away.
 *
 * Entries tell that somebody writes: each transaction is as short as the engine's `busyTargetMs`, and is followed by a
 * rest, or a backlog would starve the very writers that it came from.
 */
export class Applier {
  private readonly settler: Settler;
  private readonly departures: Departures;
  private readonly sql: ApplySql;
  private readonly parts: (reader: Queryable, ids: readonly string[]) => Promise<string[][]>;
  private readonly targetMs: number;
  private size = FIRST_SLICE;
  /** How long the transactions of a slice held their locks, in ms. */
  private heldMs = 0;

  /** @param turns shared with whoever has transactions of his own in between */
  constructor(
    { database, mapping }: ChangeoverContext,
    private readonly turns = new Turns(database.dialect.manners),
  ) {
    this.parts = (reader, ids) => inParts(reader, { dialect: database.dialect, mapping }, ids);
    this.settler = new Settler(database.dialect, mapping);
    this.departures = new Departures(database.dialect, mapping);
    this.sql = applySql(database.dialect, mapping);
    this.targetMs = database.dialect.manners.busyTargetMs;
  }

  /**
   * Applies one slice of the queue.
   * @param reader reads outside of transactions
   * @returns the number of entries that were taken away; 0: there is nothing to do, or nothing may be done yet
   * @throws what `run` throws when another process is at work; an AbortError when it was stopped.
   */
  async applySlice(
    reader: Queryable,
    runNow: RunExcluded,
    { stopping }: ApplyOptions = {},
  ): Promise<number> {
    const entries = await reader.all<Entry>(this.sql.entries, { size: this.size });
    if (entries.length === 0) return 0;
    const rows = entries.filter(
      ({ source, legacyId }) => !isOfAccount(source) && legacyId !== null,
    );
    const isDeparture = ({ source }: Entry): boolean => source === SOURCES.departures;
    const others = entries.filter(
      (entry) => (isOfAccount(entry.source) || entry.legacyId === null) && !isDeparture(entry),
    );
    this.heldMs = 0;
    const run: RunExcluded = async (work) => {
      const { result, heldMs } = await this.turns.take(runNow, work, stopping);
      this.heldMs += heldMs;
      return result;
    };
    let done = 0;
    // First who has left: what is written under his id since is somebody else's.
    for (const entry of entries.filter(isDeparture))
      done += await this.applyMany(entry, reader, run);
    done += await this.applyRows(rows, reader, run);
    if (rows.length > 0) this.size = this.nextSlice(rows.length);
    for (const entry of others) done += await this.applyMany(entry, reader, run);
    return done;
  }

  /**
   * Applies what is in the queue, but for what comes meanwhile.
   * @throws as `applySlice`.
   */
  async drain(reader: Queryable, run: RunExcluded, options: ApplyOptions = {}): Promise<number> {
    let done = 0;
    for (;;) {
      const { size } = this;
      const applied = await this.applySlice(reader, run, options);
      done += applied;
      // It was the rest of the queue. What stays dirty, because somebody holds the row, is not tried again at once.
      if (applied < size) return done;
    }
  }

  private nextSlice(rows: number): number {
    const size = nextSize(this.size, (this.heldMs / rows) * this.size, this.targetMs);
    return Math.min(Math.max(size, SMALLEST_SLICE), LARGEST_SLICE);
  }

  private async applyRows(
    entries: readonly Entry[],
    reader: Queryable,
    run: RunExcluded,
  ): Promise<number> {
    const byRow = new Map<string, string[]>();
    for (const { id, legacyId } of entries)
      if (legacyId !== null) byRow.set(legacyId, [...(byRow.get(legacyId) ?? []), id]);
    if (byRow.size === 0) return 0;
    let done = 0;
    for (const part of await this.parts(reader, [...byRow.keys()]))
      await eachUnrefused(part, async (ids, words) => {
        done += await run(async (transaction) => {
          const state = await getState(transaction);
          if (!mayApply(state)) return 0;
          if (isCopying(state))
            if (words === null) await this.settler.settle(transaction, state, ids, 'changed');
            else await this.settler.refuse(transaction, state, ids, words);
          return this.takeAway(
            transaction,
            ids.flatMap((id) => byRow.get(id) ?? []),
          );
        });
      });
    return done;
  }

  /**
   * An entry that stands for many rows: the table was emptied, or an account came, went or got another number. Its rows
   * are looked for in pages and settled; the entry goes with the last of them.
   */
  private async applyMany(
    { id, source, legacyId }: Entry,
    reader: Queryable,
    run: RunExcluded,
  ): Promise<number> {
    const statements = isOfAccount(source) ? this.sql.ofAccount : this.sql.gone;
    for (const statement of statements)
      for (let after = LOWEST_ID; ;) {
        const page = await reader.all<{ legacyId: string }>(statement, {
          after,
          account: legacyId,
          size: FIRST_SLICE,
        });
        const last = page.at(-1);
        if (last === undefined) break;
        const ids = page.map((row) => row.legacyId);
        for (const part of await this.parts(reader, ids))
          await eachUnrefused(part, (some, words) =>
            run(async (transaction) => {
              const state = await getState(transaction);
              if (!mayApply(state) || !isCopying(state)) return;
              if (words === null) await this.settler.settle(transaction, state, some, 'changed');
              else await this.settler.refuse(transaction, state, some, words);
            }),
          );
        after = last.legacyId;
      }
    return run(async (transaction) => {
      const state = await getState(transaction);
      if (!mayApply(state)) return 0;
      if (isOfAccount(source) && legacyId !== null)
        await this.departures.settle(
          transaction,
          { source, account: legacyId },
          hasReached(state.stage, 'BACKFILLED'),
        );
      return this.takeAway(transaction, [id]);
    });
  }

  private async takeAway(transaction: Queryable, ids: readonly string[]): Promise<number> {
    const some = { ids: JSON.stringify(ids) };
    const [foreign] = await transaction.all<{ count: number | string; last: string | null }>(
      this.sql.foreign,
      some,
    );
    await transaction.run(
      `UPDATE changeover_state SET applied = applied + :count, foreign_writes = foreign_writes + :foreign,
         foreign_written_at = CASE WHEN CAST(:last AS bigint) > coalesce(foreign_written_at, 0) THEN CAST(:last AS bigint) ELSE foreign_written_at END
       WHERE id = 1`,
      { count: ids.length, foreign: Number(foreign?.count), last: foreign?.last ?? null },
    );
    return transaction.run(this.sql.takeAway, some);
  }
}

/**
 * Applies what is queued, each slice in one transaction of its own that excludes every other one of the changeover.
 * @returns the number of entries that were applied
 * @throws SegueError RUNNER_ACTIVE: who holds the lease applies them.
 */
export function applyQueued(context: ChangeoverContext): Promise<number> {
  const { database } = context;
  return new Applier(context).drain(database.reader, (work) => Lease.once(database, work));
}

/** As `applyQueued`, or does nothing where somebody holds the lease: he applies them. */
export async function applyUnlessOthersDo(context: ChangeoverContext): Promise<void> {
  try {
    await applyQueued(context);
  } catch (error) {
    if (!(error instanceof SegueError) || error.code !== 'RUNNER_ACTIVE') throw error;
  }
}

/** Entries wait while the first pass reads: what it makes of a row must not be older than what is made here. */
function mayApply({ stage, hasThreads }: ChangeoverState): boolean {
  return stage !== 'LEGACY' && stage !== 'CONTRACTED' && (stage !== 'BACKFILLING' || hasThreads);
}

/** Whether there are copies to be kept in step. */
function isCopying({ stage }: ChangeoverState): boolean {
  return hasReached(stage, 'BACKFILLING');
}

interface ApplySql {
  /** Some entries, as `Entry`; `:size`. In no order: an entry says nothing that another one could change. */
  readonly entries: string;
  /** Deletes the entries of the JSON array `:ids`. */
  readonly takeAway: string;
  /**
   * Those of the entries `:ids` that somebody else's write has left, as `{count, last}`. What our own mirrors leave bears another
   * source, or is about a message that was sent here a moment before: an old trigger has changed what was inserted.
   */
  readonly foreign: string;
  /** Rows of which the new side says something and the old table nothing, as `{legacyId}` after `:after`. */
  readonly gone: readonly string[];
  /** Copies of the rows of `:account`, or of anybody, that are wrong about whether there is such an account. */
  readonly ofAccount: readonly string[];
}

function applySql(dialect: Dialect, mapping: LegacyMapping): ApplySql {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const users = dialect.name(mapping.users.table);
  const userId = dialect.name(mapping.users.columns.id);
  const { senderId } = inverseOf(dialect, 'e', 'c', 'v');
  const isGone = (id: string): string =>
    `NOT EXISTS (SELECT 1 FROM ${rows.table} m WHERE ${m.id} = ${id})`;
  const page = (id: string, fromWhere: string): string =>
    `SELECT CAST(${id} AS text) AS "legacyId" FROM ${fromWhere}
      AND ${id} > CAST(:after AS bigint) ORDER BY ${id} LIMIT :size`;
  const account = `(SELECT u.${userId} FROM ${users} u WHERE u.${userId} = ${senderId})`;
  return {
    entries: `SELECT CAST(id AS text) AS id, source, CAST(legacy_id AS text) AS "legacyId" FROM changeover_queue LIMIT :size`,
    takeAway: `DELETE FROM changeover_queue WHERE id IN (${dialect.entriesIn('ids')})`,
    foreign: `SELECT count(*) AS count, CAST(max(q.queued_at) AS text) AS last FROM changeover_queue q
      WHERE q.id IN (${dialect.entriesIn('ids')}) AND q.source = '${SOURCES.messages}'
        AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.id = q.legacy_id AND e.made_here AND q.queued_at - e.sent_at < ${A_MOMENT})`,
    gone: [
      page('e.legacy_message_id', `enhanced_messages e WHERE ${isGone('e.legacy_message_id')}`),
      page('q.legacy_id', `changeover_quarantine q WHERE ${isGone('q.legacy_id')}`),
    ],
    ofAccount: [
      page(
        'e.legacy_message_id',
        `conversation_participants p JOIN conversations c ON c.id = p.conversation_id
          JOIN enhanced_messages e ON e.conversation_id = c.id ${keptBeside('e', 'v')}
        WHERE (CAST(:account AS bigint) IS NULL OR p.user_id = CAST(:account AS bigint)) AND ${senderId} = p.user_id
          AND e.sender_id IS DISTINCT FROM ${account}`,
      ),
    ],
  };
}

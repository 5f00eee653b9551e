import { setTimeout as sleep } from 'node:timers/promises';
import type { Queryable, Session } from '../database/database.js';
import { refusalOf } from '../database/database-errors.js';
import { SegueError } from '../errors/segue-error.js';
import { Applier } from './apply.js';
import { MOST_BYTES } from './content-bytes.js';
import type { ChangeoverContext } from './context.js';
import { compareConversations, mendConversation } from './conversation-checks.js';
import { type CopySql, copySql } from './copy-sql.js';
import { Departures } from './departures.js';
import { LOWEST_ID } from '../database/ids.js';
import { type Bounds, nextAfter, oldRows } from '../legacy/old-rows.js';
import { Lease } from './lease.js';
import { hasPending } from './pending-rows.js';
import { Pace, type Wishes } from './pace.js';
import { Meter } from './progress.js';
import { Reconciliation } from './reconcile.js';
import { Room } from './room.js';
import { type ChangeoverState, changeStage, getState, hasReached, readState } from './stage.js';
import { Turns } from './turns.js';
import { threadSql, type ThreadSql } from './thread-sql.js';

/** How often a copy that rests looks whether it may go on, in ms. */
const PAUSED_LOOK_MS = 200;

/** What a copy is throttled by that waits for room on the disk. */
const NO_ROOM = 'disk';

/** Old rows that the first pass reads at a time. */
const ROWS_PER_RANGE = 50_000;

export interface BackfillResult {
  readonly migrated: number;
  readonly quarantined: number;
}

/**
 * Copies every old row: first all conversations and participants, then the rows in batches, newest first.
 *
 * Where a rollback has laid the new side aside, that is compared with the old table instead (`reconcile.ts`), in the same
 * batches, and what differs is settled.
 *
 * Each batch is one transaction with its rows, its quarantine, its links, its checkpoint and the fence of the lease,
 * so that a kill at any moment leaves whole batches, and the next run goes on below the last one. A batch has no more
 * than 8 MiB of text, unless it is a single row.
 * On SQLite a batch holds the write lock for about 0.4 s; on PostgreSQL it locks the rows of `messages` that it
 * links, and nothing else of the old side.
 * @param stopping ends it between two batches; the next run goes on from there
 * @throws SegueError WRONG_STAGE before expand; RUNNER_ACTIVE, LEASE_LOST; an AbortError when it was stopped.
 */
export async function backfill(
  context: ChangeoverContext,
  stopping?: AbortSignal,
): Promise<BackfillResult> {
  const { database } = context;
  const state = await readState(database);
  if (state.stage === 'LEGACY')
    throw new SegueError(
      'WRONG_STAGE',
      `${database.shown} is at LEGACY: run 'segue expand' first, it adds the tables that rows are copied to.`,
    );
  if (state.stage !== 'EXPANDED' && state.stage !== 'BACKFILLING') return counts(state);

  return Lease.hold(database, (lease) =>
    database.session((session) =>
      new Backfill(context, lease.keeping(session), lease, stopping).run(),
    ),
  );
}

/** One run of the backfill, on a connection of its own. */
class Backfill {
  private readonly now: string;
  private readonly sql: CopySql;
  private readonly applier: Applier;
  private readonly pace: Pace;
  private readonly room: Room;
  private readonly turns: Turns;
  private readonly reconciliation: Reconciliation;
  /** How long the last batch held its locks, in ms. */
  private heldMs = 0;

  constructor(
    private readonly context: ChangeoverContext,
    private readonly session: Session,
    private readonly lease: Lease,
    private readonly stopping: AbortSignal | undefined,
  ) {
    this.now = context.database.dialect.now;
    this.pace = new Pace(context.database.dialect.manners);
    this.room = new Room(context);
    this.turns = new Turns(context.database.dialect.manners);
    this.applier = new Applier(context, this.turns);
    this.sql = copySql(context.database.dialect, context.mapping);
    this.reconciliation = new Reconciliation(context);
  }

  async run(): Promise<BackfillResult> {
    const state = await this.begin();
    // Another process finished it between the look at the stage and the lease.
    if (hasReached(state.stage, 'BACKFILLED')) return counts(state);
    if (!state.hasThreads) await this.makeThreads(state);
    await this.copyRows(state);
    return this.finish();
  }

  /** Fixes what is to be copied, once: a resumed run goes on with the same bounds and the same idea of "future". */
  private begin(): Promise<ChangeoverState> {
    return this.fenced(async (transaction) => {
      const state = await getState(transaction);
      if (hasReached(state.stage, 'BACKFILLING')) return state;
      const { dialect } = this.context.database;
      if (state.keptSince !== null) {
        await this.reconciliation.begin(transaction);
        await changeStage(transaction, this.now, 'EXPANDED', 'BACKFILLING');
        return getState(transaction);
      }
      // All that was written so far is about to be read. Capture first, upper bound after.
      await new Departures(dialect, this.context.mapping).recordAll(transaction);
      await transaction.run('DELETE FROM changeover_queue');
      const [bounds] = await transaction.all<Bounds>(oldRows(dialect, this.context.mapping).bounds);
      await transaction.run(
        `UPDATE changeover_state SET low_id = CAST(:low AS bigint), high_id = CAST(:high AS bigint),
           done_above = CAST(:high AS bigint), rows_to_copy = :count, started_at = ${this.now} WHERE id = 1`,
        {
          low: bounds?.low ?? null,
          high: bounds?.high ?? null,
          count: Number(bounds?.count ?? 0),
        },
      );
      for (const statement of dialect.lateIndexes.drop) await transaction.run(statement);
      await changeStage(transaction, this.now, 'EXPANDED', 'BACKFILLING');
      return getState(transaction);
    });
  }

  /** The first pass: reads the old table once, and makes all conversations and participants. */
  private async makeThreads(state: ChangeoverState): Promise<void> {
    const sql = threadSql(this.context.database.dialect, this.context.mapping);
    const { manners } = this.context.database.dialect;
    const [ofPlaces, ofThreads] = [new Pace(manners), new Pace(manners)];
    // Who writes while the old table is read is known when the first slice is written.
    for (const pace of [this.pace, ofPlaces, ofThreads]) await pace.lookAround(this.session);
    for (const statement of sql.prepare) await this.session.run(statement);
    await this.collectWriters(sql, state, ofPlaces);
    for (const statement of [...sql.sumWriters, ...sql.collectThreads])
      await this.session.run(statement);

    const threads = await this.count(sql.countThreads);
    const meter = new Meter('conversations', threads, this.context.report);
    await this.inSlices(
      ofThreads,
      threads,
      async (transaction, slice) => {
        for (const statement of sql.insertSlice) await transaction.run(statement, slice);
      },
      (rows) => {
        meter.add(rows);
      },
    );
    await this.fenced(async (transaction) => {
      const { database, mapping } = this.context;
      await new Departures(database.dialect, mapping).vacate(transaction);
      await transaction.run('UPDATE changeover_state SET has_threads = true WHERE id = 1');
    });
    await this.analyze('conversations', 'conversation_participants', 'changeover_places');
  }

  /**
   * Writes what is numbered from 1 to `count` in transactions that are no longer than those of a batch, with the same
   * rests in between.
   */
  private async inSlices(
    pace: Pace,
    count: number,
    write: (transaction: Queryable, slice: { first: number; last: number }) => Promise<unknown>,
    onSlice: (rows: number) => void = () => undefined,
  ): Promise<void> {
    for (let first = 1; first <= count;) {
      await pace.lookAround(this.session);
      const wishes = await this.leave();
      if (pace.isBusy) await this.turns.wait(this.stopping);
      const slice = { first, last: Math.min(first + pace.batchSize(wishes) - 1, count) };
      const rows = slice.last - first + 1;
      const tookMs = await this.fenced(async (transaction) => {
        const began = performance.now();
        await write(transaction, slice);
        return performance.now() - began;
      });
      this.turns.noteHeld(tookMs);
      const releasedAt = performance.now();
      onSlice(rows);
      for (const statement of this.context.database.dialect.afterBatch)
        await this.session.all(statement);
      const freeMs = performance.now() - releasedAt;
      await pace.rest({ rows, tookMs, freeMs }, wishes, () => this.lease.keepAlive(this.session));
      first += rows;
    }
  }

  /** Goes through the old table by id, and carries the last usable time along for the rows that have none. */
  private async collectWriters(
    sql: ThreadSql,
    { lowId, highId, startedAt: now, rowsToCopy }: ChangeoverState,
    pace: Pace,
  ): Promise<void> {
    const { dialect } = this.context.database;
    const { rangeEnd } = oldRows(dialect, this.context.mapping);
    const meter = new Meter('threads', rowsToCopy, this.context.report);
    await this.fenced((transaction) => transaction.run(dialect.empty('changeover_places')));
    if (lowId === null || highId === null) return;
    const [first] = await this.session.all<{ at: number | string }>(sql.firstInstant, {
      from: lowId,
      upTo: highId,
      now,
    });
    let before = first?.at ?? now;
    for (let from: string | null = lowId; from !== null && BigInt(from) <= BigInt(highId);) {
      const [end] = await this.session.all<{ range_end: string }>(rangeEnd, {
        from,
        size: ROWS_PER_RANGE,
      });
      this.stopping?.throwIfAborted();
      const upTo = least(end?.range_end ?? highId, highId);
      await this.session.run(sql.emptyRange);
      const rows = await this.session.run(sql.readRange, { from, upTo, now });
      const [times] = await this.session.all<{ untimed: number | string; last: number | string }>(
        sql.timesOfRange,
      );
      if (Number(times?.untimed) > 0) {
        await this.session.run(sql.emptyUntimed);
        const untimed = await this.session.run(sql.findUntimed, { before });
        await this.inSlices(pace, untimed, (transaction, slice) =>
          transaction.run(sql.placeUntimed, slice),
        );
        await this.session.run(sql.usePlaces);
      }
      before = times?.last ?? before;
      await this.session.run(sql.collectWriters);
      meter.add(rows);
      from = nextAfter(upTo);
    }
  }

  private async copyRows(begun: ChangeoverState): Promise<void> {
    const isKept = begun.keptSince !== null;
    const meter = new Meter(
      'messages',
      begun.rowsToCopy,
      this.context.report,
      begun.migrated + begun.quarantined,
    );
    for (let batch = 1; ;) {
      this.stopping?.throwIfAborted();
      const applied = await this.apply();
      await this.pace.lookAround(this.session);
      if (applied > 0) this.pace.noteForeignWrite();
      const wishes = await this.leave(meter);
      const size = this.pace.batchSize(wishes);
      // Of what was applied just now too, and with a longer gap now and then.
      if (this.pace.isBusy) await this.turns.wait(this.stopping);
      const rows = isKept
        ? await this.compareNewest(size, meter)
        : await this.copyNewest(size, meter);
      this.turns.noteHeld(this.heldMs);
      const releasedAt = performance.now();
      if (rows === 0) break;
      if (rows === 'refused') {
        // A row that the old app gave another thread meanwhile is in the queue, and is no row to be refused.
        if ((await this.apply()) === 0) this.pace.halve();
        continue;
      }
      meter.throttle(this.pace.throttledBy);
      meter.add(rows);
      if (batch === 1) await this.analyze('enhanced_messages');
      batch += 1;
      for (const statement of this.context.database.dialect.afterBatch)
        await this.session.all(statement);
      const freeMs = performance.now() - releasedAt;
      await this.pace.rest({ rows, tookMs: this.heldMs, freeMs }, wishes, () => this.apply());
    }
    await this.analyze('enhanced_messages');
  }

  /**
   * Waits for as long as an operator wishes the copy to rest, and while there is too little room on the disk; what the
   * old app writes is applied all the same.
   */
  private async leave(meter?: Meter): Promise<Wishes> {
    for (;;) {
      const state = await getState(this.session);
      this.stopping?.throwIfAborted();
      const lacksRoom = await this.room.isMissing(state);
      if (!state.isPaused && !lacksRoom) return state;
      if (lacksRoom) {
        meter?.throttle(NO_ROOM);
        if (state.throttledBy !== NO_ROOM) await this.writeDown(NO_ROOM);
      }
      await this.lease.keepAlive(this.session);
      await sleep(PAUSED_LOOK_MS);
      await this.apply();
    }
  }

  /** For whoever asks where the copy stands. */
  private async writeDown(throttledBy: string): Promise<void> {
    await this.fenced((transaction) =>
      transaction.run(
        'UPDATE changeover_state SET rows_per_second = 0, throttled_by = CAST(:throttledBy AS text) WHERE id = 1',
        { throttledBy },
      ),
    );
  }

  /** What the old app wrote while rows are copied is applied in between; returns the number of entries. */
  private apply(): Promise<number> {
    return this.applier.drain(this.session, (work) => this.fenced(work), {
      stopping: this.stopping,
    });
  }

  /** Where the planner has never seen a table filled, it may read all of it for each row of a batch. */
  private async analyze(...tables: string[]): Promise<void> {
    for (const table of tables)
      for (const statement of this.context.database.dialect.analyze(table))
        await this.session.run(statement);
  }

  /**
   * Copies the newest `size` rows that are not copied yet; returns their number, 0 at the end. A batch that the
   * database refuses is `refused`, to be tried again with half of it; a single row goes to quarantine.
   */
  private async copyNewest(size: number, meter: Meter): Promise<number | 'refused'> {
    try {
      let tries = 0;
      const asked = performance.now();
      return await this.fenced(async (transaction) => {
        const began = performance.now();
        tries += 1;
        if (tries === 1) this.pace.noteWait(began - asked);
        // The old app may hold a row for as long as it likes; that is found by waiting for it once.
        const waits = tries === 1;
        const rows = await this.settleNewest(transaction, size, meter, (range) =>
          this.copyRange(transaction, range, waits),
        );
        this.heldMs = performance.now() - began;
        return rows;
      });
    } catch (error) {
      const words = refusalOf(error);
      if (words === null) throw error;
      if (size > 1) return 'refused';
      return this.fenced((transaction) =>
        this.settleNewest(transaction, 1, meter, async ({ from }) => ({
          migrated: 0,
          quarantined: await transaction.run(this.sql.quarantineRefused, { from, detail: words }),
        })),
      );
    }
  }

  /**
   * The same of a new side that was laid aside: its rows are compared without a lock, between the transaction that writes
   * their links and the one that makes those dirty that differ. In between nobody else sets the checkpoint: he would need the
   * lease.
   */
  private async compareNewest(size: number, meter: Meter): Promise<number> {
    const asked = performance.now();
    const { range, linkedMs } = await this.fenced(async (transaction) => {
      const began = performance.now();
      this.pace.noteWait(began - asked);
      const found = await this.findNewest(transaction, size);
      // A row that somebody holds is not waited for: it stays dirty.
      if (found?.fillsLink === true) await this.link(transaction, found, false);
      return { range: found, linkedMs: performance.now() - began };
    });
    if (range === null) return 0;
    const dirty = await this.reconciliation.compare(range);
    return this.fenced(async (transaction) => {
      const began = performance.now();
      const held = await this.reconciliation.mark(transaction, range, dirty);
      await this.setCheckpoint(transaction, range, held, meter);
      this.heldMs = linkedMs + performance.now() - began;
      return range.rows;
    });
  }

  /** Finds the next rows, has them settled, and sets the checkpoint below them. */
  private async settleNewest(
    transaction: Queryable,
    size: number,
    meter: Meter,
    settle: (range: CopyRange) => Promise<BackfillResult>,
  ): Promise<number> {
    const range = await this.findNewest(transaction, size);
    if (range === null) return 0;
    await this.setCheckpoint(transaction, range, await settle(range), meter);
    return range.rows;
  }

  /** The newest rows that no checkpoint claims yet; null: there are none. */
  private async findNewest(transaction: Queryable, size: number): Promise<CopyRange | null> {
    const state = await getState(transaction);
    if (state.doneAbove === null || state.lowId === null) return null;
    const whole = { from: state.lowId, upTo: state.doneAbove, size };
    let [newest] = await transaction.all<NewestRows>(this.sql.newestRange, whole);
    if (Number(newest?.bytes) > MOST_BYTES)
      [newest] = await transaction.all<NewestRows>(this.sql.newestThatFit, {
        ...whole,
        most: MOST_BYTES,
      });
    if (newest?.low == null) return null;
    const from = newest.low;
    const { doneAbove: upTo, startedAt: now, fillsLink } = state;
    const [before] = await transaction.all<Record<'copies' | 'quarantined', number | string>>(
      this.sql.settled,
      { from, upTo },
    );
    return {
      from,
      upTo,
      rows: Number(newest.count),
      now,
      fillsLink,
      isTouched: Number(before?.copies) + Number(before?.quarantined) > 0,
    };
  }

  private async setCheckpoint(
    transaction: Queryable,
    { from }: CopyRange,
    { migrated, quarantined }: BackfillResult,
    meter: Meter,
  ): Promise<void> {
    await this.pace.lookForWaiters(transaction);
    await transaction.run(
      // Below the lowest id there is no number: null says that nothing is left.
      `UPDATE changeover_state SET
         done_above = CASE WHEN CAST(:from AS bigint) > CAST(:lowest AS bigint) THEN CAST(:from AS bigint) - 1 END,
         migrated = migrated + :migrated, quarantined = quarantined + :quarantined, rows_per_second = :rate, throttled_by = CAST(:throttledBy AS text), lock_hold = :lockHold, changed_at = ${this.now} WHERE id = 1`,
      {
        from,
        lowest: LOWEST_ID,
        migrated,
        quarantined,
        rate: meter.rowsPerSecond,
        throttledBy: this.pace.throttledBy,
        lockHold: Math.round(this.heldMs * 1_000),
      },
    );
  }

  /**
   * Looks for each row of a batch. One that was written between two of its statements is not missing when the queue
   * tells of it.
   * @throws Error when rows are, which rolls the batch back: a rule has forgotten them.
   */
  private async checkAccounts(
    transaction: Queryable,
    range: { from: string; upTo: string },
    { rows, migrated, quarantined }: BackfillResult & { rows: number },
  ): Promise<void> {
    const [missing] = await transaction.all<{ count: number | string }>(
      this.sql.unaccounted,
      range,
    );
    if (Number(missing?.count) > 0)
      throw new Error(
        `Of the ${rows} old rows from ${range.from} to ${range.upTo}, ${migrated} were copied and ${quarantined} put into quarantine, ` +
          `and of ${Number(missing?.count)} nothing is known: the batch is rolled back`,
      );
  }

  private async copyRange(
    transaction: Queryable,
    { from, upTo, rows, now, fillsLink, isTouched }: CopyRange,
    waitsForLocks: boolean,
  ): Promise<BackfillResult> {
    const sql = isTouched ? this.sql.touched : this.sql.untouched;
    const migrated = await transaction.run(sql.copy, { from, upTo, now });
    await transaction.run(sql.keepRaw, { from, upTo });
    // Where every row was copied, there is no need to ask each of them for the rules again. The numbers say that only
    // where no row came or went since they were counted: one that went would make up for one without a thread.
    const isCounted = !isTouched && !(await hasPending(transaction));
    const quarantined =
      isCounted && migrated === rows
        ? 0
        : await transaction.run(sql.quarantine, { from, upTo, now });
    if (!isCounted || migrated + quarantined !== rows)
      await this.checkAccounts(transaction, { from, upTo }, { rows, migrated, quarantined });
    if (fillsLink) await this.link(transaction, { from, upTo }, waitsForLocks);
    return { migrated, quarantined };
  }

  /** Writes each copied row's conversation beside the old row. */
  private async link(
    transaction: Queryable,
    range: { from: string; upTo: string },
    waitsForLocks: boolean,
  ): Promise<void> {
    for (const statement of this.context.database.dialect.beforeLink)
      await transaction.run(statement);
    for (const statement of waitsForLocks ? [this.sql.link] : this.sql.linkUnlocked)
      await transaction.run(statement, range);
  }

  private async finish(): Promise<BackfillResult> {
    for (const statement of this.context.database.dialect.lateIndexes.build)
      await this.fenced((transaction) => transaction.run(statement));
    await this.mendConversations();
    return this.fenced(async (transaction) => {
      await transaction.run(
        'UPDATE changeover_state SET rows_to_copy = migrated + quarantined, rows_per_second = 0, throttled_by = NULL, lock_hold = NULL, kept_since = NULL WHERE id = 1',
      );
      await changeStage(transaction, this.now, 'BACKFILLING', 'BACKFILLED');
      return counts(await getState(transaction));
    });
  }

  /**
   * The first pass counted rows among the writers that are on the new side no more: the database refused them, or the
   * old app changed or deleted them before they were copied.
   */
  private async mendConversations(): Promise<void> {
    const { dialect } = this.context.database;
    const gone = await this.count(
      `SELECT count(*) + (SELECT applied FROM changeover_state) AS count FROM changeover_quarantine WHERE reason = 'refused'`,
    );
    if (gone === 0) return;
    for (const { conversationId } of await compareConversations(this.context))
      await this.fenced((transaction) => mendConversation(transaction, dialect, conversationId));
  }

  /** A transaction that is rolled back when the lease has gone to another process meanwhile. */
  private fenced<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result> {
    return this.lease.fenced(this.session, work);
  }

  private async count(sql: string): Promise<number> {
    const [row] = await this.session.all<{ count: number | string }>(sql);
    return Number(row?.count ?? 0);
  }
}

/** The rows of a batch: the lowest of their ids, their number, and the bytes of their texts. */
interface NewestRows {
  readonly low: string | null;
  readonly count: number | string;
  readonly bytes: number | string | null;
}

/** The ids of one batch, both included, and what does not change from batch to batch. */
interface CopyRange {
  readonly from: string;
  readonly upTo: string;
  readonly rows: number;
  readonly now: number | null;
  readonly fillsLink: boolean;
  /** Whether some of them were settled before, or are tombstones by now. */
  readonly isTouched: boolean;
}

function least(a: string, b: string): string {
  return BigInt(a) <= BigInt(b) ? a : b;
}

function counts({ migrated, quarantined }: ChangeoverState): BackfillResult {
  return { migrated, quarantined };
}

import type { Queryable, Session } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import type { ChangeoverContext } from './context.js';
import { type CopySql, copySql } from './copy-sql.js';
import { type Bounds, LOWEST_ID, oldRows } from '../legacy/old-rows.js';
import { Lease } from './lease.js';
import { Meter } from './progress.js';
import { type ChangeoverState, changeStage, getState, readState } from './stage.js';
import { threadSql } from './thread-sql.js';

/** How long a batch may hold its locks while the old app is idle, in ms; sizes follow from what batches took. */
const TARGET_MS = 400;
const FIRST_BATCH_ROWS = 5_000;
const LARGEST_BATCH_ROWS = 100_000;
const LARGEST_GROWTH = 1.5;
const THREADS_PER_SLICE = 5_000;

export interface BackfillResult {
  readonly migrated: number;
  readonly quarantined: number;
}

/**
 * Copies every old row: first all conversations and participants, then the rows in batches, newest first.
 *
 * Each batch is one transaction with its rows, its quarantine, its links, its checkpoint and the fence of the lease,
 * so that a kill at any moment leaves whole batches, and the next run goes on below the last one.
 * On SQLite a batch holds the write lock for about 0.4 s; on PostgreSQL it locks the rows of `messages` that it
 * links, and nothing else of the old side.
 * @throws SegueError WRONG_STAGE before expand; RUNNER_ACTIVE, LEASE_LOST.
 */
export async function backfill(context: ChangeoverContext): Promise<BackfillResult> {
  const { database } = context;
  const state = await readState(database);
  if (state.stage === 'LEGACY')
    throw new SegueError(
      'WRONG_STAGE',
      `${database.shown} is at LEGACY: run 'segue expand' first, it adds the tables that rows are copied to.`,
    );
  if (state.stage !== 'EXPANDED' && state.stage !== 'BACKFILLING') return counts(state);

  const lease = await Lease.acquire(database);
  try {
    return await database.session((session) => new Backfill(context, session, lease).run());
  } finally {
    await lease.release(database);
  }
}

/** One run of the backfill, on a connection of its own. */
class Backfill {
  private readonly now: string;
  private readonly sql: CopySql;

  constructor(
    private readonly context: ChangeoverContext,
    private readonly session: Session,
    private readonly lease: Lease,
  ) {
    this.now = context.database.dialect.now;
    this.sql = copySql(context.database.dialect, context.mapping);
  }

  async run(): Promise<BackfillResult> {
    const state = await this.begin();
    if (!state.hasThreads) await this.makeThreads(state);
    await this.copyRows(state);
    return this.finish();
  }

  /** Fixes what is to be copied, once: a resumed run goes on with the same bounds and the same idea of "future". */
  private begin(): Promise<ChangeoverState> {
    return this.fenced(async (transaction) => {
      const state = await getState(transaction);
      if (state.stage === 'BACKFILLING') return state;
      const { dialect } = this.context.database;
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
      await changeStage(transaction, this.now, 'EXPANDED', 'BACKFILLING');
      return getState(transaction);
    });
  }

  private async makeThreads(state: ChangeoverState): Promise<void> {
    const sql = threadSql(this.context.database.dialect, this.context.mapping);
    const range = { low: state.lowId, high: state.highId, now: state.startedAt };
    for (const statement of sql.prepare) await this.session.run(statement);
    await this.session.run(sql.collectWriters, range);
    for (const statement of sql.indexWriters) await this.session.run(statement);
    for (const statement of sql.collectThreads) await this.session.run(statement);

    const threads = await this.count(sql.countThreads);
    const meter = new Meter('conversations', threads, this.context.report);
    for (let first = 1; first <= threads; first += THREADS_PER_SLICE) {
      const last = Math.min(first + THREADS_PER_SLICE - 1, threads);
      await this.fenced(async (transaction) => {
        for (const statement of sql.insertSlice) await transaction.run(statement, { first, last });
      });
      meter.add(last - first + 1);
    }
    await this.fenced((transaction) =>
      transaction.run('UPDATE changeover_state SET has_threads = true WHERE id = 1'),
    );
    await this.analyze('conversations', 'conversation_participants');
  }

  private async copyRows(begun: ChangeoverState): Promise<void> {
    const meter = new Meter(
      'messages',
      begun.rowsToCopy,
      this.context.report,
      begun.migrated + begun.quarantined,
    );
    let size = FIRST_BATCH_ROWS;
    for (let batch = 1; ; batch += 1) {
      const started = performance.now();
      const rows = await this.fenced((transaction) => this.copyBatch(transaction, size, meter));
      if (rows === 0) break;
      meter.add(rows);
      size = nextSize(size, performance.now() - started);
      if (batch === 1) await this.analyze('enhanced_messages');
    }
    await this.analyze('enhanced_messages');
  }

  /** Where the planner has never seen a table filled, it may read all of it for each row of a batch. */
  private async analyze(...tables: string[]): Promise<void> {
    for (const table of tables)
      for (const statement of this.context.database.dialect.analyze(table))
        await this.session.run(statement);
  }

  /** Copies the newest `size` rows that are not copied yet; returns their number, 0 at the end. */
  private async copyBatch(transaction: Queryable, size: number, meter: Meter): Promise<number> {
    const state = await getState(transaction);
    if (state.doneAbove === null || state.lowId === null) return 0;
    const [range] = await transaction.all<{ low: string | null; count: number | string }>(
      this.sql.newestRange,
      { floor: state.lowId, high: state.doneAbove, size },
    );
    if (range?.low == null) return 0;
    const ids = { low: range.low, high: state.doneAbove };
    const rows = Number(range.count);

    const migrated = await transaction.run(this.sql.copy, { ...ids, now: state.startedAt });
    // Where every row was copied, there is no need to ask each of them for the rules again.
    const quarantined =
      migrated === rows
        ? 0
        : await transaction.run(this.sql.quarantine, { ...ids, now: state.startedAt });
    if (migrated + quarantined !== rows)
      throw new Error(
        `Of the ${rows} old rows from ${ids.low} to ${ids.high}, ${migrated} were copied and ${quarantined} put into quarantine: the batch is rolled back`,
      );
    if (state.fillsLink) await transaction.run(this.sql.link, ids);
    await transaction.run(
      // Below the lowest id there is no number: null says that nothing is left.
      `UPDATE changeover_state SET
         done_above = CASE WHEN CAST(:low AS bigint) > CAST(:lowest AS bigint) THEN CAST(:low AS bigint) - 1 END,
         migrated = migrated + :migrated, quarantined = quarantined + :quarantined, rows_per_second = :rate, changed_at = ${this.now} WHERE id = 1`,
      { low: ids.low, lowest: LOWEST_ID, migrated, quarantined, rate: meter.rowsPerSecond },
    );
    return rows;
  }

  private finish(): Promise<BackfillResult> {
    return this.fenced(async (transaction) => {
      await transaction.run('UPDATE changeover_state SET rows_per_second = 0 WHERE id = 1');
      await changeStage(transaction, this.now, 'BACKFILLING', 'BACKFILLED');
      return counts(await getState(transaction));
    });
  }

  /** A transaction that is rolled back when the lease has gone to another process meanwhile. */
  private fenced<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result> {
    return this.session.transaction(async (transaction) => {
      await this.lease.renew(transaction);
      return work(transaction);
    });
  }

  private async count(sql: string): Promise<number> {
    const [row] = await this.session.all<{ count: number | string }>(sql);
    return Number(row?.count ?? 0);
  }
}

function counts({ migrated, quarantined }: ChangeoverState): BackfillResult {
  return { migrated, quarantined };
}

/** The size that would have met the target, approached slowly: a batch that grows tenfold may hold its lock as long. */
function nextSize(size: number, tookMs: number): number {
  const ideal = size * (TARGET_MS / Math.max(tookMs, 1));
  return Math.max(
    1,
    Math.min(Math.round(ideal), Math.round(size * LARGEST_GROWTH), LARGEST_BATCH_ROWS),
  );
}

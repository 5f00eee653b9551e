import type { Queryable } from '../database/database.js';
import { findColumnUse } from '../database/database-errors.js';
import { OWN_TABLE_NAMES } from '../database/migrations/migrations.js';
import { SegueError } from '../errors/segue-error.js';
import { type Bounds, oldRows } from '../legacy/old-rows.js';
import { Applier } from './apply.js';
import { dropCapture, isCaptureOn, takeCaptureOff } from './capture.js';
import type { ChangeoverContext } from './context.js';
import { restoreOldTable } from './contract.js';
import { endCutover } from './cutover.js';
import { Lease } from './lease.js';
import { noteAction } from './log.js';
import { addedColumnsOf, type ColumnName, findLeftColumns, hasColumn, hasTable } from './shape.js';
import {
  type ChangeoverState,
  changeStage,
  getState,
  hasReached,
  readState,
  STAGES,
} from './stage.js';
import { checkNothingFires, emptyUserColumns, isUnlinking, unlink } from './unlink.js';
import { exportKept } from './export-kept.js';
import { endShadow } from './shadow.js';
import { checkIsNew } from './new-file.js';
import { LaidAside } from './laid-aside.js';
import {
  checkOldSideIsWhole,
  checkSentSince,
  checkUnchangedSince,
  findMadeHere,
  isAnythingMadeHere,
  listMadeHere,
  type MadeHere,
} from './whole-old-side.js';

/** Where a rollback can lead. */
const ROLLBACK_TARGETS = ['LEGACY', 'EXPANDED', 'BACKFILLED', 'VERIFIED', 'COMPLETE'] as const;

export type RollbackTarget = (typeof ROLLBACK_TARGETS)[number];

export interface RollbackOptions {
  readonly to: RollbackTarget;
  /** Drop all that expand added; on SQLite but for the columns. With `to: 'LEGACY'` only. */
  readonly purge?: boolean | undefined;
  /** With `purge`, a file that is not there yet: takes along what has no old form, before it is dropped. */
  readonly exportTo?: string | undefined;
  /** With `purge`, drop the columns on SQLite too, which writes the old tables anew under a lock. */
  readonly dropColumns?: boolean | undefined;
  readonly migrationsTable: string;
}

/** What a rollback took away, and what it left; counts are of this run. */
export interface RollbackResult {
  readonly from: ChangeoverState['stage'];
  readonly stage: RollbackTarget;
  /** Copies of old rows. */
  readonly messages: number;
  readonly conversations: number;
  /** Rows that left the quarantine: they stand in the old table as ever. */
  readonly quarantined: number;
  /** Old rows whose conversation_id was emptied, one by one; where the column was dropped, none. */
  readonly links: number;
  /**
   * What has no old form, where there is any: the new side is laid aside then with all that is in it, and the way forward
   * brings it back. With a purge: what stands in the file.
   */
  readonly kept: readonly MadeHere[];
  /** Whether our tables are gone. */
  readonly purged: boolean;
  /** Those of our columns that stay in the old tables, as `table.column`; empty at EXPANDED and LEGACY. */
  readonly columnsLeft: readonly string[];
}

/**
 * All that the copy writes, and what is known about it. It was made from the old table, and can be again, unless people
 * made something there (`findMadeHere`). Sign-in
 * sessions (`sign_in_…`) were not: they outlive a rollback, and go with a purge, which drops all of our tables.
 */
const COPIED = [
  'enhanced_messages',
  'legacy_raw_values',
  'conversation_participants',
  'conversations',
  'changeover_places',
  'changeover_quarantine',
  'changeover_mismatches',
  'changeover_repairs',
  'changeover_certificates',
  'events',
  'receipt_mirrors',
] as const;

/**
 * Takes the changeover back to an earlier stage.
 *
 * From CONTRACTED, while the old table is there under another name, it gets its name back first; COMPLETE is that and no more.
 * To BACKFILLED or VERIFIED only the stage changes: old clients are not answered from the new side any more. To EXPANDED or LEGACY
 * `messages.conversation_id` is emptied, and everything copied is taken away; first of all it is proved that the old table holds
 * every message that the new side has. Where people made something there that has no old form (receipts, names, clients' ids),
 * all of the new side stays instead, read by nobody, and the way forward brings it back: people may go on sending until the
 * stage changes. At LEGACY our tables and columns stay, unless `purge`, which wants what has no old form exported first.
 *
 * Stage and copies change in one transaction, so that nobody reads half of a new side. What follows, the links and
 * the purge, goes on at stage LEGACY: ended at any moment, the same call finishes it, and so does `expand` on its
 * way forward. It takes the lease. Taking the copies away holds SQLite's write lock for about 0.2 s for each million
 * rows; on PostgreSQL no lock of an old table is held but by the purge, which waits for it for 50 ms at most.
 * @throws SegueError BAD_USER_INPUT; WRONG_STAGE; WOULD_LOSE_ROWS, and then nothing was changed; RUNNER_ACTIVE,
 *   LEASE_LOST; NO_SUCH_TABLE; UNSUPPORTED_DATABASE when something of the old app's stands in the way; LOCK_TIMEOUT.
 */
export async function rollback(
  context: ChangeoverContext,
  options: RollbackOptions,
): Promise<RollbackResult> {
  checkOptions(options);
  const { database, mapping } = context;
  const hasBooks = await hasTable(database, 'changeover_state');
  const found = await readState(database);
  if (found.stage === 'CONTRACTED' && found.retiredAt !== null) {
    await Lease.hold(database, (lease) => restoreOldTable(context, lease));
    if (options.to === 'COMPLETE')
      return { from: 'CONTRACTED', stage: 'COMPLETE', ...NOTHING, ...UNTOUCHED };
  }
  const state = await readState(database);
  checkWay(state, options, hasBooks, await isCaptureOn(database, mapping));
  if (!(await hasTable(database, mapping.messages.table)))
    throw new SegueError(
      'NO_SUCH_TABLE',
      `${database.shown} has no table ${mapping.messages.table}: there is no old side to go back to.`,
    );
  if (!hasBooks) return purgeLeftovers(context, options);

  const lease = await Lease.acquire(database);
  try {
    const result = await new Rollback(context, options, lease, state).run();
    // A purge drops the lease with all the rest.
    if (!result.purged) await lease.release(database);
    return result;
  } catch (error) {
    // What went wrong is told, not that the lease could not be given back for the same reason: it runs out by itself.
    await Promise.allSettled([lease.release(database)]);
    throw error;
  }
}

/** @throws SegueError BAD_USER_INPUT when the text names no stage that a rollback can lead to. */
export function parseTarget(text: string): RollbackTarget {
  const target = ROLLBACK_TARGETS.find((candidate) => candidate === text.toUpperCase());
  if (target === undefined)
    throw new SegueError(
      'BAD_USER_INPUT',
      `--to is ${JSON.stringify(text)}: it takes ${ROLLBACK_TARGETS.join(', ')}.`,
    );
  return target;
}

/** One rollback of a database that has our books. */
class Rollback {
  private readonly drops: boolean;
  private readonly aside: LaidAside;

  constructor(
    private readonly context: ChangeoverContext,
    private readonly options: RollbackOptions,
    private readonly lease: Lease,
    private readonly state: ChangeoverState,
  ) {
    this.drops = dropsColumns(context, options) && state.addsColumns;
    this.aside = new LaidAside(context);
  }

  async run(): Promise<RollbackResult> {
    const { to, purge = false } = this.options;
    const { stage } = this.state;
    if (to !== 'LEGACY' && to !== 'EXPANDED') return this.onlyTheStage(to);

    await this.checkPurgeLosesNothing();
    const taken = stage === 'LEGACY' ? NOTHING : await this.leaveNewSide(to);
    const { keptSince } = await readState(this.context.database);
    if (to === 'LEGACY') {
      // While capture is still on: who departs meanwhile stands in the queue.
      if (keptSince !== null) await this.aside.noteAccounts(this.lease);
      await takeCaptureOff(
        this.context.database,
        this.context.mapping,
        keptSince === null ? 'nothing' : 'departures',
      );
    }
    // Where the column goes, there is no need to write each row of the old table for it.
    const links =
      isUnlinking(await readState(this.context.database)) && !(purge && this.drops)
        ? await unlink(this.context, this.lease, to)
        : 0;
    if (to === 'LEGACY' && this.state.addsColumns && !(purge && this.drops))
      await emptyUserColumns(this.context, this.lease);
    const kept = keptSince === null ? [] : await findMadeHere(this.context.database.reader);
    if (purge) await this.purge(kept);
    return {
      from: stage,
      stage: to,
      ...taken,
      links,
      kept,
      purged: purge,
      columnsLeft: await this.columnsLeft(),
    };
  }

  private async onlyTheStage(to: RollbackTarget): Promise<RollbackResult> {
    const { database } = this.context;
    await this.lease.fenced(database, async (transaction) => {
      await changeStage(transaction, database.dialect.now, this.state.stage, to);
      await endCutover(transaction);
      await this.note(transaction);
    });
    return {
      from: this.state.stage,
      stage: to,
      ...NOTHING,
      links: 0,
      kept: [],
      purged: false,
      columnsLeft: await this.columnsLeft(),
    };
  }

  private note(transaction: Queryable): Promise<void> {
    return noteAction(transaction, this.context.database.dialect.now, {
      who: this.context.who,
      did: `rollback: ${this.state.stage} to ${this.options.to}`,
    });
  }

  private async columnsLeft(): Promise<string[]> {
    // Where expand left ours out, a column of the same name is the old app's.
    if (!this.state.addsColumns) return [];
    const { database, mapping } = this.context;
    const left: ColumnName[] = [];
    for (const name of addedColumnsOf(mapping))
      if (await hasColumn(database.reader, database.dialect, name)) left.push(name);
    return show(left);
  }

  /** @throws SegueError WOULD_LOSE_ROWS when a purge would drop what stands nowhere else, and no file was named for it. */
  private async checkPurgeLosesNothing(): Promise<void> {
    const { purge = false, exportTo } = this.options;
    if (!purge) return;
    if (exportTo !== undefined) await checkIsNew(exportTo);
    else refuseToDrop(await findMadeHere(this.context.database.reader));
  }

  /**
   * Takes the copies away, or lays the new side aside where people made something there that has no old form: in one
   * transaction with the stage, which is LEGACY for as long as there are links to be emptied.
   */
  private async leaveNewSide(to: 'LEGACY' | 'EXPANDED'): Promise<Taken> {
    const { database, mapping } = this.context;
    const { dialect } = database;
    // Laid aside already, and on the way forward again: nobody was served since.
    const isAside = this.state.keptSince !== null;
    if (hasReached(this.state.stage, 'BACKFILLED')) {
      // Both ways, as far as they have come: what is written from here on is looked for in the queue.
      await new Applier(this.context).drain(database.reader, (work) =>
        this.lease.fenced(database, work),
      );
      await this.aside.raiseReceipts(this.lease);
    }
    const proof = isAside
      ? null
      : await checkOldSideIsWhole(this.context, this.lease, this.state.migrated);
    const [bounds] = await database.reader.all<Bounds>(oldRows(dialect, mapping).bounds);
    const hasLinks = this.state.fillsLink && this.state.lowId !== null && bounds?.low != null;
    if (hasLinks && !(this.options.purge === true && this.drops))
      await checkNothingFires(this.context);

    return database.restructure(async (transaction) => {
      await this.lease.renew(transaction);
      // First, as everybody does who changes the stage.
      await transaction.run('UPDATE changeover_state SET changed_at = changed_at WHERE id = 1');
      for (const statement of dialect.lockTables([...COPIED, 'user_presence']))
        await transaction.run(statement);
      const { stage } = await getState(transaction);
      if (hasReached(stage, 'BACKFILLED')) await this.aside.raiseLast(transaction);
      await changeStage(transaction, dialect.now, this.state.stage, hasLinks ? 'LEGACY' : to);
      await endCutover(transaction);
      await endShadow(transaction);
      await this.note(transaction);
      const links = { low: hasLinks ? bounds.low : null, high: hasLinks ? bounds.high : null };
      if (isAside || (await isAnythingMadeHere(transaction))) {
        if (this.options.purge === true && this.options.exportTo === undefined)
          refuseToDrop(await findMadeHere(transaction));
        if (proof !== null) await checkSentSince(transaction, this.context, proof);
        // Whose the accounts were when capture went off first is still to be compared, where it was laid aside already.
        if (!isAside) await transaction.run(dialect.empty('known_accounts'));
        await this.layAside(transaction, links);
        return NOTHING;
      }
      if (proof !== null) await checkUnchangedSince(transaction, proof);
      return this.takeCopiesAway(transaction, links);
    });
  }

  /** The copies stay as they are, and what was known about them is void: the old app goes on without them. */
  private async layAside(transaction: Queryable, links: Links): Promise<void> {
    const { dialect } = this.context.database;
    for (const table of ['changeover_mismatches', 'changeover_certificates'])
      await transaction.run(dialect.empty(table));
    await transaction.run(
      `UPDATE changeover_state SET ${NOT_BEGUN}, kept_since = coalesce(kept_since, ${dialect.now}) WHERE id = 1`,
      links,
    );
  }

  private async takeCopiesAway(transaction: Queryable, links: Links): Promise<Taken> {
    const { dialect } = this.context.database;
    const [taken] = await transaction.all<Record<keyof Taken, number | string>>(
      `SELECT (SELECT count(*) FROM enhanced_messages) AS messages, (SELECT count(*) FROM conversations) AS conversations,
         (SELECT count(*) FROM changeover_quarantine) AS quarantined`,
    );
    for (const table of COPIED) await transaction.run(dialect.empty(table));
    // Who followed the log has to fetch everything anew.
    await transaction.run(
      `UPDATE event_log SET epoch = ${dialect.newEpoch}, forgotten_through = 0 WHERE id = 1`,
    );
    // A backfill that was cut off has left them out.
    for (const statement of dialect.lateIndexes.build) await transaction.run(statement);
    await transaction.run(
      `UPDATE changeover_state SET ${NOT_BEGUN}, started_at = NULL WHERE id = 1`,
      links,
    );
    return {
      messages: Number(taken?.messages),
      conversations: Number(taken?.conversations),
      quarantined: Number(taken?.quarantined),
    };
  }

  /**
   * All or nothing, in one transaction. Old tables come last: their locks are held the shortest.
   * @param kept what has no old form; it stands in the file before anything is dropped
   */
  private async purge(kept: readonly MadeHere[]): Promise<void> {
    const { database, mapping } = this.context;
    const { dialect } = database;
    const { exportTo } = this.options;
    if (exportTo !== undefined) await exportKept(this.context, exportTo);
    await database.restructure(async (transaction) => {
      await this.lease.renew(transaction);
      // Whoever went forward meanwhile wins.
      await changeStage(transaction, dialect.now, 'LEGACY', 'LEGACY');
      for (const statement of dialect.lockTables(COPIED)) await transaction.run(statement);
      const made = await findMadeHere(transaction);
      if (exportTo === undefined) refuseToDrop(made);
      if (listMadeHere(made) !== listMadeHere(kept))
        throw new SegueError(
          'WOULD_LOSE_ROWS',
          `The new side was written to while it was exported: it had ${listMadeHere(kept)}, and has ${listMadeHere(made)}. ` +
            `Nothing was dropped; run this again with another file.`,
        );
      if (made.length === 0) await checkUnchangedSince(transaction, { messages: 0 });
      await dropCapture(transaction, dialect, mapping);
      for (const table of OWN_TABLE_NAMES.toReversed())
        await transaction.run(`DROP TABLE ${dialect.name(table)}`);
      await transaction.run(`DROP TABLE ${dialect.name(this.options.migrationsTable)}`);
      if (this.drops) await dropColumns(this.context, transaction, addedColumnsOf(mapping));
    });
  }
}

/** @throws SegueError WOULD_LOSE_ROWS when there is anything. */
function refuseToDrop(made: readonly MadeHere[]): void {
  if (made.length > 0)
    throw new SegueError(
      'WOULD_LOSE_ROWS',
      `${listMadeHere(made)}: this has no form in the old table, and would be lost. Nothing was changed: take it along with --export FILE, ` +
        `or leave --purge out, and it is kept for the way forward.`,
    );
}

/** Between which ids of the old table links are to be emptied; null: there are none. */
interface Links extends Record<string, string | null> {
  readonly low: string | null;
  readonly high: string | null;
}

/** What the books say of a copy that has not begun, but for links that are to be emptied. */
const NOT_BEGUN = `low_id = CAST(:low AS bigint), high_id = CAST(:high AS bigint), done_above = CAST(:high AS bigint),
  has_threads = false, rows_to_copy = 0, migrated = 0, quarantined = 0, applied = 0, rows_per_second = 0, voided_at = NULL, voided_by = NULL,
  paused = false, rate_limit = NULL, throttled_by = NULL, lock_hold = NULL, compared_through = NULL, bypassed = 0`;

type Taken = Pick<RollbackResult, 'messages' | 'conversations' | 'quarantined'>;

const UNTOUCHED = { links: 0, kept: [], purged: false, columnsLeft: [] };

const NOTHING: Taken = { messages: 0, conversations: 0, quarantined: 0 };

function checkOptions({
  to,
  purge = false,
  dropColumns: drops = false,
  exportTo,
}: RollbackOptions): void {
  if (purge && to !== 'LEGACY')
    throw new SegueError('BAD_USER_INPUT', `--purge leads to LEGACY: leave --to ${to} out.`);
  if (drops && !purge)
    throw new SegueError(
      'BAD_USER_INPUT',
      '--drop-columns goes with --purge only. Nothing was changed.',
    );
  if (exportTo !== undefined && !purge)
    throw new SegueError(
      'BAD_USER_INPUT',
      `--export ${exportTo} goes with --purge only: without it all is kept. Nothing was changed.`,
    );
}

/** @throws SegueError WRONG_STAGE when the database is not beyond the stage, and nothing is left to be finished. */
function checkWay(
  state: ChangeoverState,
  { to, purge = false }: RollbackOptions,
  hasBooks: boolean,
  isCaptured: boolean,
): void {
  const { stage } = state;
  const refuse = (why: string): never => {
    throw new SegueError('WRONG_STAGE', `The stage is ${stage}: ${why} Nothing was changed.`);
  };
  if (stage === 'CONTRACTED') refuse('there is no old side any more, and no way back.');
  if (isUnlinking(state) && !hasReached(to, 'BACKFILLED')) return;
  // Ended before the triggers were off: they would go on filling a queue that nobody empties.
  if (stage === 'LEGACY' && to === 'LEGACY' && hasBooks && isCaptured) return;
  if (stage === to) {
    if (!purge)
      refuse(
        hasBooks
          ? "it is there already; 'segue rollback --purge' drops our tables."
          : 'it is there already.',
      );
  } else if (!hasReached(stage, to)) refuse(`${to} comes later; ${forwardTo(to)} goes forward.`);
}

function forwardTo(to: RollbackTarget): string {
  if (to === 'COMPLETE') return "'segue cutover --percent 100'";
  return STAGES.indexOf(to) > 1 ? "'segue migrate'" : "'segue expand'";
}

function dropsColumns(
  { database }: ChangeoverContext,
  { dropColumns: drops = false }: RollbackOptions,
): boolean {
  return drops || database.dialect.dropsColumnsCheaply;
}

/**
 * Drops columns of old tables, those that are there.
 * @throws SegueError UNSUPPORTED_DATABASE when something of the old app's needs one.
 */
async function dropColumns(
  { database: { dialect } }: ChangeoverContext,
  transaction: Queryable,
  columns: readonly ColumnName[],
): Promise<void> {
  // The last one first, as the definition's text is put together again.
  for (const { table, column } of columns.toReversed()) {
    if (!(await hasColumn(transaction, dialect, { table, column }))) continue;
    try {
      await transaction.run(
        `ALTER TABLE ${dialect.name(table)} DROP COLUMN ${dialect.name(column)}`,
      );
    } catch (error) {
      const use = findColumnUse(error);
      if (use === null) throw error;
      throw new SegueError(
        'UNSUPPORTED_DATABASE',
        `The column ${column} of ${table} cannot be dropped (${use}): a view or the like of the old app's needs it, or is broken. ` +
          `Mend or drop that, and run this again: nothing was dropped so far.`,
        { cause: error },
      );
    }
  }
}

/** What is left where our tables are gone, or were never all made: TypeORM's book, and columns that bear our mark. */
async function purgeLeftovers(
  context: ChangeoverContext,
  options: RollbackOptions,
): Promise<RollbackResult> {
  const { database, mapping } = context;
  const { dialect } = database;
  const hasMigrations = await hasTable(database, options.migrationsTable);
  const left = await findLeftColumns(database, mapping);
  const dropped = dropsColumns(context, options) ? left : [];
  if (!hasMigrations && dropped.length === 0)
    throw new SegueError(
      'WRONG_STAGE',
      left.length === 0
        ? 'The stage is LEGACY, and nothing of ours is left.'
        : `The stage is LEGACY, and nothing of ours is left but ${show(left).join(', ')}, empty: --drop-columns drops them.`,
    );
  await database.restructure(async (transaction) => {
    const [books] = await transaction.all<{ present: number | string }>(dialect.hasTable, {
      table: 'changeover_state',
    });
    if (Number(books?.present) > 0)
      throw new SegueError(
        'WRONG_STAGE',
        'Another process expanded the database meanwhile. Nothing was changed.',
      );
    if (hasMigrations) await transaction.run(`DROP TABLE ${dialect.name(options.migrationsTable)}`);
    await dropColumns(context, transaction, dropped);
  });
  return {
    from: 'LEGACY',
    stage: 'LEGACY',
    ...NOTHING,
    links: 0,
    kept: [],
    purged: true,
    columnsLeft: show(await findLeftColumns(database, mapping)),
  };
}

function show(columns: readonly ColumnName[]): string[] {
  return columns.map(({ table, column }) => `${table}.${column}`);
}

import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import { refusalOf } from '../database/database-errors.js';
import type { Dialect } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';
import { lockLog } from '../events/event-log.js';
import { inParts } from './content-bytes.js';
import type { ChangeoverContext } from './context.js';
import { mendConversation } from './conversation-checks.js';
import { Lease } from './lease.js';
import { type SettleSql, settleSql } from './settle-sql.js';
import { type ChangeoverState, getState, hasReached, isComplete, readLatest } from './stage.js';
import { Turns } from './turns.js';

/** Rows that one transaction settles, where the database refuses none of them and their texts are not large. */
const ROWS_PER_TRANSACTION = 200;

/** What came of an old row that was settled anew. */
export interface Settled {
  readonly legacyId: string;
  readonly became: 'migrated' | 'quarantined' | 'removed';
}

/**
 * Makes the new side say of each of these old rows what the rules say of it now, whatever was there: its copy, its raw
 * values and its place in quarantine are taken away and made anew from the old table, with a conversation and
 * participants where they are missing. The old table is the truth; a row that is not in it any more is only taken
 * away. Idempotent.
 *
 * Takes the runner's lease, and for each 200 rows one transaction: on SQLite its write lock, on PostgreSQL locks on
 * the rows of `messages` that it links. In between it leaves others their turn.
 * @param note called in each transaction with what came of its rows, to write it down with them
 * @throws SegueError RUNNER_ACTIVE, LEASE_LOST; WRONG_STAGE before BACKFILLED.
 */
export async function settleRows(
  { database, mapping }: ChangeoverContext,
  ids: readonly string[],
  note: (transaction: Queryable, settled: readonly Settled[]) => Promise<void> = () =>
    Promise.resolve(),
): Promise<Settled[]> {
  const settler = new Settler(database.dialect, mapping);
  const turns = new Turns(database.dialect.manners);
  return Lease.hold(database, async (lease) => {
    const settled: Settled[] = [];
    const run = async (
      work: (transaction: Queryable, state: ChangeoverState) => Promise<Settled[]>,
    ): Promise<void> => {
      const settle = async (transaction: Queryable): Promise<Settled[]> => {
        const state = await getState(transaction);
        // A rollback may have taken the copies away since these rows were looked up: the next backfill would meet theirs.
        if (!hasReached(state.stage, 'BACKFILLED'))
          throw new SegueError(
            'WRONG_STAGE',
            `The stage is ${state.stage} by now, where rows are not settled one by one. Nothing was changed.`,
          );
        const rows = await work(transaction, state);
        await note(transaction, rows);
        return rows;
      };
      const { result } = await turns.take((work) => lease.fenced(database, work), settle);
      settled.push(...result);
    };
    for (let first = 0; first < ids.length; first += ROWS_PER_TRANSACTION) {
      const next = ids.slice(first, first + ROWS_PER_TRANSACTION);
      for (const part of await inParts(
        database.reader,
        { dialect: database.dialect, mapping },
        next,
      ))
        await eachUnrefused(part, (some, words) =>
          run((transaction, state) =>
            words === null
              ? settler.settle(transaction, state, some, 'anew')
              : settler.refuse(transaction, state, some, words),
          ),
        );
    }
    return settled;
  });
}

/**
 * Has rows settled together. Where the database refuses one of them, each is settled for itself, and the one that is
 * refused again is handed over with the database's words.
 * @param settle settles rows in a transaction of its own; with words: puts them into quarantine
 */
export async function eachUnrefused(
  ids: readonly string[],
  settle: (ids: readonly string[], words: string | null) => Promise<void>,
): Promise<void> {
  try {
    await settle(ids, null);
  } catch (error) {
    const words = refusalOf(error);
    if (words === null) throw error;
    if (ids.length === 1) return settle(ids, words);
    for (const id of ids) await eachUnrefused([id], settle);
  }
}

/**
 * What is known of rows that are settled.
 *
 * `anew`: nothing that the new side says of them is believed; they go where their time puts them.
 * `changed`: the old app wrote them since they were copied, or for the first time. What they have that the old table
 * does not know of stays; a row that comes now goes to the end of its conversation, and one that is gone leaves a
 * tombstone.
 */
export type Circumstance = 'anew' | 'changed';

/** Settles rows in a transaction of the caller's, who keeps everybody else from doing so: behind the lease's fence. */
export class Settler {
  constructor(
    private readonly dialect: Dialect,
    private readonly mapping: LegacyMapping,
  ) {}

  async settle(
    transaction: Queryable,
    state: ChangeoverState,
    ids: readonly string[],
    circumstance: Circumstance,
  ): Promise<Settled[]> {
    const isCopied = isComplete(state);
    const sql = settleSql(this.dialect, this.mapping, { isCopied });
    const some = { ids: JSON.stringify(ids) };
    // At this stage the batches have yet to come to the rows up to `doneAbove`: those are no late ones.
    const toCome = isCopied ? null : state.doneAbove;
    const latest = await readLatest(transaction, this.dialect);
    const counted = { ids: JSON.stringify(ids.filter((id) => isCounted(state, id))) };
    const before = await this.counts(transaction, sql, counted);
    for (const statement of sql.scratch) await transaction.run(statement);
    await transaction.run(sql.readRows, { ...some, latest });
    if (isCopied) for (const statement of sql.before) await transaction.run(statement, some);
    const toMend = isCopied
      ? await transaction.all<{ id: string }>(sql.conversationsLeft, some)
      : [];
    if (circumstance === 'anew')
      for (const statement of sql.takeAway) await transaction.run(statement, some);
    for (const statement of sql.clear) await transaction.run(statement, some);
    for (const statement of sql.place)
      await transaction.run(statement, {
        ...some,
        latest,
        now: state.startedAt,
        isLate: circumstance === 'changed',
        toCome,
      });
    if (isCopied) for (const statement of sql.membersBefore) await transaction.run(statement);
    for (const statement of sql.write) await transaction.run(statement, { latest });
    if (state.fillsLink) for (const statement of sql.link) await transaction.run(statement, some);
    for (const { id } of toMend) await mendConversation(transaction, this.dialect, id);
    await this.writeCounts(transaction, sql, counted, before);
    // New clients are served from here on: before, there is nobody to be told.
    if (isCopied) await this.tell(transaction, sql);
    const placed = await transaction.all<{ id: string; placed: boolean | number }>(sql.outcome);
    const became = new Map(
      placed.map((row) => [row.id, row.placed ? ('migrated' as const) : ('quarantined' as const)]),
    );
    return ids.map((legacyId) => ({ legacyId, became: became.get(legacyId) ?? 'removed' }));
  }

  /** Writes the events of what has changed: last, since the log stays locked until the transaction ends. */
  private async tell(transaction: Queryable, { changes }: SettleSql): Promise<void> {
    const [found] = await transaction.all<{ count: number | string }>(
      `SELECT count(*) AS count FROM (${changes}) AS t`,
    );
    if (Number(found?.count) === 0) return;
    await lockLog(transaction, this.dialect);
    await transaction.run(
      `INSERT INTO events (kind, conversation_id, user_id, message_id, at)
       SELECT t.kind, t.conversation_id, t.user_id, t.message_id, ${this.dialect.now} FROM (${changes}) AS t
       ORDER BY t.rank, t.place, t.message_id`,
    );
  }

  /** Puts rows into quarantine that the database refused to be copied, with its words. */
  async refuse(
    transaction: Queryable,
    state: ChangeoverState,
    ids: readonly string[],
    words: string,
  ): Promise<Settled[]> {
    const sql = settleSql(this.dialect, this.mapping, {
      isCopied: isComplete(state),
    });
    const some = { ids: JSON.stringify(ids) };
    const counted = { ids: JSON.stringify(ids.filter((id) => isCounted(state, id))) };
    const before = await this.counts(transaction, sql, counted);
    for (const statement of sql.takeAway) await transaction.run(statement, some);
    await transaction.run(sql.quarantineRefused, { ...some, detail: words });
    await this.writeCounts(transaction, sql, counted, before);
    return ids.map((legacyId) => ({ legacyId, became: 'quarantined' }));
  }

  private async counts(
    transaction: Queryable,
    sql: SettleSql,
    some: { ids: string },
  ): Promise<Counts> {
    const [row] = await transaction.all<Record<keyof Counts, number | string>>(sql.counts, some);
    return { migrated: Number(row?.migrated), quarantined: Number(row?.quarantined) };
  }

  private async writeCounts(
    transaction: Queryable,
    sql: SettleSql,
    some: { ids: string },
    before: Counts,
  ): Promise<void> {
    const after = await this.counts(transaction, sql, some);
    const changed = {
      migrated: after.migrated - before.migrated,
      quarantined: after.quarantined - before.quarantined,
    };
    if (changed.migrated === 0 && changed.quarantined === 0) return;
    await transaction.run(
      // While rows are copied, their number is what it was when that began.
      `UPDATE changeover_state SET migrated = migrated + :migrated, quarantined = quarantined + :quarantined,
         rows_to_copy = CASE stage WHEN 'BACKFILLING' THEN rows_to_copy ELSE rows_to_copy + :migrated + :quarantined END WHERE id = 1`,
      changed,
    );
  }
}

interface Counts {
  readonly migrated: number;
  readonly quarantined: number;
}

/**
 * Whether the books count a row by now: while a new side that was laid aside is compared, they count what the batches have
 * come to, from the highest id down.
 */
function isCounted({ stage, keptSince, lowId, doneAbove }: ChangeoverState, id: string): boolean {
  if (stage !== 'BACKFILLING' || keptSince === null || doneAbove === null) return true;
  return BigInt(id) > BigInt(doneAbove) || (lowId !== null && BigInt(id) < BigInt(lowId));
}

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Queryable } from '../database/database.js';
import { inRange, oldRows } from '../legacy/old-rows.js';
import { applyUnlessOthersDo } from './apply.js';
import { IS_OF_ACCOUNT, isOfAccount } from './capture.js';
import type { ChangeoverContext } from './context.js';
import { mergeMismatches, type Mismatch } from './mismatch.js';
import { getState, readLatest } from './stage.js';
import type { VerifySql } from './verify-sql.js';

/** What was found of some rows, and which of them were pending in the same snapshot. */
export interface LookedAt {
  readonly mismatches: readonly Mismatch[];
  /** Rows whose entries are in the queue; null: any row may be. */
  readonly pending: ReadonlySet<string> | null;
}

/** The rows of a range that somebody touched and nobody applied yet; null where an entry stands for more than a row. */
export async function pendingIn(
  reader: Queryable,
  { from, upTo }: { from: string; upTo: string },
): Promise<ReadonlySet<string> | null> {
  const entries = await reader.all<{ legacyId: string | null }>(
    `SELECT DISTINCT CASE WHEN NOT ${IS_OF_ACCOUNT} THEN CAST(legacy_id AS text) END AS "legacyId" FROM changeover_queue
     WHERE ${inRange('legacy_id')} OR legacy_id IS NULL OR ${IS_OF_ACCOUNT}`,
    { from, upTo },
  );
  return entries.some(({ legacyId }) => legacyId === null)
    ? null
    : new Set(entries.map(({ legacyId }) => String(legacyId)));
}

/** Whether anything is waiting to be applied; reads one row. */
export async function hasPending(reader: Queryable): Promise<boolean> {
  return (await reader.all('SELECT 1 AS one FROM changeover_queue LIMIT 1')).length > 0;
}

/** How often the queue is looked at while nothing of it gets less, and the rest in between, in ms. */
const LOOKS = 20;
const LOOK_REST_MS = 250;

/** Rows of one snapshot; and how far their ids may be apart for one statement to read over what lies between. */
const ROWS_PER_LOOK = 2_000;
const NEAR = 100n;

/** Both sides at one moment, without the rows that wait to be applied at that moment. */
export interface Tally {
  readonly legacy: number;
  readonly migrated: number;
  readonly quarantined: number;
  readonly pending: number;
  /** The old table was emptied, and what that took away waits to be applied: the counts mean nothing. */
  readonly isEmptied: boolean;
}

/** Rows that differed while they were pending, and what else waits to be applied. */
export class PendingRows {
  private ids = new Set<string>();
  /** What was queued by then should be applied by somebody, sooner or later. */
  private since: string | null = null;

  constructor(
    private readonly context: ChangeoverContext,
    private readonly sql: VerifySql,
    private readonly now: number,
  ) {}

  /** What is the same twice when nothing was written, or is waiting to be applied, in between. */
  async mark(): Promise<string> {
    const { reader } = this.context.database;
    const { applied } = await getState(reader);
    return (await hasPending(reader)) ? randomUUID() : String(applied);
  }

  /** Takes the rows out that are pending, to be looked at again; returns the mismatches of the others. */
  leaveOut({ mismatches, pending }: LookedAt): Mismatch[] {
    const settled: Mismatch[] = [];
    for (const mismatch of mismatches)
      if (pending === null || pending.has(mismatch.legacyId)) this.ids.add(mismatch.legacyId);
      else settled.push(mismatch);
    return settled;
  }

  /**
   * Looks at those rows again, until each was seen applied, or was written again before each look; and waits until what
   * is queued now was applied, for as long as it gets less.
   */
  async lookAgain(): Promise<Mismatch[]> {
    const found: Mismatch[] = [];
    this.since = await this.readNow();
    let before = Infinity;
    for (let idle = 0; idle < LOOKS;) {
      await applyUnlessOthersDo(this.context);
      found.push(...(await this.look()));
      const left = await this.countOld();
      if (left === 0 && this.ids.size === 0) break;
      idle = left < before ? 0 : idle + 1;
      before = left;
      await sleep(LOOK_REST_MS);
    }
    return found;
  }

  /** What was queued before the looks, and that nobody has applied since: one for each row. */
  async stuck(): Promise<Mismatch[]> {
    const entries = await this.context.database.reader.all<{ source: string; id: string | null }>(
      `SELECT DISTINCT source, CAST(legacy_id AS text) AS id FROM changeover_queue WHERE queued_at <= CAST(:since AS bigint)`,
      { since: this.since },
    );
    const rows = new Map<string, Mismatch>();
    for (const { source, id } of entries) {
      const isRow = !isOfAccount(source) && id !== null;
      const what = isRow ? 'it was written' : `${source} ${id ?? ''} changed`;
      rows.set(isRow ? id : what, {
        legacyId: isRow ? id : '0',
        kind: 'pending',
        detail: `${what} by the old app, and nobody could apply that`,
      });
    }
    return [...rows.values()];
  }

  /** Counts both sides at one moment. */
  async count(): Promise<Tally> {
    const { database, mapping } = this.context;
    const rows = oldRows(database.dialect, mapping);
    const ofRows = `NOT ${IS_OF_ACCOUNT} AND legacy_id IS NOT NULL`;
    const settled = (id: string, table: string): string =>
      `(SELECT count(${id}) FROM ${table}) - (SELECT count(*) FROM ${table} WHERE ${id} IN (SELECT legacy_id FROM changeover_queue WHERE ${ofRows}))`;
    const [row] = await database.snapshot((reader) =>
      reader.all<Record<keyof Tally, number | string>>(
        `SELECT ${settled(rows.of('m').id, `${rows.table} m`)} AS legacy,
           ${settled('legacy_message_id', 'enhanced_messages')} AS migrated,
           ${settled('legacy_id', 'changeover_quarantine')} AS quarantined,
           (SELECT count(DISTINCT legacy_id) FROM changeover_queue WHERE ${ofRows}) AS pending,
           (SELECT count(*) FROM changeover_queue WHERE NOT ${IS_OF_ACCOUNT} AND legacy_id IS NULL) AS "isEmptied"`,
      ),
    );
    return {
      legacy: Number(row?.legacy),
      migrated: Number(row?.migrated),
      quarantined: Number(row?.quarantined),
      pending: Number(row?.pending),
      isEmptied: Number(row?.isEmptied) > 0,
    };
  }

  /** Looks at the rows once: those that are still pending stay, what is found of the others is returned. */
  private async look(): Promise<Mismatch[]> {
    const found: Mismatch[] = [];
    const { database } = this.context;
    const latest = await readLatest(database.reader, database.dialect);
    const ids = [...this.ids].sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
    this.ids.clear();
    for (let first = 0; first < ids.length; first += ROWS_PER_LOOK) {
      const spans = spansOf(ids.slice(first, first + ROWS_PER_LOOK));
      const looks = await database.snapshot(async (reader) => {
        const seen: LookedAt[] = [];
        for (const span of spans) seen.push(await this.lookAt(reader, span, latest));
        return seen;
      });
      for (const seen of looks) found.push(...this.leaveOut(seen));
    }
    return found;
  }

  private async lookAt(
    reader: Queryable,
    { from, upTo, ids }: Span,
    latest: string,
  ): Promise<LookedAt> {
    const mismatches: Mismatch[] = [];
    for (const statement of [...this.sql.mismatches, ...this.sql.strangers])
      mismatches.push(
        ...(await reader.all<Mismatch>(statement, { from, upTo, now: this.now, latest })),
      );
    return {
      mismatches: mergeMismatches(mismatches.filter(({ legacyId }) => ids.has(legacyId))),
      pending: await pendingIn(reader, { from, upTo }),
    };
  }

  private async readNow(): Promise<string> {
    const { reader, dialect } = this.context.database;
    const [row] = await reader.all<{ now: string }>(`SELECT CAST(${dialect.now} AS text) AS now`);
    if (row === undefined) throw new Error('The database has no clock');
    return row.now;
  }

  private async countOld(): Promise<number> {
    const [row] = await this.context.database.reader.all<{ count: number | string }>(
      'SELECT count(*) AS count FROM changeover_queue WHERE queued_at <= CAST(:since AS bigint)',
      { since: this.since },
    );
    return Number(row?.count);
  }
}

/** Ids that lie so near to each other that they are read together. */
interface Span {
  readonly from: string;
  readonly upTo: string;
  readonly ids: ReadonlySet<string>;
}

/** @param ids in ascending order */
function spansOf(ids: readonly string[]): Span[] {
  const groups: string[][] = [];
  for (const id of ids) {
    const group = groups.at(-1);
    const last = group?.at(-1);
    if (group !== undefined && last !== undefined && BigInt(id) - BigInt(last) <= NEAR)
      group.push(id);
    else groups.push([id]);
  }
  return groups.map((group) => ({
    from: group[0] ?? '',
    upTo: group.at(-1) ?? '',
    ids: new Set(group),
  }));
}

import type { Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import { applyUnlessOthersDo } from './apply.js';
import { findMissingCapture } from './capture.js';
import { restoreCapture } from './capture-watch.js';
import {
  findCertificate,
  findVoiding,
  voidCertificates,
  type Voiding,
  writeCertificate,
} from './certificate.js';
import type { ChangeoverContext } from './context.js';
import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import { type Bounds, nextAfter, oldRows, type OldRows } from '../legacy/old-rows.js';
import {
  compareConversations,
  type OddConversation,
  repairConversations,
} from './conversation-checks.js';
import { type Digest, digest } from './digest.js';
import { mergeMismatches, type Mismatch } from './mismatch.js';
import { hasPending, type LookedAt, pendingIn, PendingRows } from './pending-rows.js';
import { Meter } from './progress.js';
import { replayQuarantine } from './quarantine.js';
import { type Settled, settleRows } from './settle.js';
import { changeStage, getState, hasReached, readLatest, readState, type Stage } from './stage.js';
import { verifySql, type VerifySql } from './verify-sql.js';

/** Old rows per snapshot: a long read would hold the WAL back on SQLite, and vacuum on PostgreSQL. */
const ROWS_PER_RANGE = 20_000;

/** Mismatches that are listed; all are counted. */
const LISTED = 1_000;

/** What a repair did to one row. */
export interface Repair {
  readonly legacyId: string;
  /** What was found of it, as in `Mismatch`. */
  readonly kind: string;
  readonly did: string;
}

export interface Verification {
  readonly legacyMessages: number;
  readonly migratedMessages: number;
  readonly quarantinedMessages: number;
  readonly mismatches: number;
  /** Rows that waited to be applied at the end, since the old app had just written them: the counts leave them out. */
  readonly pending: number;
  readonly certificate: string;
  /** The first of them. */
  readonly found: readonly Mismatch[];
  /** Rows that were repaired before the comparison that the figures are of, and the first of them. */
  readonly repaired: number;
  readonly repairs: readonly Repair[];
}

/** What `verify` does beside comparing. */
export interface VerifyOptions {
  /** Make rows that differ anew from the old table, then compare again. */
  readonly repair?: boolean;
  /** Hash the old rows in their canonical form, from both sides. */
  readonly sha256?: boolean;
}

/**
 * Compares every row of both sides, counts them, and writes down what it found. With no difference the stage becomes
 * VERIFIED; with one, a database that was VERIFIED falls back to BACKFILLED. From CUTTING_OVER on the stage stays. Rows in quarantine that were mended are
 * taken up first, and so is what the old app wrote, where nobody else does that.
 *
 * The old app may write meanwhile. A row whose entry is in the queue, in the snapshot in which it was compared, is no
 * mismatch: it is left out, and looked at again when it was applied. What nobody applies though it waits is one, of
 * kind `pending`. At the end both sides are counted at one moment, without what the old app has just written: but for
 * mismatches, legacy = migrated + quarantined, to the row. Without the triggers nobody would know of such
 * rows: they are put on first where they are missing, and have to be there at the end.
 *
 * The rule of the repair: for as long as it lives the old table is the truth of all that its columns can say. What the new side has of a row that differs is taken
 * away and made anew from the old row by the rules for rows (`settle.ts`), each in one transaction with its line in
 * `changeover_repairs`; a copy of a row that is gone, and a message that stands for none, are only taken away. Then participants are made to follow from the
 * messages. Nothing of the old table changes but our link.
 *
 * Reads in snapshots of 20,000 old rows; it takes no lock but for repairs and for the last write.
 * @throws SegueError WRONG_STAGE before the backfill is done; with something to repair or to take up also
 *   RUNNER_ACTIVE, LEASE_LOST.
 */
export async function verify(
  context: ChangeoverContext,
  { repair = false, sha256 = false }: VerifyOptions = {},
): Promise<Verification> {
  const { database, mapping } = context;
  const { stage, fillsLink, startedAt } = await readState(database);
  if (!isComparable(stage))
    throw new SegueError(
      'WRONG_STAGE',
      `The stage is ${stage}: verify compares when the backfill is done${stage === 'LEGACY' ? " ('segue migrate' does all of it)" : " ('segue backfill' goes on with it)"}.`,
    );
  await restoreCapture(context);
  const voidedBefore = await findVoiding(database.reader);
  await replayQuarantine(context, { all: false });
  // Where no server runs, nobody else does; and what is compared then is not left out as pending.
  await applyUnlessOthersDo(context);
  const sql = verifySql(database.dialect, mapping, fillsLink);
  const repairs: Repair[] = [];
  const onRange = async (mismatches: readonly Mismatch[]): Promise<void> => {
    repairs.push(...(await repairRows(context, mismatches)));
  };
  const onConversations = async (odd: readonly OddConversation[]): Promise<void> => {
    repairs.push(...(await repairConversations(context, odd)));
  };
  const compareAll = async (repairing: boolean): Promise<Comparison> =>
    withConversations(
      await compare(context, sql, startedAt ?? 0, repairing ? onRange : undefined),
      await compareConversations(context, repairing ? onConversations : undefined),
    );
  let result = await compareAll(repair);
  if (repairs.length > 0) result = await compareAll(false);
  const hashed = sha256 ? await digest(context, result.legacyMessages) : null;
  if (hashed !== null) result = withDigest(result, hashed);
  // Before the voiding is read: who puts a trigger on again writes that down in the same transaction.
  result = withCapture(result, await findMissingCapture(database, mapping));

  const [version] = await database.reader.all<{ version: string }>(database.dialect.version);
  return database.transaction(async (transaction) => {
    // From here on nobody else voids certificates: either it is seen here, or it comes after this one.
    await transaction.run('UPDATE changeover_state SET changed_at = changed_at WHERE id = 1');
    const state = await getState(transaction);
    if (!isComparable(state.stage) || state.startedAt !== startedAt)
      throw new SegueError(
        'WRONG_STAGE',
        `The stage is ${state.stage} by now: another process took the copies away that were compared. No certificate was written.`,
      );
    const voiding = await findVoiding(transaction);
    const isVoided = voiding !== null && voiding.at !== voidedBefore?.at;
    if (isVoided) result = withVoiding(result, voiding);
    await writeCertificate(transaction, database.dialect.now, result, {
      engine: version?.version ?? '',
      zone: database.dialect.zone.name,
      sha256: hashed?.sha256 ?? null,
    });
    // It speaks of a time before something passed capture by.
    if (isVoided) await voidCertificates(transaction, database.dialect.now, voiding.why);
    const { stage: before } = await getState(transaction);
    const verified = result.mismatches === 0 ? 'VERIFIED' : 'BACKFILLED';
    // Who is on the new side already stays there: that is the operator's to say.
    if (before !== verified && !hasReached(before, 'CUTTING_OVER'))
      await changeStage(transaction, database.dialect.now, before, verified);
    const certificate = await findCertificate(transaction, database.dialect);
    return {
      ...result,
      repaired: repairs.length,
      repairs: repairs.slice(0, LISTED),
      certificate: certificate?.text ?? '',
    };
  });
}

/** Whether there are copies, and the old table is the truth of them. */
function isComparable(stage: Stage): boolean {
  return hasReached(stage, 'BACKFILLED') && stage !== 'CONTRACTED';
}

function withConversations(result: Comparison, odd: readonly OddConversation[]): Comparison {
  const found = odd.map(({ messageId, detail }) => ({
    legacyId: messageId,
    kind: 'conversation',
    detail,
  }));
  return {
    ...result,
    mismatches: result.mismatches + odd.length,
    found: [...result.found, ...found].slice(0, LISTED),
  };
}

/** What was written while a trigger was off, nobody knows of. */
function withCapture(result: Comparison, missing: readonly string[]): Comparison {
  const found = missing.map((name) => ({
    legacyId: '0',
    kind: 'capture',
    detail: `the trigger ${name} was taken off meanwhile: run verify again`,
  }));
  return {
    ...result,
    mismatches: result.mismatches + found.length,
    found: [...result.found, ...found].slice(0, LISTED),
  };
}

/** What passed capture by was found while rows were compared: it may have been written into what was compared already. */
function withVoiding(result: Comparison, { why }: Voiding): Comparison {
  const mismatch = {
    legacyId: '0',
    kind: 'capture',
    detail: `certificates were voided meanwhile (${why}): run verify again`,
  };
  return {
    ...result,
    mismatches: result.mismatches + 1,
    found: [...result.found, mismatch].slice(0, LISTED),
  };
}

/** A line that differs between the sides is a mismatch, though the comparison in the database saw none. */
function withDigest(result: Comparison, { differing }: Digest): Comparison {
  const known = new Set(result.found.map(({ legacyId }) => legacyId));
  const found = differing
    .filter((legacyId) => !known.has(legacyId))
    .map((legacyId) => ({ legacyId, kind: 'digest', detail: 'the canonical forms differ' }));
  // Beyond those that are listed nothing tells which were counted already.
  const more = result.mismatches > result.found.length ? 0 : found.length;
  return {
    ...result,
    mismatches: result.mismatches + more,
    found: [...result.found, ...found].slice(0, LISTED),
  };
}

/** Settles the rows of a range that differ, and writes down what was done in the same transactions. */
async function repairRows(
  context: ChangeoverContext,
  mismatches: readonly Mismatch[],
): Promise<Repair[]> {
  const kinds = new Map<string, Set<string>>();
  for (const { legacyId, kind } of mismatches)
    kinds.set(legacyId, (kinds.get(legacyId) ?? new Set()).add(kind));
  if (kinds.size === 0) return [];
  const asRepair = ({ legacyId, became }: Settled): Repair => {
    const kind = [...(kinds.get(legacyId) ?? [])].join(', ');
    return { legacyId, kind, did: kind === 'tombstone' ? EMPTIED : DID[became] };
  };
  const settled = await settleRows(context, [...kinds.keys()], async (transaction, rows) => {
    for (const { legacyId, kind, did } of rows.map(asRepair))
      await transaction.run(
        `INSERT INTO changeover_repairs (legacy_id, kind, did, repaired_at)
         VALUES (CAST(:legacyId AS bigint), :kind, :did, ${context.database.dialect.now})`,
        { legacyId, kind, did },
      );
  });
  return settled.map(asRepair);
}

const DID: Readonly<Record<Settled['became'], string>> = {
  migrated: 'copied anew from the old row',
  quarantined: 'put into quarantine anew',
  removed: 'taken away: there is no such old row',
};

const EMPTIED = 'its text taken away: it stays what is left of a removed message';

interface Comparison extends Omit<Verification, 'certificate' | 'repaired' | 'repairs'> {
  readonly low: string | null;
  readonly high: string | null;
}

async function compare(
  context: ChangeoverContext,
  sql: VerifySql,
  now: number,
  onRange?: (mismatches: readonly Mismatch[]) => Promise<void>,
): Promise<Comparison> {
  const { database, mapping, report } = context;
  const rows = oldRows(database.dialect, mapping);
  const [bounds] = await database.reader.all<Bounds>(rows.bounds);
  const meter = new Meter('comparison', Number(bounds?.count ?? 0), report);
  const found: Mismatch[] = [];
  let [compared, mismatches] = [0, 0];
  const latest = await readLatest(database.reader, database.dialect);
  const queue = new PendingRows(context, sql, now);
  const begun = await queue.mark();
  const [first] = await database.reader.all<{ at: number | string }>(sql.firstInstant, {
    from: LOWEST_ID,
    upTo: HIGHEST_ID,
    now,
  });
  // The place of rows whose time cannot be used: that of the row before them.
  let before: number | string = first?.at ?? now;
  const note = (some: readonly Mismatch[]): void => {
    mismatches += some.length;
    found.push(...some.slice(0, LISTED - found.length));
  };
  const tell = async (range: readonly Mismatch[]): Promise<void> => {
    note(range);
    await onRange?.(range);
  };
  // The last range has no upper end: it also holds copies of old rows that are not there any more.
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const start: string = from;
    const place: number | string = before;
    const range = await database.snapshot((reader) =>
      compareRange(reader, rows, sql, { start, now, latest, before: place }),
    );
    compared += range.legacy;
    await tell(queue.leaveOut(range));
    from = nextAfter(range.upTo);
    before = range.last ?? before;
    meter.add(range.legacy);
  }
  await tell(await queue.lookAgain());
  // Counted in one piece, so that no row can lie between the ranges, or come after its own was read, unseen. Where the
  // old app writes, the queue tells of rows that come.
  const [whole] = await database.reader.all<Bounds>(rows.bounds);
  const uncounted = Math.abs(Number(whole?.count) - compared);
  if (uncounted > 0 && begun === (await queue.mark()))
    await tell(
      Array.from({ length: uncounted }, () => ({
        legacyId: whole?.high ?? LOWEST_ID,
        kind: 'uncounted',
        detail: `the old table has ${Number(whole?.count)} rows and ${compared} were compared, though nothing was written meanwhile`,
      })),
    );
  // Where nobody applies them there is nothing to repair them by.
  note(await queue.stuck());
  const tally = await queue.count();
  if (tally.isEmptied)
    note([
      {
        legacyId: '0',
        kind: 'pending',
        detail: 'the old table was emptied just now: run verify again',
      },
    ]);
  const { legacy, migrated, quarantined, pending } = tally;
  if (mismatches === 0)
    note(
      Array.from({ length: Math.abs(legacy - migrated - quarantined) }, () => ({
        legacyId: whole?.high ?? LOWEST_ID,
        kind: 'uncounted',
        detail: `${legacy} old rows, ${migrated} migrated and ${quarantined} in quarantine, though no row was found that differs`,
      })),
    );
  return {
    legacyMessages: legacy,
    migratedMessages: migrated,
    quarantinedMessages: quarantined,
    mismatches,
    pending,
    found,
    low: bounds?.low ?? null,
    high: bounds?.high ?? null,
  };
}

interface RangeComparison extends LookedAt {
  readonly upTo: string;
  /** Old rows in it. */
  readonly legacy: number;
  /** The last usable time of the range, by id. */
  readonly last: number | string | undefined;
}

interface RangeStart {
  readonly start: string;
  /** The backfill's beginning, and the latest instant that a row can have by now. */
  readonly now: number;
  readonly latest: string;
  /** The last usable time before the range. */
  readonly before: number | string;
}

async function compareRange(
  reader: Queryable,
  rows: OldRows,
  sql: VerifySql,
  { start: from, now, latest, before }: RangeStart,
): Promise<RangeComparison> {
  const [end] = await reader.all<{ range_end: string }>(rows.rangeEnd, {
    from,
    size: ROWS_PER_RANGE,
  });
  const range = { from, upTo: end?.range_end ?? HIGHEST_ID, now, latest };
  const [counts] = await reader.all<Record<'legacy' | 'untimed', number | string>>(
    sql.count,
    range,
  );
  const found: Mismatch[] = [];
  for (const statement of [...sql.mismatches, ...sql.strangers])
    found.push(...(await reader.all<Mismatch>(statement, range)));
  if (Number(counts?.untimed) > 0) {
    // Where rows were changed since, the row before one may be another, and it stays where it was put.
    const isAsCopied = (await getState(reader)).applied === 0 && !(await hasPending(reader));
    found.push(
      ...(isAsCopied
        ? await reader.all<Mismatch>(sql.places, { ...range, before })
        : await reader.all<Mismatch>(sql.keptPlaces, range)),
    );
  }
  const pending = found.length === 0 ? new Set<string>() : await pendingIn(reader, range);
  const [last] = await reader.all<{ at: number | string }>(sql.lastInstant, range);
  return {
    upTo: range.upTo,
    legacy: Number(counts?.legacy),
    mismatches: mergeMismatches(found),
    pending,
    last: last?.at,
  };
}

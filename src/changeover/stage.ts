import { SegueError } from '../errors/segue-error.js';
import { UTC, writeShifts } from '../config/zone.js';
import type { Database, Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { kept } from '../database/kept-statements.js';

/** The stages of a changeover, in order. Every one but the last has a way back. */
export const STAGES = [
  'LEGACY',
  'EXPANDED',
  'BACKFILLING',
  'BACKFILLED',
  'VERIFIED',
  'CUTTING_OVER',
  'COMPLETE',
  'CONTRACTED',
] as const;

export type Stage = (typeof STAGES)[number];

/** The one row of `changeover_state`. Ids are text: they may pass 2^53. */
export interface ChangeoverState {
  readonly stage: Stage;
  /** What the operator would restore; null: nothing. */
  readonly backup: string | null;
  /** Whether the old tables have our three columns, or will get them. */
  readonly addsColumns: boolean;
  readonly fillsLink: boolean;
  /** The name of the zone that old times were copied in; means nothing at LEGACY. */
  readonly zone: string;
  /** Where the copy stands. At LEGACY: a rollback took the copies away, and this is where emptying the links stands. */
  readonly lowId: string | null;
  readonly highId: string | null;
  readonly doneAbove: string | null;
  readonly hasThreads: boolean;
  readonly rowsToCopy: number;
  readonly migrated: number;
  readonly quarantined: number;
  /** Entries of the queue that were applied: the old app wrote since the copy began. */
  readonly applied: number;
  readonly rowsPerSecond: number;
  readonly startedAt: number | null;
  readonly isPaused: boolean;
  /** Rows a second; null: no limit. */
  readonly rateLimit: number | null;
  readonly throttledBy: string | null;
  /** For how long the last batch held its locks, in ms; null: not known. */
  readonly lockHoldMs: number | null;
  /** How far the rolling compare has come; null: it begins anew. */
  readonly comparedThrough: string | null;
  /** Rows that the rolling compare found to have passed capture by. */
  readonly bypassed: number;
  /** Of the people who ask by the old API, how many percent are answered from the new side. */
  readonly cutoverPercent: number;
  /** Since when a rollback has the new side laid aside, in microseconds; null: it is in use, or there is none. */
  readonly keptSince: number | null;
  /** When it was expanded, and when the contract step gave the old table another name, in microseconds. */
  readonly expandedAt: number | null;
  readonly retiredAt: number | null;
  /** From when on nothing is written to it any more. */
  readonly sealedAt: number | null;
  /** Writes of others to the old messages that were captured so far, and the instant of the last one. */
  readonly foreignWrites: number;
  readonly foreignWrittenAt: number | null;
  /** Of the old calls, how many hundredths of a percent are compared with the other side, and what came of it. */
  readonly shadowSample: number;
  readonly shadow: {
    readonly compared: number;
    readonly mismatches: number;
    readonly noise: number;
    readonly undecided: number;
  };
}

/** What a database looks like that nobody has expanded. */
const UNTOUCHED: ChangeoverState = {
  stage: 'LEGACY',
  backup: null,
  addsColumns: true,
  fillsLink: true,
  zone: UTC.name,
  lowId: null,
  highId: null,
  doneAbove: null,
  hasThreads: false,
  rowsToCopy: 0,
  migrated: 0,
  quarantined: 0,
  applied: 0,
  rowsPerSecond: 0,
  startedAt: null,
  isPaused: false,
  rateLimit: null,
  throttledBy: null,
  lockHoldMs: null,
  comparedThrough: null,
  bypassed: 0,
  cutoverPercent: 0,
  keptSince: null,
  expandedAt: null,
  retiredAt: null,
  sealedAt: null,
  foreignWrites: 0,
  foreignWrittenAt: null,
  shadowSample: 0,
  shadow: { compared: 0, mismatches: 0, noise: 0, undecided: 0 },
};

/** Reads where the changeover stands; a database without our books stands at LEGACY. */
export async function readState(database: Database): Promise<ChangeoverState> {
  if (!(await hasBooks(database))) return UNTOUCHED;
  try {
    return await getState(database.reader);
  } catch (error) {
    // A purge may have come between the two reads.
    if (await hasBooks(database)) throw error;
    return UNTOUCHED;
  }
}

async function hasBooks({ dialect, reader }: Database): Promise<boolean> {
  const [table] = await reader.all<{ present: number | string }>(dialect.hasTable, {
    table: 'changeover_state',
  });
  return Number(table?.present) > 0;
}

/** As `readState`, where the books are known to be there: inside a transaction of the changeover. */
export async function getState(queryable: Queryable): Promise<ChangeoverState> {
  const [row] = await queryable.all<
    Record<
      keyof ChangeoverState | keyof ChangeoverState['shadow'],
      string | number | boolean | null
    >
  >(
    kept(`SELECT stage, backup, adds_columns AS "addsColumns", fills_link AS "fillsLink", zone, CAST(low_id AS text) AS "lowId", CAST(high_id AS text) AS "highId",
       CAST(done_above AS text) AS "doneAbove", has_threads AS "hasThreads", rows_to_copy AS "rowsToCopy",
       migrated, quarantined, applied, rows_per_second AS "rowsPerSecond", started_at AS "startedAt",
       paused AS "isPaused", rate_limit AS "rateLimit", throttled_by AS "throttledBy", lock_hold AS "lockHoldMs",
       CAST(compared_through AS text) AS "comparedThrough", bypassed, cutover_percent AS "cutoverPercent",
       kept_since AS "keptSince", expanded_at AS "expandedAt", retired_at AS "retiredAt", sealed_at AS "sealedAt",
       foreign_writes AS "foreignWrites", foreign_written_at AS "foreignWrittenAt", shadow_sample AS "shadowSample", shadow_compared AS compared, shadow_mismatches AS mismatches,
       shadow_noise AS noise, shadow_undecided AS undecided
     FROM changeover_state WHERE id = 1`),
  );
  if (row === undefined)
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      'changeover_state has lost its row: restore it from a backup before anything else.',
    );
  return {
    stage: checkStage(row.stage),
    backup: textOrNull(row.backup),
    addsColumns: Boolean(row.addsColumns),
    fillsLink: Boolean(row.fillsLink),
    zone: String(row.zone),
    lowId: textOrNull(row.lowId),
    highId: textOrNull(row.highId),
    doneAbove: textOrNull(row.doneAbove),
    hasThreads: Boolean(row.hasThreads),
    rowsToCopy: Number(row.rowsToCopy),
    migrated: Number(row.migrated),
    quarantined: Number(row.quarantined),
    applied: Number(row.applied),
    rowsPerSecond: Number(row.rowsPerSecond),
    startedAt: numberOrNull(row.startedAt),
    isPaused: Boolean(row.isPaused),
    rateLimit: numberOrNull(row.rateLimit),
    throttledBy: textOrNull(row.throttledBy),
    lockHoldMs: row.lockHoldMs === null ? null : Number(row.lockHoldMs) / 1_000,
    comparedThrough: textOrNull(row.comparedThrough),
    bypassed: Number(row.bypassed),
    cutoverPercent: Number(row.cutoverPercent),
    keptSince: numberOrNull(row.keptSince),
    expandedAt: numberOrNull(row.expandedAt),
    retiredAt: numberOrNull(row.retiredAt),
    sealedAt: numberOrNull(row.sealedAt),
    foreignWrites: Number(row.foreignWrites),
    foreignWrittenAt: numberOrNull(row.foreignWrittenAt),
    shadowSample: Number(row.shadowSample),
    shadow: {
      compared: Number(row.compared),
      mismatches: Number(row.mismatches),
      noise: Number(row.noise),
      undecided: Number(row.undecided),
    },
  };
}

/** How far the old app's clock may be ahead of the database's for its times to be believed, in microseconds. */
const CLOCKS_APART = 300_000_000;

/**
 * The latest instant that a row written by now can have, by the database's clock, in microseconds as text: what lies
 * after it is in the future, and no usable time.
 */
export async function readLatest(queryable: Queryable, { now }: Dialect): Promise<string> {
  const [row] = await queryable.all<{ latest: string }>(
    `SELECT CAST(${now} + ${CLOCKS_APART} AS text) AS latest`,
  );
  if (row === undefined) throw new Error('The database has no clock');
  return row.latest;
}

/**
 * Moves the stage on, by compare-and-set: of two processes that try, one fails.
 * @throws SegueError WRONG_STAGE when the stage is not `from` any more.
 */
export async function changeStage(
  transaction: Queryable,
  now: string,
  from: Stage,
  to: Stage,
): Promise<void> {
  const changed = await transaction.run(
    `UPDATE changeover_state SET stage = :to, changed_at = ${now} WHERE id = 1 AND stage = :from`,
    { from, to },
  );
  if (changed !== 1) {
    const { stage } = await getState(transaction);
    throw new SegueError(
      'WRONG_STAGE',
      `The stage is ${stage}, not ${from}: another process changed it. Nothing was done; see 'segue status'.`,
    );
  }
}

/** The zone that the old times were copied in, as `{name, shifts}`; at LEGACY only of copies that were laid aside. */
export const SETTLED_ZONE = `SELECT zone AS name, zone_shifts AS shifts FROM changeover_state
  WHERE id = 1 AND (stage <> 'LEGACY' OR kept_since IS NOT NULL)`;

/** Settles the zone of old times as the one that the database was opened with, and when; to be called on the way out of LEGACY. */
export async function settleZone(transaction: Queryable, { zone, now }: Dialect): Promise<void> {
  await transaction.run(
    `UPDATE changeover_state SET expanded_at = ${now}, foreign_writes = 0, foreign_written_at = NULL WHERE id = 1 AND stage = 'LEGACY'`,
  );
  await transaction.run(
    `UPDATE changeover_state SET zone = :name, zone_shifts = :shifts WHERE id = 1 AND stage = 'LEGACY' AND kept_since IS NULL`,
    { name: zone.name, shifts: writeShifts(zone.shifts) },
  );
}

/**
 * Whether the new side has had all rows once, and people were served from it: what comes now is settled as it is while a
 * server runs, and told. So it is also while one that was laid aside is brought up to date.
 */
export function isComplete({ stage, keptSince }: ChangeoverState): boolean {
  return hasReached(stage, keptSince === null ? 'BACKFILLED' : 'BACKFILLING');
}

/** Old rows that are mirrors of what was sent here: the books count those that the old app wrote. */
export const SENT_HERE =
  'SELECT count(*) FROM enhanced_messages WHERE made_here AND legacy_message_id IS NOT NULL';

/** Whether a changeover stands at `least` or later. */
export function hasReached(stage: Stage, least: Stage): boolean {
  return STAGES.indexOf(stage) >= STAGES.indexOf(least);
}

function checkStage(value: unknown): Stage {
  const stage = STAGES.find((candidate) => candidate === value);
  if (stage === undefined)
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      `changeover_state names the stage ${String(value)}, which this version does not know: a newer one wrote it. Use that one.`,
    );
  return stage;
}

function numberOrNull(value: string | number | boolean | null): number | null {
  return value === null ? null : Number(value);
}

function textOrNull(value: string | number | boolean | null): string | null {
  return value === null ? null : String(value);
}

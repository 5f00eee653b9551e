import type { Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import { VERSION } from '../version.js';
import type { ChangeoverContext } from './context.js';
import {
  type Bounds,
  HIGHEST_ID,
  LOWEST_ID,
  nextAfter,
  oldRows,
  type OldRows,
} from '../legacy/old-rows.js';
import { Meter } from './progress.js';
import { changeStage, getState, hasReached, readState } from './stage.js';
import { verifySql, type VerifySql } from './verify-sql.js';

/** Old rows per snapshot: a long read would hold the WAL back on SQLite, and vacuum on PostgreSQL. */
const ROWS_PER_RANGE = 20_000;

/** Mismatches that are listed; all are counted. */
const LISTED = 1_000;

export interface Mismatch {
  readonly legacyId: string;
  readonly kind: string;
  readonly detail: string;
}

export interface Verification {
  readonly legacyMessages: number;
  readonly migratedMessages: number;
  readonly quarantinedMessages: number;
  readonly mismatches: number;
  readonly certificate: string;
  /** The first of them. */
  readonly found: readonly Mismatch[];
}

/**
 * Compares every row of both sides, counts them, and writes down what it found. With no difference the stage becomes
 * VERIFIED; with one, a database that was VERIFIED falls back to BACKFILLED.
 *
 * Reads in snapshots of 20,000 old rows; it takes no lock but for the last write.
 * @throws SegueError WRONG_STAGE before the backfill is done.
 */
export async function verify(context: ChangeoverContext): Promise<Verification> {
  const { database, mapping } = context;
  const { stage, fillsLink } = await readState(database);
  if (!hasReached(stage, 'BACKFILLED') || hasReached(stage, 'CUTTING_OVER'))
    throw new SegueError(
      'WRONG_STAGE',
      `The stage is ${stage}: verify compares when the backfill is done${stage === 'LEGACY' ? " ('segue migrate' does all of it)" : " ('segue backfill' goes on with it)"}.`,
    );
  const result = await compare(context, verifySql(database.dialect, mapping, fillsLink));
  const [version] = await database.reader.all<{ version: string }>(database.dialect.version);
  return database.transaction(async (transaction) => {
    await writeCertificate(transaction, database.dialect.now, result, version?.version ?? '');
    const state = await getState(transaction);
    const verified = result.mismatches === 0 ? 'VERIFIED' : 'BACKFILLED';
    if (state.stage !== verified)
      await changeStage(transaction, database.dialect.now, stage, verified);
    const certificate = await findCertificate(transaction);
    return { ...result, certificate: certificate?.text ?? '' };
  });
}

/** A certificate, read back from where it is stored. */
export interface Certificate {
  /** One line that says what was compared, when, with what, and what came of it. */
  readonly text: string;
  readonly verifiedAt: string;
  readonly mismatches: number;
}

/** The newest certificate; null when nothing was ever compared. */
export async function findCertificate(queryable: Queryable): Promise<Certificate | null> {
  const [row] = await queryable.all<Record<string, number | string | null>>(
    `SELECT id, legacy_messages AS legacy, migrated_messages AS migrated, quarantined_messages AS quarantined, mismatches,
       CAST(low_id AS text) AS low, CAST(high_id AS text) AS high, versions, verified_at AS at
     FROM changeover_certificates ORDER BY id DESC LIMIT 1`,
  );
  if (row === undefined) return null;
  const verifiedAt = new Date(Number(row.at) / 1000).toISOString();
  const range = row.low === null ? 'no ids' : `ids ${row.low} to ${row.high}`;
  return {
    text:
      `certificate ${row.id}: ${row.legacy} legacy = ${row.migrated} migrated + ${row.quarantined} quarantined, ` +
      `${row.mismatches} mismatches, ${range}, ${row.versions}, ${verifiedAt}`,
    verifiedAt,
    mismatches: Number(row.mismatches),
  };
}

async function writeCertificate(
  transaction: Queryable,
  now: string,
  result: Comparison,
  engine: string,
): Promise<void> {
  await transaction.run(
    `INSERT INTO changeover_certificates (legacy_messages, migrated_messages, quarantined_messages, mismatches, low_id, high_id, versions, verified_at)
     VALUES (:legacy, :migrated, :quarantined, :mismatches, CAST(:low AS bigint), CAST(:high AS bigint), :versions, ${now})`,
    {
      legacy: result.legacyMessages,
      migrated: result.migratedMessages,
      quarantined: result.quarantinedMessages,
      mismatches: result.mismatches,
      low: result.low,
      high: result.high,
      versions: `segue ${VERSION} on ${engine}`,
    },
  );
  for (const { legacyId, kind, detail } of result.found)
    await transaction.run(
      `INSERT INTO changeover_mismatches (certificate_id, legacy_id, kind, detail)
       SELECT max(id), CAST(:legacyId AS bigint), CAST(:kind AS text), CAST(:detail AS text) FROM changeover_certificates`,
      { legacyId, kind, detail },
    );
}

interface Comparison extends Omit<Verification, 'certificate'> {
  readonly low: string | null;
  readonly high: string | null;
}

async function compare(
  { database, mapping, report }: ChangeoverContext,
  sql: VerifySql,
): Promise<Comparison> {
  const rows = oldRows(database.dialect, mapping);
  const [bounds] = await database.reader.all<Bounds>(rows.bounds);
  const meter = new Meter('comparison', Number(bounds?.count ?? 0), report);
  const found: Mismatch[] = [];
  let [legacyMessages, migratedMessages, quarantinedMessages, mismatches] = [0, 0, 0, 0];
  // The last range has no upper end: it also holds copies of old rows that are not there any more.
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const start: string = from;
    const range = await database.snapshot((reader) => compareRange(reader, rows, sql, start));
    legacyMessages += range.legacy;
    migratedMessages += range.migrated;
    quarantinedMessages += range.quarantined;
    mismatches += range.mismatches.length;
    found.push(...range.mismatches.slice(0, LISTED - found.length));
    from = nextAfter(range.upTo);
    meter.add(range.legacy);
  }
  // Counted in one piece, so that no row can lie between the ranges, or come after its own was read, unseen.
  const [whole] = await database.reader.all<Bounds>(rows.bounds);
  const uncounted = Math.abs(Number(whole?.count) - legacyMessages);
  if (uncounted > 0) {
    mismatches += uncounted;
    found.push({
      legacyId: whole?.high ?? LOWEST_ID,
      kind: 'uncounted',
      detail: `the old table has ${Number(whole?.count)} rows and ${legacyMessages} were compared: the old app wrote meanwhile`,
    });
  }
  return {
    legacyMessages,
    migratedMessages,
    quarantinedMessages,
    mismatches,
    found,
    low: bounds?.low ?? null,
    high: bounds?.high ?? null,
  };
}

async function compareRange(
  reader: Queryable,
  rows: OldRows,
  sql: VerifySql,
  from: string,
): Promise<{
  upTo: string;
  legacy: number;
  migrated: number;
  quarantined: number;
  mismatches: Mismatch[];
}> {
  const [end] = await reader.all<{ range_end: string }>(rows.rangeEnd, {
    from,
    size: ROWS_PER_RANGE,
  });
  const range = { from, upTo: end?.range_end ?? HIGHEST_ID };
  const [counts] = await reader.all<Record<'legacy' | 'migrated' | 'quarantined', number | string>>(
    sql.count,
    range,
  );
  const mismatches: Mismatch[] = [];
  for (const statement of sql.mismatches)
    mismatches.push(...(await reader.all<Mismatch>(statement, range)));
  return {
    upTo: range.upTo,
    legacy: Number(counts?.legacy),
    migrated: Number(counts?.migrated),
    quarantined: Number(counts?.quarantined),
    mismatches: mismatches.map((mismatch) => ({
      ...mismatch,
      detail: mismatch.detail.replace(/, $/, ''),
    })),
  };
}

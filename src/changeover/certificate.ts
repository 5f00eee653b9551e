import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { VERSION } from '../version.js';
import type { Mismatch } from './mismatch.js';

/** What a comparison of both sides found. */
export interface Compared {
  readonly legacyMessages: number;
  readonly migratedMessages: number;
  readonly quarantinedMessages: number;
  readonly mismatches: number;
  /** Rows that waited to be applied when the others were counted: the counts leave them out. */
  readonly pending: number;
  /** The first of the mismatches. */
  readonly found: readonly Mismatch[];
  readonly low: string | null;
  readonly high: string | null;
}

/** A certificate, read back from where it is stored. */
export interface Certificate {
  /** One line that says what was compared, when, with what, and what came of it. */
  readonly text: string;
  readonly verifiedAt: string;
  readonly mismatches: number;
  /** Older than 24 hours, by the database's clock: nothing may be decided by it any more. */
  readonly isStale: boolean;
  /** Something was found since that passed capture by: the tables may hold what it does not speak of. */
  readonly isVoid: boolean;
}

/** How long a certificate stands for what the tables hold, in hours. */
const FRESH_HOURS = 24;

/** The newest certificate; null when nothing was ever compared. */
export async function findCertificate(
  queryable: Queryable,
  { now }: Pick<Dialect, 'now'>,
): Promise<Certificate | null> {
  const [row] = await queryable.all<Record<string, number | string | null>>(
    `SELECT id, legacy_messages AS legacy, migrated_messages AS migrated, quarantined_messages AS quarantined, mismatches, pending,
       CAST(low_id AS text) AS low, CAST(high_id AS text) AS high, versions, sha256, verified_at AS at, ${now} - verified_at AS age,
       (SELECT s.voided_by FROM changeover_state s WHERE s.voided_at >= verified_at) AS voided
     FROM changeover_certificates ORDER BY id DESC LIMIT 1`,
  );
  if (row === undefined) return null;
  const verifiedAt = new Date(Number(row.at) / 1000).toISOString();
  const range = row.low === null ? 'no ids' : `ids ${row.low} to ${row.high}`;
  const isStale = Number(row.age) > FRESH_HOURS * 3_600_000_000;
  return {
    text:
      `certificate ${row.id}: ${row.legacy} legacy = ${row.migrated} migrated + ${row.quarantined} quarantined, ` +
      `${row.mismatches} mismatches, ${Number(row.pending) === 0 ? '' : `${row.pending} pending and left out, `}${range}, ${row.versions}, ${verifiedAt}` +
      (row.sha256 === null ? '' : `, sha256 ${row.sha256}`) +
      (row.voided === null ? '' : `, VOID: ${row.voided}; run 'segue verify' again`) +
      (isStale ? `, STALE: older than ${FRESH_HOURS} hours, run 'segue verify' again` : ''),
    verifiedAt,
    mismatches: Number(row.mismatches),
    isStale,
    isVoid: row.voided !== null,
  };
}

export async function writeCertificate(
  transaction: Queryable,
  now: string,
  result: Compared,
  { engine, zone, sha256 }: { engine: string; zone: string; sha256: string | null },
): Promise<void> {
  await transaction.run(
    `INSERT INTO changeover_certificates (legacy_messages, migrated_messages, quarantined_messages, mismatches, pending, low_id, high_id, versions, sha256, verified_at)
     VALUES (:legacy, :migrated, :quarantined, :mismatches, :pending, CAST(:low AS bigint), CAST(:high AS bigint), :versions, :sha256, ${now})`,
    {
      legacy: result.legacyMessages,
      migrated: result.migratedMessages,
      quarantined: result.quarantinedMessages,
      mismatches: result.mismatches,
      pending: result.pending,
      low: result.low,
      high: result.high,
      versions: `segue ${VERSION} on ${engine}, old times in ${zone}`,
      sha256,
    },
  );
  for (const { legacyId, kind, detail } of result.found)
    await transaction.run(
      `INSERT INTO changeover_mismatches (certificate_id, legacy_id, kind, detail)
       SELECT max(id), CAST(:legacyId AS bigint), CAST(:kind AS text), CAST(:detail AS text) FROM changeover_certificates
       WHERE true ON CONFLICT DO NOTHING`,
      { legacyId, kind, detail },
    );
}

/** When certificates were last voided, and by what; null: never. */
export interface Voiding {
  readonly at: string;
  readonly why: string;
}

/** The last time that certificates were voided. */
export async function findVoiding(queryable: Queryable): Promise<Voiding | null> {
  const [row] = await queryable.all<Voiding>(
    `SELECT CAST(voided_at AS text) AS at, voided_by AS why FROM changeover_state WHERE voided_at IS NOT NULL`,
  );
  return row ?? null;
}

/**
 * Voids every certificate there is, because something passed capture by: rows may differ of which nobody knows. A
 * database that was VERIFIED falls back to BACKFILLED, until it is verified again.
 * @param why what was found, in words
 */
export async function voidCertificates(
  transaction: Queryable,
  now: string,
  why: string,
): Promise<void> {
  await transaction.run(
    `UPDATE changeover_state SET voided_at = ${now}, voided_by = CAST(:why AS text),
       stage = CASE stage WHEN 'VERIFIED' THEN 'BACKFILLED' ELSE stage END WHERE id = 1`,
    { why },
  );
}

import type { Database, Queryable } from '../database/database.js';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import { presentMapping } from './retired.js';
import { hasTable } from './shape.js';
import { hasReached, readState, SENT_HERE, type Stage } from './stage.js';
import { findCertificate } from './certificate.js';
import { Lease } from './lease.js';

/** Where the changeover stands: the plain fields of the API's `Changeover`, under its names. */
export interface Status {
  readonly stage: Stage;
  readonly legacyMessages: number;
  readonly migratedMessages: number;
  readonly quarantinedMessages: number;
  readonly paused: boolean;
  /** What the old app wrote and nobody applied yet. */
  readonly pendingChanges: number;
  /** Receipts that are not written on all of their old rows yet. */
  readonly pendingMirrors: number;
  readonly rowsPerSecond: number;
  readonly etaSeconds: number | null;
  /** What the copy rests longer for; null: nothing. */
  readonly throttledBy: string | null;
  /**
   * How long a writer of the old app may have to wait for a lock of ours, in ms: as long as the last batch held them. On
   * SQLite his busy handler may notice the end up to 100 ms later. null: nothing is copied.
   */
  readonly lockWaitMs: number | null;
  /** Age of the oldest pending change, in ms; null: nothing is pending. */
  readonly oldSideLagMs: number | null;
  /** Of the people who ask by the old API, how many percent are answered from the new side; and how many beside by name. */
  readonly cutoverPercent: number;
  readonly cutoverUsers: number;
  /** Old calls that were compared with the other side, and those of them that differed. */
  readonly shadowCompared: number;
  readonly shadowMismatches: number;
  readonly verifiedAt: string | null;
  readonly mismatches: number | null;
  /** What the operator said that he would restore; null: nothing, or not expanded yet. */
  readonly backup: string | null;
  readonly certificate: string | null;
  /**
   * Since when a rollback has the new side laid aside, in ISO 8601; null: it is in use, or there is none. Until the way
   * forward has compared its rows, none of them counts as migrated.
   */
  readonly keptSince: string | null;
  /** Since when the contract step has the old table under another name, in ISO 8601; null: it has not, or dropped it. */
  readonly retiredAt: string | null;
}

export interface StatusOptions {
  /**
   * Take the counts from the books where there are some, instead of counting the tables: for whoever asks every
   * second. They are written with the rows, and what bypasses us they do not know.
   */
  readonly fromBooks?: boolean;
}

/** Reads it all anew. The rate is 0 when nobody runs the changeover, whatever the last one left. */
export async function status(
  database: Database,
  mapping: LegacyMapping,
  { fromBooks = false }: StatusOptions = {},
): Promise<Status> {
  const state = await readState(database);
  const { reader } = database;
  const count = async (table: string, condition = 'true'): Promise<number> => {
    if (!(await hasTable(database, table))) return 0;
    const [row] = await reader.all<{ count: number | string }>(
      `SELECT count(*) AS count FROM ${database.dialect.name(table)} WHERE ${condition}`,
    );
    return Number(row?.count);
  };
  const expanded = state.stage !== 'LEGACY';
  const certificate = expanded ? await findCertificate(reader, database.dialect) : null;
  // One whose process is gone runs no more, though its lease has not run out.
  const hasRunner = expanded && (await Lease.findConflict(database)) !== null;
  const rowsPerSecond = hasRunner ? state.rowsPerSecond : 0;
  const left = state.rowsToCopy - state.migrated - state.quarantined;
  const hasBooks = fromBooks && state.startedAt !== null && hasReached(state.stage, 'BACKFILLING');
  // Only the books tell how far the comparison of those has come.
  const isAside = state.keptSince !== null;
  const sent = hasBooks ? await countSent(reader) : 0;
  return {
    stage: state.stage,
    legacyMessages: hasBooks
      ? state.rowsToCopy + sent
      : await count(presentMapping(mapping, state).messages.table),
    migratedMessages:
      hasBooks || isAside
        ? state.migrated + sent
        : await count('enhanced_messages', 'legacy_message_id IS NOT NULL'),
    quarantinedMessages:
      hasBooks || isAside ? state.quarantined : await count('changeover_quarantine'),
    paused: state.isPaused,
    pendingChanges: await count('changeover_queue'),
    pendingMirrors: await count('receipt_mirrors'),
    rowsPerSecond,
    throttledBy: hasRunner ? state.throttledBy : null,
    lockWaitMs: rowsPerSecond > 0 ? state.lockHoldMs : null,
    oldSideLagMs: expanded ? await lagOf(database) : null,
    etaSeconds: rowsPerSecond > 0 ? Math.ceil(left / rowsPerSecond) : null,
    cutoverPercent: state.cutoverPercent,
    cutoverUsers: await count('cutover_users'),
    shadowCompared: state.shadow.compared,
    shadowMismatches: state.shadow.mismatches,
    verifiedAt: certificate?.verifiedAt ?? null,
    mismatches: certificate?.mismatches ?? null,
    backup: expanded ? state.backup : null,
    certificate: certificate?.text ?? null,
    keptSince: isoOrNull(state.keptSince),
    retiredAt: isoOrNull(state.retiredAt),
  };
}

async function countSent(reader: Queryable): Promise<number> {
  const [row] = await reader.all<{ count: number | string }>(`SELECT (${SENT_HERE}) AS count`);
  return Number(row?.count);
}

function isoOrNull(microseconds: number | null): string | null {
  return microseconds === null ? null : new Date(microseconds / 1_000).toISOString();
}

/** The part of it that costs little, for who asks again and again: no table is counted but the queue. */
export async function pulseOf(
  database: Database,
): Promise<Pick<Status, 'stage' | 'pendingChanges' | 'oldSideLagMs'>> {
  const { stage } = await readState(database);
  if (!(await hasTable(database, 'changeover_queue')))
    return { stage, pendingChanges: 0, oldSideLagMs: null };
  const [queue] = await database.reader.all<{ count: number | string }>(
    'SELECT count(*) AS count FROM changeover_queue',
  );
  return { stage, pendingChanges: Number(queue?.count), oldSideLagMs: await lagOf(database) };
}

async function lagOf({ reader, dialect }: Database): Promise<number | null> {
  const [oldest] = await reader.all<{ lag: number | string | null }>(
    `SELECT ${dialect.now} - min(queued_at) AS lag FROM changeover_queue`,
  );
  // The trigger's clock on SQLite is exact to a millisecond only.
  return oldest?.lag == null ? null : Math.max(Number(oldest.lag) / 1_000, 0);
}

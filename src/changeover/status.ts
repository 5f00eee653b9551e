import type { Database } from '../database/database.js';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import { hasTable } from './shape.js';
import { readState, type Stage } from './stage.js';
import { findCertificate } from './verify.js';

/** Where the changeover stands: the plain fields of the API's `Changeover`, under its names. */
export interface Status extends Readonly<typeof NOT_YET> {
  readonly stage: Stage;
  readonly legacyMessages: number;
  readonly migratedMessages: number;
  readonly quarantinedMessages: number;
  readonly pendingChanges: number;
  readonly rowsPerSecond: number;
  readonly etaSeconds: number | null;
  readonly verifiedAt: string | null;
  readonly mismatches: number | null;
  readonly certificate: string | null;
}

/** What no verb of this version changes: nothing is paused, mirrored, throttled, cut over or shadowed. */
const NOT_YET = {
  paused: false,
  pendingMirrors: 0,
  throttledBy: null,
  lockWaitMs: null,
  oldSideLagMs: null,
  cutoverPercent: 0,
  shadowCompared: 0,
  shadowMismatches: 0,
};

/** Reads it all anew; counts are of the tables themselves, not of the books. */
export async function status(database: Database, mapping: LegacyMapping): Promise<Status> {
  const state = await readState(database);
  const { reader } = database;
  const count = async (table: string): Promise<number> => {
    if (!(await hasTable(database, table))) return 0;
    const [row] = await reader.all<{ count: number | string }>(
      `SELECT count(*) AS count FROM ${database.dialect.name(table)}`,
    );
    return Number(row?.count);
  };
  const expanded = state.stage !== 'LEGACY';
  const certificate = expanded ? await findCertificate(reader) : null;
  const left = state.rowsToCopy - state.migrated - state.quarantined;
  return {
    ...NOT_YET,
    stage: state.stage,
    legacyMessages: await count(mapping.messages.table),
    migratedMessages: await count('enhanced_messages'),
    quarantinedMessages: await count('changeover_quarantine'),
    pendingChanges: await count('changeover_queue'),
    rowsPerSecond: state.rowsPerSecond,
    etaSeconds: state.rowsPerSecond > 0 ? Math.ceil(left / state.rowsPerSecond) : null,
    verifiedAt: certificate?.verifiedAt ?? null,
    mismatches: certificate?.mismatches ?? null,
    certificate: certificate?.text ?? null,
  };
}

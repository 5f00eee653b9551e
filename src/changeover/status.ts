import type { Database } from '../database/database.js';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import { hasTable } from './shape.js';
import { readState, type Stage } from './stage.js';
import { findCertificate } from './verify.js';

/** Where the changeover stands: the fields of the API's `Changeover` that this version has something to say about. */
export interface Status {
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

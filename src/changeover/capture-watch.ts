import { putCaptureOn } from './capture.js';
import { voidCertificates } from './certificate.js';
import type { ChangeoverContext } from './context.js';
import { getState, readState, type Stage } from './stage.js';

/**
 * Puts capture triggers on again that somebody took off or altered. What was written meanwhile nobody knows of, so
 * certificates are void from then on.
 * @returns the names of those that were missing; none before expand.
 * @throws SegueError LOCK_TIMEOUT when a table stays locked by others.
 */
export async function restoreCapture({
  database,
  mapping,
}: ChangeoverContext): Promise<readonly string[]> {
  const { stage } = await readState(database);
  if (!isCapturing(stage)) return [];
  return putCaptureOn(database, mapping, {
    mayGoOn: async (transaction) => isCapturing((await getState(transaction)).stage),
    // In the same transaction: nobody may see the triggers on and the certificates standing.
    wasOff: (transaction, names) =>
      voidCertificates(
        transaction,
        database.dialect.now,
        `capture was off (${names.join(', ')}) and is on again`,
      ),
  });
}

/** Whether what the old app writes is captured at a stage. */
function isCapturing(stage: Stage): boolean {
  return stage !== 'LEGACY' && stage !== 'CONTRACTED';
}

/**
 * What a batch is to take while the old app is idle, in ms; sizes follow from what batches took. It may hold its locks
 * for 400, and one that is followed by a checkpoint on SQLite takes a quarter more than the one before it.
 */
export const IDLE_TARGET_MS = 350;
const LARGEST_BATCH_ROWS = 100_000;
const LARGEST_GROWTH = 1.2;

export const FIRST_BATCH_ROWS = 5_000;

/**
 * The size that would have met the target: smaller ones at once, larger ones half of the way, since the time of a batch
 * varies by a third from one to the next, and a batch that grows tenfold may hold its lock as long.
 */
export function nextSize(size: number, tookMs: number, targetMs = IDLE_TARGET_MS): number {
  const ideal = size * (targetMs / Math.max(tookMs, 1));
  const next = ideal < size ? ideal : Math.sqrt(size * ideal);
  // Rounded up, or a single row would stay one for ever.
  const largest = Math.min(Math.ceil(size * LARGEST_GROWTH), LARGEST_BATCH_ROWS);
  return Math.max(1, Math.round(Math.min(next, largest)));
}

import { SegueError } from '../errors/segue-error.js';
import type { ChangeoverContext } from './context.js';
import { noteAction } from './log.js';
import { readState } from './stage.js';

/** The largest limit that is one, in rows a second. */
const HIGHEST_RATE = 1_000_000_000;

/**
 * Has the copy rest, or go on. It heeds that before its next batch, whichever process runs it: within a second. What the
 * old app writes is applied all the same. A backfill that is begun later begins resting.
 * @throws SegueError WRONG_STAGE before expand, and when there is nothing left to copy.
 */
export async function setPaused(context: ChangeoverContext, isPaused: boolean): Promise<void> {
  await wish(context, 'paused = :isPaused', { isPaused }, isPaused ? 'pause' : 'resume');
}

/**
 * Limits the copy to so many rows a second; null takes the limit away. Heeded within a second.
 * @throws SegueError BAD_USER_INPUT; WRONG_STAGE before expand, and when there is nothing left to copy.
 */
export async function setRateLimit(
  context: ChangeoverContext,
  rowsPerSecond: number | null,
): Promise<void> {
  if (rowsPerSecond !== null && !isRate(rowsPerSecond))
    throw new SegueError(
      'BAD_USER_INPUT',
      `The rate is ${rowsPerSecond}: it takes rows a second, from 1 to ${HIGHEST_RATE}, or none.`,
    );
  await wish(
    context,
    'rate_limit = CAST(:rowsPerSecond AS bigint)',
    { rowsPerSecond },
    `rate: ${rowsPerSecond ?? 'off'}`,
  );
}

/**
 * A limit as somebody typed it.
 * @throws SegueError BAD_USER_INPUT.
 */
export function parseRate(text: string): number | null {
  if (text === 'off') return null;
  const rate = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!isRate(rate))
    throw new SegueError(
      'BAD_USER_INPUT',
      `The rate is ${JSON.stringify(text)}: it takes rows a second, from 1 to ${HIGHEST_RATE}, or off.`,
    );
  return rate;
}

function isRate(rate: number): boolean {
  return Number.isInteger(rate) && rate >= 1 && rate <= HIGHEST_RATE;
}

async function wish(
  { database, who }: ChangeoverContext,
  assignment: string,
  parameters: Readonly<Record<string, number | boolean | null>>,
  did: string,
): Promise<void> {
  const { stage } = await readState(database);
  const changed =
    stage === 'EXPANDED' || stage === 'BACKFILLING'
      ? await database.transaction(async (transaction) => {
          const count = await transaction.run(
            `UPDATE changeover_state SET ${assignment} WHERE id = 1 AND stage IN ('EXPANDED', 'BACKFILLING')`,
            parameters,
          );
          if (count > 0) await noteAction(transaction, database.dialect.now, { who, did });
          return count;
        })
      : 0;
  if (changed === 0)
    throw new SegueError(
      'WRONG_STAGE',
      `The stage is ${(await readState(database)).stage}: there is no copy that could rest or hurry. It runs from EXPANDED to BACKFILLED; 'segue status' says where it stands.`,
    );
}

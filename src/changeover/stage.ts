import { SegueError } from '../errors/segue-error.js';
import type { Database, Queryable } from '../database/database.js';

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
  readonly fillsLink: boolean;
  readonly lowId: string | null;
  readonly highId: string | null;
  readonly doneAbove: string | null;
  readonly hasThreads: boolean;
  readonly rowsToCopy: number;
  readonly migrated: number;
  readonly quarantined: number;
  readonly rowsPerSecond: number;
  readonly startedAt: number | null;
}

/** What a database looks like that nobody has expanded. */
const UNTOUCHED: ChangeoverState = {
  stage: 'LEGACY',
  fillsLink: true,
  lowId: null,
  highId: null,
  doneAbove: null,
  hasThreads: false,
  rowsToCopy: 0,
  migrated: 0,
  quarantined: 0,
  rowsPerSecond: 0,
  startedAt: null,
};

/** Reads where the changeover stands; a database without our books stands at LEGACY. */
export async function readState(database: Database): Promise<ChangeoverState> {
  const [table] = await database.reader.all<{ present: number | string }>(
    database.dialect.hasTable,
    { table: 'changeover_state' },
  );
  return Number(table?.present) === 0 ? UNTOUCHED : getState(database.reader);
}

/** As `readState`, where the books are known to be there: inside a transaction of the changeover. */
export async function getState(queryable: Queryable): Promise<ChangeoverState> {
  const [row] = await queryable.all<
    Record<keyof ChangeoverState, string | number | boolean | null>
  >(
    `SELECT stage, fills_link AS "fillsLink", CAST(low_id AS text) AS "lowId", CAST(high_id AS text) AS "highId",
       CAST(done_above AS text) AS "doneAbove", has_threads AS "hasThreads", rows_to_copy AS "rowsToCopy",
       migrated, quarantined, rows_per_second AS "rowsPerSecond", started_at AS "startedAt"
     FROM changeover_state WHERE id = 1`,
  );
  if (row === undefined)
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      'changeover_state has lost its row: restore it from a backup before anything else.',
    );
  return {
    stage: checkStage(row.stage),
    fillsLink: Boolean(row.fillsLink),
    lowId: textOrNull(row.lowId),
    highId: textOrNull(row.highId),
    doneAbove: textOrNull(row.doneAbove),
    hasThreads: Boolean(row.hasThreads),
    rowsToCopy: Number(row.rowsToCopy),
    migrated: Number(row.migrated),
    quarantined: Number(row.quarantined),
    rowsPerSecond: Number(row.rowsPerSecond),
    startedAt: row.startedAt === null ? null : Number(row.startedAt),
  };
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

function textOrNull(value: string | number | boolean | null): string | null {
  return value === null ? null : String(value);
}

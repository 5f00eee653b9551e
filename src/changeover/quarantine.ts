import type { Database } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import { HIGHEST_ID, LOWEST_ID, nextAfter } from '../legacy/old-rows.js';
import { readState } from './stage.js';

const ROWS_PER_PAGE = 1_000;

/** An old row that could not be moved, and why. */
export interface QuarantinedRow {
  readonly legacyId: string;
  readonly reason: string;
  readonly detail: string;
}

/**
 * All rows in quarantine by id, a page at a time: there may be as many as there are messages.
 * @throws SegueError WRONG_STAGE before expand, when there is no quarantine.
 */
export async function* listQuarantine(database: Database): AsyncGenerator<QuarantinedRow[]> {
  if ((await readState(database)).stage === 'LEGACY')
    throw new SegueError(
      'WRONG_STAGE',
      `${database.shown} is at LEGACY: nothing was moved yet. 'segue inspect' says which rows are irregular.`,
    );
  let from: string | null = LOWEST_ID;
  while (from !== null) {
    const page: QuarantinedRow[] = await database.reader.all<QuarantinedRow>(
      `SELECT CAST(q.legacy_id AS text) AS "legacyId", q.reason, q.detail FROM changeover_quarantine q
       WHERE q.legacy_id >= CAST(:from AS bigint) ORDER BY q.legacy_id LIMIT :size`,
      { from, size: ROWS_PER_PAGE },
    );
    if (page.length > 0) yield page;
    from = page.length < ROWS_PER_PAGE ? null : nextAfter(page.at(-1)?.legacyId ?? HIGHEST_ID);
  }
}

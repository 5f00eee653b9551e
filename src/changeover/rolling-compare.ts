import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import { nextAfter, oldRows } from '../legacy/old-rows.js';
import { voidCertificates } from './certificate.js';
import type { ChangeoverContext } from './context.js';
import { mergeMismatches, type Mismatch } from './mismatch.js';
import { pendingIn } from './pending-rows.js';
import { getState, hasReached, readLatest, readState } from './stage.js';
import { verifySql } from './verify-sql.js';

/** Old rows that are compared at a time: some tens of ms of reading. */
const ROWS_PER_LOOK = 2_000;

/** What one look found. */
export interface RollingLook {
  /** Rows that differed, and of which no entry of the queue told: they had passed capture by. */
  readonly found: readonly Mismatch[];
  /** Whether it came to the end of the table: the next look begins anew. */
  readonly isRound: boolean;
}

/**
 * Compares the next 2,000 old rows with their copies, in one snapshot, round and round: capture is a hint, and REPLACE,
 * a restored table or a disabled trigger pass it by. A row that differs though no entry tells of it becomes dirty, to be
 * applied like any other; it is counted, and certificates are void. Takes no lock but to write what it found.
 * @returns null before BACKFILLED, when rows are missing by right, and after the old side is gone.
 */
export async function compareNext({
  database,
  mapping,
}: ChangeoverContext): Promise<RollingLook | null> {
  const { stage, comparedThrough, fillsLink, startedAt } = await readState(database);
  if (!hasReached(stage, 'BACKFILLED') || stage === 'CONTRACTED') return null;
  const { dialect } = database;
  const rows = oldRows(dialect, mapping);
  const sql = verifySql(dialect, mapping, fillsLink);
  const from = comparedThrough === null ? LOWEST_ID : nextAfter(comparedThrough);
  const { upTo, found } = await database.snapshot(async (reader) => {
    const [end] = await reader.all<{ range_end: string }>(rows.rangeEnd, {
      from,
      size: ROWS_PER_LOOK,
    });
    const range = {
      from: from ?? LOWEST_ID,
      upTo: end?.range_end ?? HIGHEST_ID,
      now: startedAt,
      latest: await readLatest(reader, dialect),
    };
    const differing: Mismatch[] = [];
    for (const statement of sql.mismatches)
      differing.push(...(await reader.all<Mismatch>(statement, range)));
    const pending = differing.length === 0 ? null : await pendingIn(reader, range);
    return {
      upTo: range.upTo,
      found: mergeMismatches(differing).filter(({ legacyId }) => pending?.has(legacyId) === false),
    };
  });
  const isRound = upTo === HIGHEST_ID;
  await database.transaction(async (transaction) => {
    // A rollback took the copies away meanwhile, or another process has compared these rows.
    const state = await getState(transaction);
    if (!hasReached(state.stage, 'BACKFILLED') || state.comparedThrough !== comparedThrough) return;
    await transaction.run(
      `UPDATE changeover_state SET compared_through = CAST(:through AS bigint), bypassed = bypassed + :count WHERE id = 1`,
      { through: isRound ? null : upTo, count: found.length },
    );
    if (found.length === 0) return;
    await transaction.run(
      `INSERT INTO changeover_queue (source, legacy_id, queued_at)
       SELECT 'compare', id, ${dialect.now} FROM (${dialect.idsIn('ids')}) AS found`,
      { ids: JSON.stringify([...new Set(found.map(({ legacyId }) => legacyId))]) },
    );
    await voidCertificates(
      transaction,
      dialect.now,
      `${found.length} rows had passed capture by, the first is ${found[0]?.legacyId}`,
    );
  });
  return { found, isRound };
}

import type { Queryable } from '../database/database.js';
import { type Bounds, inRange, oldRows } from '../legacy/old-rows.js';
import type { BackfillResult } from './backfill.js';
import type { ChangeoverContext } from './context.js';
import { LaidAside } from './laid-aside.js';
import type { Mismatch } from './mismatch.js';
import { readLatest, SENT_HERE } from './stage.js';
import { verifySql } from './verify-sql.js';

/** The ids of a batch, both included, and what they are compared by. */
export interface ComparedRange {
  readonly from: string;
  readonly upTo: string;
  readonly now: number | null;
  readonly fillsLink: boolean;
}

/** Where entries of the queue come from that this pass makes. */
const SOURCE = 'compare';

/**
 * The way forward of a new side that a rollback laid aside: the comparison of `verify`, in the batches of the backfill, each
 * with its checkpoint. What differs becomes dirty in the batch's transaction, and is applied before the next one like any
 * write of the old app: a row that was written meanwhile comes as a new message, behind all that people have read; one that
 * was changed, changed; one that was deleted leaves a tombstone; and the log tells of each. What people had made here stays as it is.
 */
export class Reconciliation {
  constructor(private readonly context: ChangeoverContext) {}

  /**
   * Fixes what is to be compared: the ids of both sides. Old rows that are gone, and accounts that are somebody else's by
   * now, are settled first, before the first batch.
   */
  async begin(transaction: Queryable): Promise<void> {
    const { database, mapping } = this.context;
    const { dialect } = database;
    await new LaidAside(this.context).queueDepartures(transaction);
    // From here on the queue knows, and capture is on.
    await transaction.run(dialect.empty('known_accounts'));
    await transaction.run(
      `INSERT INTO changeover_queue (source, legacy_id, queued_at) VALUES ('${SOURCE}', NULL, ${dialect.now})`,
    );
    const [old] = await transaction.all<Bounds>(oldRows(dialect, mapping).bounds);
    const [copies] = await transaction.all<{ low: string | null; high: string | null }>(
      `SELECT CAST(min(id) AS text) AS low, CAST(max(id) AS text) AS high FROM (
         SELECT min(legacy_message_id) AS id FROM enhanced_messages UNION ALL SELECT max(legacy_message_id) FROM enhanced_messages
         UNION ALL SELECT min(legacy_id) FROM changeover_quarantine UNION ALL SELECT max(legacy_id) FROM changeover_quarantine) AS ends`,
    );
    const ends = [old?.low, old?.high, copies?.low, copies?.high]
      .filter((id) => id != null)
      .map(BigInt)
      .sort((a, b) => (a < b ? -1 : 1))
      .map(String);
    await transaction.run(
      `UPDATE changeover_state SET low_id = CAST(:low AS bigint), high_id = CAST(:high AS bigint), done_above = CAST(:high AS bigint),
         rows_to_copy = :count - (${SENT_HERE}), has_threads = true, started_at = coalesce(started_at, ${dialect.now}) WHERE id = 1`,
      { low: ends[0] ?? null, high: ends.at(-1) ?? null, count: Number(old?.count ?? 0) },
    );
  }

  /**
   * Compares the rows of a batch, whose links have been written by then. In a snapshot, without a lock: what the old app
   * writes since stands in the queue.
   * @returns the ids of those that differ
   */
  compare(range: ComparedRange): Promise<ReadonlySet<string>> {
    const { database, mapping } = this.context;
    const sql = verifySql(database.dialect, mapping, range.fillsLink);
    return database.snapshot(async (reader) => {
      const { from, upTo, now } = range;
      const latest = await readLatest(reader, database.dialect);
      const dirty = new Set<string>();
      for (const statement of sql.mismatches)
        for (const { legacyId } of await reader.all<Mismatch>(statement, {
          from,
          upTo,
          now,
          latest,
        }))
          dirty.add(legacyId);
      return dirty;
    });
  }

  /**
   * Makes the rows of a batch dirty that differ, in the transaction of its checkpoint.
   * @returns how many of the batch the new side has by now, as copies and in quarantine
   */
  async mark(
    transaction: Queryable,
    { from, upTo }: { readonly from: string; readonly upTo: string },
    dirty: ReadonlySet<string>,
  ): Promise<BackfillResult> {
    const { dialect } = this.context.database;
    if (dirty.size > 0)
      await transaction.run(
        `INSERT INTO changeover_queue (source, legacy_id, queued_at)
         SELECT '${SOURCE}', id, ${dialect.now} FROM (${dialect.idsIn('ids')}) AS found`,
        { ids: JSON.stringify([...dirty]) },
      );
    const [held] = await transaction.all<Record<keyof BackfillResult, number | string>>(
      `SELECT (SELECT count(*) FROM enhanced_messages e WHERE ${inRange('e.legacy_message_id')} AND NOT e.made_here) AS migrated,
         (SELECT count(*) FROM changeover_quarantine q WHERE ${inRange('q.legacy_id')}) AS quarantined`,
      { from, upTo },
    );
    return { migrated: Number(held?.migrated), quarantined: Number(held?.quarantined) };
  }
}

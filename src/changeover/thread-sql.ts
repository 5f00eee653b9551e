import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { oldRows } from '../legacy/old-rows.js';
import { regularRows } from './regular-rows.js';

/** The statements of the first pass: from all old rows to all conversations and participants. */
export interface ThreadSql {
  /** Empty tables, without what an earlier run on this connection left. */
  readonly prepare: readonly string[];
  /** Reads the old table once, into who wrote when in which thread; `:low`, `:high`, `:now`. */
  readonly collectWriters: string;
  /** Prepares the look-ups among the writers. Without statistics PostgreSQL scanned them for each old row. */
  readonly indexWriters: readonly string[];
  /** Numbers the threads, oldest first, and prepares the look-ups of the slices. */
  readonly collectThreads: readonly string[];
  /** Number of threads, as `{count}`. */
  readonly countThreads: string;
  /** Makes the conversations and the participants of the threads numbered `:first` to `:last`. Idempotent. */
  readonly insertSlice: readonly string[];
}

/**
 * The tables in between are temporary: they are filled without a lock on the chat database, and the slices that are
 * written from them are short.
 */
export function threadSql(dialect: Dialect, mapping: LegacyMapping): ThreadSql {
  const m = oldRows(dialect, mapping).of('m');
  const regular = regularRows(dialect, mapping);
  const range = `${m.id} BETWEEN CAST(:low AS bigint) AND CAST(:high AS bigint)`;
  const time = dialect.instantOf(m.createdAt);

  return {
    prepare: [
      'DROP TABLE IF EXISTS segue_writers',
      'DROP TABLE IF EXISTS segue_threads',
      `CREATE TEMPORARY TABLE segue_writers (group_id bigint, pair_low bigint, pair_high bigint, sender_id bigint,
        first_at bigint, last_at bigint, first_id bigint)`,
      `CREATE TEMPORARY TABLE segue_threads (number bigint, group_id bigint, pair_low bigint, pair_high bigint,
        first_at bigint, last_at bigint)`,
    ],
    collectWriters: `INSERT INTO segue_writers
      SELECT group_id, pair_low, pair_high, sender_id, min(at) AS first_at, max(at) AS last_at, ${dialect.idOfFirst('at', 'id')} AS first_id
      FROM (SELECT ${m.id} AS id, ${m.groupId} AS group_id, ${m.senderId} AS sender_id, ${time} AS at,
          ${dialect.lesser(m.senderId, m.recipientId)} AS pair_low,
          ${dialect.greater(m.senderId, m.recipientId)} AS pair_high
        FROM ${regular.from} WHERE ${range} AND ${regular.predicate}) AS rows_of_threads
      GROUP BY group_id, pair_low, pair_high, sender_id`,
    indexWriters: [
      'CREATE INDEX segue_writers_group ON segue_writers (group_id, first_at, first_id)',
      'CREATE INDEX segue_writers_pair ON segue_writers (pair_low, pair_high)',
      ...dialect.analyze('segue_writers'),
    ],
    collectThreads: [
      `INSERT INTO segue_threads
        SELECT row_number() OVER (ORDER BY first_at, first_id), group_id, pair_low, pair_high, first_at, last_at
        FROM (SELECT group_id, pair_low, pair_high, min(first_at) AS first_at, max(last_at) AS last_at, min(first_id) AS first_id
          FROM segue_writers GROUP BY group_id, pair_low, pair_high) AS threads`,
      'CREATE INDEX segue_threads_number ON segue_threads (number)',
      ...dialect.analyze('segue_threads'),
    ],
    countThreads: 'SELECT count(*) AS count FROM segue_threads',
    insertSlice: [
      `INSERT INTO conversations (kind, pair_low, pair_high, legacy_group_id, created_at, last_position)
        SELECT CASE WHEN t.group_id IS NULL THEN 'direct' ELSE 'group' END, t.pair_low, t.pair_high, t.group_id, t.first_at, t.last_at
        FROM segue_threads t
        WHERE t.number BETWEEN :first AND :last
          AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.pair_low = t.pair_low AND c.pair_high = t.pair_high)
          AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.legacy_group_id = t.group_id)
        ORDER BY t.number`,
      // Both people of a pair belong to it, whoever of them wrote; to oneself they are one.
      ...['pair_low', 'pair_high'].map(
        (
          person,
        ) => `INSERT INTO conversation_participants (conversation_id, user_id, role, has_written, joined_at)
        SELECT c.id, t.${person}, 'member',
          EXISTS (SELECT 1 FROM segue_writers w
            WHERE w.pair_low = t.pair_low AND w.pair_high = t.pair_high AND w.sender_id = t.${person}), t.first_at
        FROM segue_threads t JOIN conversations c ON c.pair_low = t.pair_low AND c.pair_high = t.pair_high
        WHERE t.number BETWEEN :first AND :last
        ON CONFLICT DO NOTHING`,
      ),
      // A group's writers are all that is known of its members; who wrote first is its admin. They see all of it.
      `INSERT INTO conversation_participants (conversation_id, user_id, role, has_written, joined_at)
        SELECT c.id, w.sender_id,
          CASE WHEN EXISTS (SELECT 1 FROM segue_writers o
            WHERE o.group_id = w.group_id AND (o.first_at, o.first_id) < (w.first_at, w.first_id)) THEN 'member' ELSE 'admin' END,
          true, t.first_at
        FROM segue_threads t
          JOIN conversations c ON c.legacy_group_id = t.group_id
          JOIN segue_writers w ON w.group_id = t.group_id
        WHERE t.number BETWEEN :first AND :last
        ON CONFLICT DO NOTHING`,
    ],
  };
}

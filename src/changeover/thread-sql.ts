import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { inRange } from '../legacy/old-rows.js';
import { rowRules } from './row-rules.js';

/** The statements of the first pass: from all old rows to all conversations and participants. */
export interface ThreadSql {
  /** Empty tables, without what an earlier run on this connection left. */
  readonly prepare: readonly string[];
  /** The first usable time of the table by id, as `{at}`; `:from`, `:upTo`, `:now`. */
  readonly firstInstant: string;
  /** Reads the rows from `:from` to `:upTo` of the old table into a temporary one that was emptied; `:now`. */
  readonly emptyRange: string;
  readonly readRange: string;
  /** Number of its rows without a usable time, and the last usable one, as `{untimed, last}`. */
  readonly timesOfRange: string;
  /**
   * Finds the place of each row without a usable time: that of the row before it, or `:before`. Into a temporary table
   * that was emptied; what is numbered `:first` to `:last` there is written down.
   */
  readonly emptyUntimed: string;
  readonly findUntimed: string;
  readonly placeUntimed: string;
  /** Gives those places to the rows of the range. */
  readonly usePlaces: string;
  /** Adds to who wrote when in which thread. */
  readonly collectWriters: string;
  /** Adds up the ranges, and prepares the look-ups. Without statistics PostgreSQL scanned for each thread. */
  readonly sumWriters: readonly string[];
  /** Numbers the threads, oldest first, and prepares the look-ups of the slices. */
  readonly collectThreads: readonly string[];
  /** Number of threads, as `{count}`. */
  readonly countThreads: string;
  /** Makes the conversations and the participants of the threads numbered `:first` to `:last`. Idempotent. */
  readonly insertSlice: readonly string[];
}

/**
 * The tables in between are temporary: they are filled without a lock on the chat database, in ranges, since a long
 * read holds the WAL back on SQLite and vacuum on PostgreSQL; the slices that are written from them are short.
 */
export function threadSql(dialect: Dialect, mapping: LegacyMapping): ThreadSql {
  const rules = rowRules(dialect, mapping);
  const users = dialect.name(mapping.users.table);
  const userId = dialect.name(mapping.users.columns.id);
  const isVacant = (id: string): string =>
    `NOT EXISTS (SELECT 1 FROM ${users} u WHERE u.${userId} = ${id})`;
  const writer = 'group_id, pair_low, pair_high, sender_id';
  const writers = `${writer.split(', ').join(' bigint, ')} bigint, first_at bigint, last_at bigint, first_id bigint`;

  return {
    prepare: [
      ...['segue_range', 'segue_untimed', 'segue_parts', 'segue_writers', 'segue_threads'].map(
        (table) => `DROP TABLE IF EXISTS ${table}`,
      ),
      `CREATE TEMPORARY TABLE segue_range (id bigint, group_id bigint, pair_low bigint, pair_high bigint,
        sender_id bigint, at bigint)`,
      `CREATE TEMPORARY TABLE segue_untimed (number bigint, id bigint, place bigint)`,
      `CREATE TEMPORARY TABLE segue_parts (${writers})`,
      `CREATE TEMPORARY TABLE segue_writers (${writers})`,
      `CREATE TEMPORARY TABLE segue_threads (number bigint, group_id bigint, pair_low bigint, pair_high bigint,
        first_at bigint, last_at bigint, low_wrote integer, high_wrote integer)`,
    ],
    firstInstant: `SELECT CAST(o.instant AS text) AS at FROM ${rules.read(inRange)} WHERE o.instant IS NOT NULL LIMIT 1`,
    emptyRange: dialect.empty('segue_range'),
    readRange: `INSERT INTO segue_range
        SELECT o.id, o.thread_group, o.pair_low, o.pair_high, o.sender_id, o.instant FROM ${rules.read(inRange)}`,
    // Two readings, since ORDER BY id LIMIT 1 sorts them all.
    timesOfRange: `SELECT untimed, (SELECT CAST(at AS text) FROM segue_range WHERE id = last_id) AS last
      FROM (SELECT count(*) - count(at) AS untimed, max(CASE WHEN at IS NOT NULL THEN id END) AS last_id FROM segue_range) AS counted`,
    // Rows after the same usable time are one run, which begins with the row that has it.
    emptyUntimed: dialect.empty('segue_untimed'),
    findUntimed: `INSERT INTO segue_untimed
      SELECT row_number() OVER (ORDER BY id), id, coalesce(place, CAST(:before AS bigint)) FROM (
        SELECT id, at, first_value(at) OVER (PARTITION BY run ORDER BY id) AS place FROM (
          SELECT id, at, count(at) OVER (ORDER BY id) AS run FROM segue_range) AS runs) AS places
      WHERE at IS NULL`,
    placeUntimed: `INSERT INTO changeover_places (legacy_id, position)
      SELECT id, place FROM segue_untimed WHERE number BETWEEN :first AND :last`,
    usePlaces: `UPDATE segue_range SET at = (SELECT p.position FROM changeover_places p WHERE p.legacy_id = segue_range.id)
      WHERE at IS NULL`,
    collectWriters: `INSERT INTO segue_parts
      SELECT ${writer}, min(at), max(at), ${dialect.idOfFirst('at', 'id')}
      FROM segue_range WHERE group_id IS NOT NULL OR pair_low IS NOT NULL
      GROUP BY ${writer}`,
    sumWriters: [
      `INSERT INTO segue_writers
        SELECT ${writer}, min(first_at), max(last_at), ${dialect.idOfFirst('first_at', 'first_id')}
        FROM segue_parts GROUP BY ${writer}`,
      'CREATE INDEX segue_writers_group ON segue_writers (group_id, first_at, first_id)',
      ...dialect.analyze('segue_writers'),
    ],
    collectThreads: [
      `INSERT INTO segue_threads
        SELECT row_number() OVER (ORDER BY first_at, first_id), group_id, pair_low, pair_high, first_at, last_at, low_wrote, high_wrote
        FROM (SELECT group_id, pair_low, pair_high, min(first_at) AS first_at, max(last_at) AS last_at,
            ${dialect.idOfFirst('first_at', 'first_id')} AS first_id,
            max(CASE WHEN sender_id = pair_low THEN 1 ELSE 0 END) AS low_wrote, max(CASE WHEN sender_id = pair_high THEN 1 ELSE 0 END) AS high_wrote
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
      // Both people of a pair belong to it, whoever of them wrote; to oneself they are one. The conversation is looked
      // up by key: joined, PostgreSQL reads all of them for each slice.
      ...(['low', 'high'] as const).map(
        (
          end,
        ) => `INSERT INTO conversation_participants (conversation_id, user_id, role, has_written, joined_at, vacant)
        SELECT (SELECT c.id FROM conversations c WHERE c.pair_low = t.pair_low AND c.pair_high = t.pair_high),
          t.pair_${end}, 'member', t.${end}_wrote = 1, t.first_at, ${isVacant(`t.pair_${end}`)}
        FROM segue_threads t
        WHERE t.number BETWEEN :first AND :last AND t.pair_low IS NOT NULL
        ON CONFLICT DO NOTHING`,
      ),
      // A group's writers are all that is known of its members; who wrote first is its admin. They see all of it.
      // To none of them it becomes unread by that.
      `INSERT INTO conversation_participants (conversation_id, user_id, role, has_written, joined_at, unread_from, vacant)
        SELECT c.id, w.sender_id,
          CASE WHEN EXISTS (SELECT 1 FROM segue_writers o
            WHERE o.group_id = w.group_id AND o.sender_id IS NOT NULL
              AND (o.first_at, o.first_id) < (w.first_at, w.first_id)) THEN 'member' ELSE 'admin' END,
          true, t.first_at, t.last_at, ${isVacant('w.sender_id')}
        FROM segue_threads t
          JOIN conversations c ON c.legacy_group_id = t.group_id
          JOIN segue_writers w ON w.group_id = t.group_id AND w.sender_id IS NOT NULL
        WHERE t.number BETWEEN :first AND :last
        ON CONFLICT DO NOTHING`,
    ],
  };
}

import type { LegacyMapping } from '../config/legacy-mapping.js';
import { moveInSql } from '../conversations/vacancy.js';
import type { Dialect } from '../database/dialect.js';
import { oldRows, plainColumns } from '../legacy/old-rows.js';
import { LATE, RAW, UNKNOWN_STATUS } from '../messages/enhanced-message.entities.js';
import { keepRawSql, quarantineSql } from './copy-sql.js';
import { READ_COLUMNS, rowRules } from './row-rules.js';

/**
 * The statements that settle some old rows; each is about the ids in `:ids`, a JSON array of texts. `:latest` is the latest
 * instant that a row can have by now, `:now` the backfill's beginning.
 *
 * The rows are read once, into a scratch table: on PostgreSQL each later look could find them changed again.
 */
export interface SettleSql {
  /** Copies of what the old app wrote and rows in quarantine, as `{migrated, quarantined}`: what is sent here the books do not count. */
  readonly counts: string;
  /** An empty scratch table, and the rows. */
  readonly scratch: readonly string[];
  readonly readRows: string;
  /**
   * Keep what is served of the rows before anything is changed, and who is in their conversations before anybody comes;
   * then what has changed since, as rows `{rank, kind, conversation_id, user_id, message_id, place}`: the events to be
   * written, in the order of `rank, place, message_id`.
   */
  readonly before: readonly string[];
  readonly membersBefore: readonly string[];
  readonly changes: string;
  /** Conversations that lose a row, or what they know of it, as `{id}`. */
  readonly conversationsLeft: string;
  /** Take away what the new side has of the rows. */
  readonly takeAway: readonly string[];
  /** Take away what does not belong to what the rows are by now. */
  readonly clear: readonly string[];
  /**
   * Find conversation and place of each row, and make what is missing; `:isLate` where rows that come now go to the
   * end, but for those up to `:toCome`, which may be null.
   */
  readonly place: readonly string[];
  /** Write copies, raw values and quarantine. */
  readonly write: readonly string[];
  /** Write the conversation beside the old row, or nothing where the row has none. */
  readonly link: readonly string[];
  /** What came of the rows that are there, as `{id, placed}`. */
  readonly outcome: string;
  /** Puts the rows into quarantine because the database refused them, with its words as `:detail`. */
  readonly quarantineRefused: string;
}

/** Columns of the scratch table beside those that were read. */
const FOUND = [
  ['conversation_id', 'id'],
  ['copy_id', 'id'],
  ['place', 'id'],
  ['late', 'id'],
] as const;

/** What is served of a message, to tell afterwards whether that changed. */
const SERVED_BEFORE = [
  ['id', 'id'],
  ['conversation_id', 'id'],
  ['sender_id', 'id'],
  ['kind', 'text'],
  ['text', 'text'],
  ['status', 'id'],
  ['sent_at', 'id'],
  ['position', 'id'],
] as const;

/**
 * What people have to be told of rows that were settled: the difference between what was served and what is. A row that
 * came out as it was makes no event.
 */
function changesSql(
  dialect: Dialect,
  isOfRow: (alias: string) => string,
  isTouched: (id: string) => string,
): string {
  const none = 'CAST(NULL AS bigint)';
  const now = `LEFT JOIN conversation_participants p ON p.conversation_id = b.conversation_id AND p.user_id = b.user_id AND p.left_at IS NULL`;
  const isOther = SERVED_BEFORE.filter(([name]) => name !== 'id' && name !== 'conversation_id').map(
    ([name, holds]) =>
      holds === 'text'
        ? `NOT ${dialect.identical(`b.${name}`, `e.${name}`)}`
        : `b.${name} IS DISTINCT FROM e.${name}`,
  );
  return `SELECT 1 AS rank, 'ConversationLeft' AS kind, b.conversation_id, b.user_id, ${none} AS message_id, 0 AS place
      FROM segue_members b ${now} WHERE p.user_id IS NULL
    UNION ALL SELECT 2, 'ConversationChanged', c.id, ${none}, ${none}, 0 FROM conversations c
      WHERE ${isTouched('c.id')} AND (EXISTS (SELECT 1 FROM segue_members b ${now}
          WHERE b.conversation_id = c.id AND (p.user_id IS NULL OR p.role <> b.role OR p.vacant <> b.vacant))
        OR EXISTS (SELECT 1 FROM conversation_participants p WHERE p.conversation_id = c.id AND p.left_at IS NULL
          AND NOT EXISTS (SELECT 1 FROM segue_members b WHERE b.conversation_id = p.conversation_id AND b.user_id = p.user_id)))
    UNION ALL SELECT 3, 'MessageRemoved', b.conversation_id, ${none}, b.id, b.position FROM segue_before b
      LEFT JOIN enhanced_messages e ON e.id = b.id AND e.removed_at IS NULL AND e.conversation_id = b.conversation_id
      WHERE e.id IS NULL
    UNION ALL SELECT 4, 'MessageAdded', e.conversation_id, ${none}, e.id, e.position
      FROM segue_dirty o JOIN enhanced_messages e ON ${isOfRow('e')}
      WHERE NOT EXISTS (SELECT 1 FROM segue_before b WHERE b.id = e.id AND b.conversation_id = e.conversation_id)
    UNION ALL SELECT 5, 'MessageChanged', e.conversation_id, ${none}, e.id, e.position
      FROM segue_before b JOIN enhanced_messages e ON e.id = b.id AND e.removed_at IS NULL AND e.conversation_id = b.conversation_id
      WHERE ${isOther.join(' OR ')}`;
}

/** @param options.isCopied whether all rows were copied, and `enhanced_messages` has all of its indexes. */
export function settleSql(
  dialect: Dialect,
  mapping: LegacyMapping,
  { isCopied }: { isCopied: boolean },
): SettleSql {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const rules = rowRules(dialect, mapping, 'latest');
  const ids = dialect.idsIn('ids');
  const listed = (id: string): string => `${id} IN (${ids})`;
  // Until all are copied a message is an old row and has its id; an index of the old ids may not be there yet.
  const legacyId = isCopied ? 'legacy_message_id' : 'id';
  const isOfRow = (alias: string): string =>
    `${alias}.${legacyId} = o.id AND ${alias}.legacy_message_id IS NOT NULL`;
  const row = 'segue_dirty o';
  const isThere = (id: string): string => `${id} IN (SELECT o.id FROM ${row})`;
  const placed = `o.place IS NOT NULL`;
  const conversation = `coalesce(
      (SELECT d.id FROM conversations d WHERE d.pair_low = segue_dirty.pair_low AND d.pair_high = segue_dirty.pair_high),
      (SELECT g.id FROM conversations g WHERE g.legacy_group_id = segue_dirty.thread_group))`;
  const usable = (range: (id: string) => string, order: 'ASC' | 'DESC'): string =>
    `(SELECT o.instant FROM ${rules.read(range, order)} WHERE o.instant IS NOT NULL LIMIT 1)`;
  const users = dialect.name(mapping.users.table);
  const userId = dialect.name(mapping.users.columns.id);
  const account = `(SELECT u.${userId} FROM ${users} u WHERE u.${userId} = enhanced_messages.sender_id)`;
  const mask = `(${rules.rawMask} + CASE WHEN o.late = 1 THEN ${LATE} ELSE 0 END)`;
  const served = `o.conversation_id, o.account, o.id, ${rules.kind}, o.content, coalesce(o.instant, o.place), o.place, ${rules.status}, ${mask}`;
  const participant = (user: string, role: string, hasWritten: string, condition: string): string =>
    `INSERT INTO conversation_participants (conversation_id, user_id, role, has_written, joined_at, unread_from, vacant)
      SELECT p.conversation_id, p.user_id, ${role}, p.wrote = 1, c.created_at, CASE WHEN c.kind = 'group' THEN c.last_position END,
        NOT EXISTS (SELECT 1 FROM ${users} u WHERE u.${userId} = p.user_id)
      FROM (SELECT o.conversation_id, ${user} AS user_id, max(CASE WHEN ${hasWritten} THEN 1 ELSE 0 END) AS wrote,
          min(o.id) AS first_id FROM ${row}
        WHERE ${condition} GROUP BY o.conversation_id, ${user}) AS p
      JOIN conversations c ON c.id = p.conversation_id
      WHERE true
      ON CONFLICT (conversation_id, user_id) DO UPDATE
        SET has_written = conversation_participants.has_written OR excluded.has_written`;

  const isTouched = (id: string): string =>
    // One list: of two with OR between them, PostgreSQL reads all conversations.
    `${id} IN (SELECT o.conversation_id FROM ${row} UNION SELECT b.conversation_id FROM segue_before b)`;
  const isLinkedWrongly = `${listed(m.id)}
    AND ${m.conversationId} IS DISTINCT FROM (SELECT o.conversation_id FROM ${row} WHERE o.id = ${m.id})`;

  return {
    counts: `SELECT (SELECT count(*) FROM enhanced_messages e WHERE ${listed(`e.${legacyId}`)} AND e.legacy_message_id IS NOT NULL AND NOT e.made_here) AS migrated,
      (SELECT count(*) FROM changeover_quarantine q WHERE ${listed('q.legacy_id')}) AS quarantined`,
    scratch: dialect.scratchTable('segue_dirty', [...READ_COLUMNS, ...FOUND]),
    readRows: `INSERT INTO segue_dirty (${READ_COLUMNS.map(([name]) => name).join(', ')})
      SELECT ${READ_COLUMNS.map(([name]) => `o.${name}`).join(', ')} FROM ${rules.read(listed)}`,
    conversationsLeft: `SELECT DISTINCT CAST(e.conversation_id AS text) AS id
      FROM enhanced_messages e LEFT JOIN ${row} ON ${isOfRow('e')} LEFT JOIN conversations c ON c.id = e.conversation_id
      WHERE ${listed(`e.${legacyId}`)} AND e.legacy_message_id IS NOT NULL
        AND (o.id IS NULL OR c.legacy_group_id IS DISTINCT FROM o.thread_group OR c.pair_low IS DISTINCT FROM o.pair_low
          OR c.pair_high IS DISTINCT FROM o.pair_high OR e.sender_id IS DISTINCT FROM o.account OR e.raw_mask & ${RAW.sender} <> 0
          OR CASE WHEN e.raw_mask & ${LATE} = 0 THEN e.position IS DISTINCT FROM o.instant ELSE o.instant > e.position END)`,
    before: [
      ...dialect.scratchTable('segue_before', [...SERVED_BEFORE]),
      `INSERT INTO segue_before (${SERVED_BEFORE.map(([name]) => name).join(', ')})
        SELECT ${SERVED_BEFORE.map(([name]) => `e.${name}`).join(', ')} FROM enhanced_messages e
        WHERE ${listed(`e.${legacyId}`)} AND e.legacy_message_id IS NOT NULL`,
    ],
    membersBefore: [
      ...dialect.scratchTable('segue_members', [
        ['conversation_id', 'id'],
        ['user_id', 'id'],
        ['role', 'text'],
        ['vacant', 'flag'],
      ]),
      `INSERT INTO segue_members (conversation_id, user_id, role, vacant)
        SELECT p.conversation_id, p.user_id, p.role, p.vacant FROM conversation_participants p WHERE p.left_at IS NULL AND ${isTouched('p.conversation_id')}`,
    ],
    changes: changesSql(dialect, isOfRow, isTouched),
    takeAway: [
      `DELETE FROM legacy_raw_values WHERE ${listed('message_id')}
        OR message_id IN (SELECT e.id FROM enhanced_messages e WHERE ${listed(`e.${legacyId}`)})`,
      // What was made here has a client's id and more that the old row cannot give back: it is mended in its place.
      `DELETE FROM enhanced_messages WHERE ${listed(legacyId)} AND NOT made_here`,
      // Nobody made a message that stands for no old row; of one that was removed, people know that it was there.
      `DELETE FROM enhanced_messages WHERE ${listed('id')} AND legacy_message_id IS NULL AND removed_at IS NULL`,
      `UPDATE enhanced_messages SET text = NULL WHERE ${listed('id')} AND legacy_message_id IS NULL AND text IS NOT NULL`,
      `DELETE FROM changeover_quarantine WHERE ${listed('legacy_id')}`,
      `DELETE FROM changeover_places WHERE ${listed('legacy_id')}`,
    ],
    clear: [
      `DELETE FROM legacy_raw_values WHERE message_id IN (SELECT e.id FROM enhanced_messages e WHERE ${listed(`e.${legacyId}`)})`,
      // What people have seen leaves a tombstone: no text, and no old row.
      `UPDATE enhanced_messages SET legacy_message_id = NULL, sender_id = ${account}, text = NULL, raw_mask = 0, status = ${UNKNOWN_STATUS}, removed_at = ${dialect.now}
        WHERE ${listed(legacyId)} AND legacy_message_id IS NOT NULL AND NOT ${isThere('legacy_message_id')}`,
      `DELETE FROM enhanced_messages WHERE ${listed(legacyId)} AND legacy_message_id IN (SELECT o.id FROM ${row} WHERE NOT ${rules.isPlaced})`,
      `DELETE FROM changeover_quarantine WHERE ${listed('legacy_id')}`,
      `DELETE FROM changeover_places WHERE ${listed('legacy_id')} AND NOT ${isThere('legacy_id')}`,
    ],
    place: [
      // The old time of a mirror says no more than the old column's format does: the message's own goes on.
      `UPDATE segue_dirty SET instant = e.sent_at FROM enhanced_messages e
        WHERE e.${legacyId} = segue_dirty.id AND e.legacy_message_id IS NOT NULL AND e.made_here
          AND ${dialect.identical(dialect.legacyTime('e.sent_at'), 'segue_dirty.created_at')}`,
      // By its time; else where it was put before; else as the row before it by id.
      `UPDATE segue_dirty SET late = 0, place = coalesce(instant,
          (SELECT p.position FROM changeover_places p WHERE p.legacy_id = segue_dirty.id),
          (SELECT e.position FROM enhanced_messages e WHERE e.${legacyId} = segue_dirty.id AND e.legacy_message_id IS NOT NULL),
          ${usable((id) => `${id} < segue_dirty.id`, 'DESC')}, ${usable((id) => `${id} IS NOT NULL`, 'ASC')}, CAST(:now AS bigint))
        WHERE id IN (SELECT o.id FROM ${row} WHERE ${rules.isPlaced})`,
      `INSERT INTO conversations (kind, pair_low, pair_high, legacy_group_id, created_at, last_position)
        SELECT CASE WHEN o.thread_group IS NULL THEN 'direct' ELSE 'group' END, o.pair_low, o.pair_high, o.thread_group, min(o.place), min(o.place)
        FROM ${row} WHERE ${placed}
          AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.pair_low = o.pair_low AND c.pair_high = o.pair_high)
          AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.legacy_group_id = o.thread_group)
        GROUP BY o.pair_low, o.pair_high, o.thread_group ORDER BY min(o.id)`,
      `UPDATE segue_dirty SET conversation_id = ${conversation},
          copy_id = (SELECT e.id FROM enhanced_messages e WHERE e.${legacyId} = segue_dirty.id AND e.legacy_message_id IS NOT NULL)
        WHERE place IS NOT NULL`,
      // Who sends in one of them meanwhile would come to stand behind the end that is read here.
      dialect.locked(
        `SELECT c.id FROM conversations c WHERE c.id IN (SELECT o.conversation_id FROM ${row}) ORDER BY c.id`,
      ),
      // A message that stays in its conversation stays where it came late, unless its time has gone past that since.
      `UPDATE segue_dirty SET late = 1, place = e.position FROM enhanced_messages e
        WHERE e.id = segue_dirty.copy_id AND e.conversation_id = segue_dirty.conversation_id AND e.raw_mask & ${LATE} <> 0
          AND (segue_dirty.instant IS NULL OR segue_dirty.instant < e.position)`,
      // Nobody's read mark may cover a message that nobody can have seen: it goes behind the last one.
      `UPDATE segue_dirty SET late = 1, place = l.place FROM (
          SELECT o.id, c.last_position + row_number() OVER (PARTITION BY o.conversation_id ORDER BY o.id) AS place
          FROM ${row} JOIN conversations c ON c.id = o.conversation_id
          WHERE :isLate AND o.late = 0 AND (CAST(:toCome AS bigint) IS NULL OR o.id > CAST(:toCome AS bigint))
            AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.id = o.copy_id AND e.conversation_id = o.conversation_id)
            AND (o.instant IS NULL OR o.instant < c.last_position${
              isCopied
                ? ` OR (o.instant = c.last_position AND EXISTS (SELECT 1 FROM enhanced_messages e
              WHERE e.conversation_id = c.id AND e.position = c.last_position AND e.id > o.id))`
                : ''
            })) AS l
        WHERE l.id = segue_dirty.id`,
    ],
    write: [
      participant(
        'o.pair_low',
        `'member'`,
        'o.sender_id = o.pair_low',
        `${placed} AND o.pair_low IS NOT NULL`,
      ),
      participant(
        'o.pair_high',
        `'member'`,
        'o.sender_id = o.pair_high',
        `${placed} AND o.pair_low IS NOT NULL`,
      ),
      // The first writer of a group that has no admin yet becomes its admin.
      participant(
        'o.sender_id',
        `CASE WHEN EXISTS (SELECT 1 FROM conversation_participants a WHERE a.conversation_id = p.conversation_id AND a.role = 'admin')
            OR EXISTS (SELECT 1 FROM ${row} WHERE o.conversation_id = p.conversation_id AND o.sender_id IS NOT NULL AND o.id < p.first_id)
          THEN 'member' ELSE 'admin' END`,
        'true',
        `${placed} AND o.thread_group IS NOT NULL AND o.sender_id IS NOT NULL`,
      ),
      // Whose id was somebody else's is in the thread when he writes in it, or to him.
      moveInSql(
        dialect,
        { table: users, id: userId },
        `EXISTS (SELECT 1 FROM ${row} WHERE o.conversation_id = c.id AND o.copy_id IS NULL AND o.place > c.last_position
          AND (o.thread_group IS NULL OR o.sender_id = conversation_participants.user_id))
        AND c.id IN (SELECT o.conversation_id FROM ${row})`,
      ),
      // Whatever hid it, its old row is there.
      `UPDATE enhanced_messages SET (conversation_id, sender_id, legacy_message_id, kind, text, sent_at, position, status, raw_mask) =
          (SELECT ${served} FROM ${row} WHERE o.copy_id = enhanced_messages.id), removed_at = NULL
        WHERE id IN (SELECT o.copy_id FROM ${row})`,
      // The old app has given the number of a deleted row out again.
      `DELETE FROM enhanced_messages WHERE removed_at IS NOT NULL AND id IN (SELECT o.id FROM ${row} WHERE ${placed} AND o.copy_id IS NULL)`,
      `INSERT INTO enhanced_messages (id, conversation_id, sender_id, legacy_message_id, kind, text, sent_at, position, status, raw_mask)
        SELECT o.id, ${served} FROM ${row} WHERE ${placed} AND o.copy_id IS NULL ORDER BY o.id`,
      `${keepRawSql(dialect, plainColumns('o'))}
        FROM ${row} JOIN enhanced_messages e ON ${isOfRow('e')} WHERE e.raw_mask <> 0`,
      `${quarantineSql(dialect, 'o.id', rules.reason, rules.detail, plainColumns('o'))}
        FROM ${row} WHERE NOT ${rules.isPlaced}`,
      `UPDATE conversations SET created_at = ${dialect.lesser('created_at', 'n.first')}, last_position = ${dialect.greater('last_position', 'n.last')}
        FROM (SELECT o.conversation_id, min(o.place) AS first, max(o.place) AS last FROM ${row} WHERE ${placed} GROUP BY o.conversation_id) AS n
        WHERE conversations.id = n.conversation_id`,
      `DELETE FROM changeover_places WHERE legacy_id IN (SELECT o.id FROM ${row} WHERE o.instant IS NOT NULL OR o.late = 1 OR NOT ${rules.isPlaced})`,
      `INSERT INTO changeover_places (legacy_id, position)
        SELECT o.id, o.place FROM ${row} WHERE ${placed} AND o.instant IS NULL AND o.late = 0
        ON CONFLICT (legacy_id) DO UPDATE SET position = excluded.position`,
    ],
    // A row that somebody holds is not waited for, with everything else behind us: it stays dirty.
    link: [
      `UPDATE ${rows.table} SET ${rows.names.conversationId} = (SELECT o.conversation_id FROM ${row} WHERE o.id = ${rows.table}.${rows.names.id})
        WHERE ${rows.names.id} IN (${dialect.unlocked(`SELECT ${m.id} FROM ${rows.table} m WHERE ${isLinkedWrongly}`)})`,
      `INSERT INTO changeover_queue (source, legacy_id, queued_at)
        SELECT 'link', ${m.id}, ${dialect.now} FROM ${rows.table} m WHERE ${isLinkedWrongly}`,
    ],
    outcome: `SELECT CAST(o.id AS text) AS id, ${placed} AS placed FROM ${row}`,
    quarantineRefused: `${quarantineSql(dialect, m.id, `'refused'`, 'CAST(:detail AS text)', m)}
      FROM ${rows.table} m WHERE ${listed(m.id)}`,
  };
}

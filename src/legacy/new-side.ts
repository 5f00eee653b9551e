import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { RAW, UNREAD } from '../messages/enhanced-message.entities.js';
import { inverseOf, keptBeside } from './inverse.js';
import {
  columnsOf,
  GROUP,
  GROUP_TEXT,
  ID,
  isBetweenPair,
  isDirect,
  isUnread,
  type LegacySql,
  ME,
  ME_TEXT,
  newestFirst,
  newestOfEachThread,
  page,
  PEER,
  PEER_TEXT,
  threadOf,
} from './legacy-sql.js';
import { oldRows } from './old-rows.js';

/** The order of `NEWEST_FIRST`, as the index of the raw values has it. */
const BESIDE_NEWEST_FIRST = 'w.created_text DESC NULLS LAST, w.message_id DESC';

/**
 * The old clients' queries on conversations, with the rows in quarantine taken from the old table by key. Nothing
 * here costs more when the table is larger: each statement starts from an index entry of the caller, of the pair, of
 * the group or of the row.
 * @param hasOldSide false where the old table is gone, or never was: then nothing is in quarantine either.
 */
export function newSideSql(
  dialect: Dialect,
  mapping: LegacyMapping,
  hasOldSide: boolean,
): LegacySql {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const served = inverseOf(dialect, 'e', 'c', null);
  const e = inverseOf(dialect, 'e', 'c', 'v');

  /** Rows in quarantine, looked up by their key in the old table; `which` selects their ids. */
  const andQuarantined = (which: string, condition: string, extra = ''): string =>
    hasOldSide
      ? ` UNION ALL SELECT ${columnsOf(dialect, m)}${extra} FROM ${rows.table} m
          WHERE ${m.id} IN (${which}) AND ${condition}`
      : '';
  const quarantine = (condition: string): string =>
    `SELECT q.legacy_id FROM changeover_quarantine q WHERE ${condition}`;

  /**
   * The newest rows of one conversation, no more than the page needs. Those without raw values lie in its index in
   * the old order; the others lie so beside them, by the old time's own text.
   */
  const newestOf = (conversation: string): string =>
    `SELECT ${columnsOf(dialect, served)} FROM (
        SELECT * FROM enhanced_messages n
        WHERE n.conversation_id = (${conversation}) AND n.legacy_message_id IS NOT NULL AND n.raw_mask = 0
        ORDER BY n.position DESC, n.id DESC LIMIT CAST(:limit AS bigint) + CAST(:offset AS bigint)
      ) AS e JOIN conversations c ON c.id = e.conversation_id
    UNION ALL SELECT ${columnsOf(dialect, e)} FROM (
        SELECT * FROM legacy_raw_values w WHERE w.conversation_id = (${conversation})
        ORDER BY ${BESIDE_NEWEST_FIRST} LIMIT CAST(:limit AS bigint) + CAST(:offset AS bigint)
      ) AS v JOIN enhanced_messages e ON e.id = v.message_id JOIN conversations c ON c.id = e.conversation_id`;

  /** Rows of groups that name a recipient too: the old app shows them between two people as well. */
  const ofGroupsTo = (recipient: string): string =>
    `FROM legacy_raw_values v JOIN enhanced_messages e ON e.id = v.message_id
        JOIN conversations c ON c.id = e.conversation_id
      WHERE v.recipient_id = ${dialect.toRaw(recipient)} AND c.kind = 'group'`;

  /**
   * The groups in which the caller wrote. A row in quarantine counts, as it does on the old side; its key only finds
   * it, and the old table says whose it is.
   */
  const myGroups = `SELECT g.legacy_group_id AS id FROM conversation_participants p
      JOIN conversations g ON g.id = p.conversation_id
      WHERE p.user_id = ${ME} AND p.has_written AND g.kind = 'group'${
        hasOldSide
          ? ` UNION SELECT ${m.groupId} FROM ${rows.table} m
          WHERE ${m.id} IN (${quarantine(`q.sender_id = ${ME_TEXT}`)}) AND ${m.senderId} = ${ME} AND ${m.groupId} IS NOT NULL`
          : ''
      }`;
  /** Of a row whose status was kept raw: the old column's collation may call it 'read' where ours does not. */
  const isRawUnread = hasOldSide
    ? `EXISTS (SELECT 1 FROM ${rows.table} m WHERE ${m.id} = e.legacy_message_id AND ${isUnread(m.status)})`
    : isUnread(e.status);
  const pairLow = dialect.lesser(ME, PEER);
  const pairHigh = dialect.greater(ME, PEER);
  const isMine = `(${m.senderId} = ${ME} OR ${m.recipientId} = ${ME})`;
  const isOfMyGroups = (group: string): string => `${group} IN (${myGroups})`;

  const myConversations = `SELECT p.conversation_id FROM conversation_participants p JOIN conversations d ON d.id = p.conversation_id
          WHERE p.user_id = ${ME} AND d.kind = 'direct'
          UNION SELECT g.id FROM conversations g WHERE ${isOfMyGroups('g.legacy_group_id')}`;

  return {
    messages: page(
      newestOf(
        `SELECT c.id FROM conversations c WHERE c.pair_low = ${pairLow} AND c.pair_high = ${pairHigh}`,
      ) +
        ` UNION ALL SELECT ${columnsOf(dialect, e)} ${ofGroupsTo(PEER)} AND ${e.senderId} = ${ME}` +
        // To oneself both directions are one.
        ` UNION ALL SELECT ${columnsOf(dialect, e)} ${ofGroupsTo(ME)} AND ${e.senderId} = ${PEER} AND ${ME} <> ${PEER}` +
        andQuarantined(
          `${quarantine(`q.sender_id = ${ME_TEXT} AND q.recipient_id = ${PEER_TEXT}`)} UNION ${quarantine(`q.sender_id = ${PEER_TEXT} AND q.recipient_id = ${ME_TEXT}`)}`,
          isBetweenPair(m),
        ),
    ),
    groupMessages: page(
      newestOf(
        `SELECT c.id FROM conversations c WHERE c.legacy_group_id = ${GROUP} AND ${isOfMyGroups('c.legacy_group_id')}`,
      ) +
        andQuarantined(
          quarantine(`q.group_id = ${GROUP_TEXT}`),
          `${m.groupId} = ${GROUP} AND ${GROUP} <> 0 AND ${isOfMyGroups(GROUP)}`,
        ),
    ),
    message: newestFirst(
      `SELECT ${columnsOf(dialect, e)} FROM enhanced_messages e JOIN conversations c ON c.id = e.conversation_id
          ${keptBeside('e', 'v')}
        WHERE e.legacy_message_id = ${ID} AND (${e.senderId} = ${ME} OR ${e.recipientId} = ${ME}
          OR ${isOfMyGroups('c.legacy_group_id')})` +
        andQuarantined(
          quarantine(`q.legacy_id = ${ID}`),
          `(${isMine} OR (NOT ${isDirect(dialect, m)} AND ${isOfMyGroups(m.groupId)}))`,
        ),
    ),
    recentMessages: newestOfEachThread(
      `SELECT ${columnsOf(dialect, served)}, ${threadOf(dialect, served)} AS thread
        FROM conversations c JOIN enhanced_messages e ON e.id = (
          SELECT n.id FROM enhanced_messages n
          WHERE n.conversation_id = c.id AND n.legacy_message_id IS NOT NULL AND n.raw_mask = 0
          ORDER BY n.position DESC, n.id DESC LIMIT 1)
        WHERE c.id IN (${myConversations})
      UNION ALL SELECT ${columnsOf(dialect, e)}, ${threadOf(dialect, e)} AS thread
        FROM conversations c JOIN legacy_raw_values v ON v.message_id = (
          SELECT w.message_id FROM legacy_raw_values w WHERE w.conversation_id = c.id
          ORDER BY ${BESIDE_NEWEST_FIRST} LIMIT 1)
          JOIN enhanced_messages e ON e.id = v.message_id
        WHERE c.id IN (${myConversations})` +
        andQuarantined(
          `${quarantine(`q.sender_id = ${ME_TEXT}`)} UNION ${quarantine(`q.recipient_id = ${ME_TEXT}`)} UNION ${quarantine(`q.group_id IN (SELECT ${dialect.keyText('mine.id')} FROM (${myGroups}) AS mine)`)}`,
          `((${isDirect(dialect, m)} AND ${isMine}) OR (NOT ${isDirect(dialect, m)} AND ${isOfMyGroups(m.groupId)}))`,
          `, ${threadOf(dialect, m)} AS thread`,
        ),
    ),
    unreadCount: `SELECT (
        SELECT count(*) FROM conversation_participants p
          JOIN conversations c ON c.id = p.conversation_id
          JOIN enhanced_messages e ON e.conversation_id = c.id
          ${keptBeside('e', 'v')}
        WHERE p.user_id = ${ME} AND c.kind = 'direct' AND e.legacy_message_id IS NOT NULL
          AND ${UNREAD.replaceAll('"status"', 'e."status"')} AND ${e.recipientId} = ${ME}
      ) + (
        SELECT count(*) FROM conversation_participants p
          JOIN conversations c ON c.id = p.conversation_id
          JOIN legacy_raw_values v ON v.conversation_id = c.id
          JOIN enhanced_messages e ON e.id = v.message_id
        WHERE p.user_id = ${ME} AND c.kind = 'direct' AND e.raw_mask & ${RAW.status} <> 0
          AND ${isRawUnread} AND ${e.recipientId} = ${ME}
      ) + (
        SELECT count(*) ${ofGroupsTo(ME)} AND ${isRawUnread}
      )${
        hasOldSide
          ? ` + (SELECT count(*) FROM ${rows.table} m
          WHERE ${m.id} IN (${quarantine(`q.recipient_id = ${ME_TEXT}`)}) AND ${m.recipientId} = ${ME} AND ${isUnread(m.status)})`
          : ''
      } AS count`,
  };
}

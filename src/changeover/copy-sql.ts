import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import {
  bytesOfContent,
  inRange,
  LEGACY_COLUMNS,
  type LegacyExpressions,
  oldRows,
  plainColumns,
} from '../legacy/old-rows.js';
import { HAS_RAW, RAW } from '../messages/enhanced-message.entities.js';
import { rowRules } from './row-rules.js';

/**
 * The statements of one batch; each is about the ids `:from` to `:upTo`, both included. `:now` is the backfill's
 * beginning.
 */
export interface CopySql {
  /** Lowest id, number and bytes of text of the `:size` newest rows of the range, as `{low, count, bytes}`. */
  readonly newestRange: string;
  /** The same of as many of them as have at most `:most` bytes together, and always of one. */
  readonly newestThatFit: string;
  /** What was settled of the range before, as `{copies, quarantined}`: the old app has touched those rows. */
  readonly settled: string;
  /** For a range of which nothing was settled. Not idempotent by silence: a row that is there already makes it fail. */
  readonly untouched: CopyStatements;
  /** For a range of which something was: rows that are there already are left as they are. */
  readonly touched: CopyStatements;
  /** Rows that are neither copied nor in quarantine, and of which no entry of the queue tells why, as `{count}`. */
  readonly unaccounted: string;
  /** Puts the one row `:from` into quarantine because the database refused it, with its words as `:detail`. */
  readonly quarantineRefused: string;
  /** Writes each copied row's conversation beside the old row. */
  readonly link: string;
  /** The same without the rows that somebody has locked, which stay dirty. */
  readonly linkUnlocked: readonly string[];
}

export interface CopyStatements {
  /** Copies the rows whose thread is clear. */
  readonly copy: string;
  /** Keeps beside the copied rows what they cannot express. */
  readonly keepRaw: string;
  /** Puts the other rows into quarantine. */
  readonly quarantine: string;
}

/** Set-based, inside the database: a row that travels through JavaScript loses bytes, digits and microseconds. */
export function copySql(dialect: Dialect, mapping: LegacyMapping): CopySql {
  const rows = oldRows(dialect, mapping);
  const rules = rowRules(dialect, mapping);
  const m = rows.of('m');
  const place =
    'coalesce(o.instant, (SELECT p.position FROM changeover_places p WHERE p.legacy_id = o.id), CAST(:now AS bigint))';
  // Looked up one by one: joined, PostgreSQL reads all conversations for each batch.
  const conversation = `CASE WHEN o.thread_group IS NULL
      THEN (SELECT d.id FROM conversations d WHERE d.pair_low = o.pair_low AND d.pair_high = o.pair_high)
      ELSE (SELECT g.id FROM conversations g WHERE g.legacy_group_id = o.thread_group) END`;
  const statements = (
    unlessCopied: string,
    unlessKept: string,
    unlessQuarantined: string,
  ): CopyStatements => ({
    copy: `INSERT INTO enhanced_messages (id, conversation_id, sender_id, legacy_message_id, kind, text, sent_at, position, status, raw_mask)
      SELECT o.id, ${conversation}, o.account, o.id, ${rules.kind}, o.content, ${place}, ${place}, ${rules.status}, ${rules.rawMask}
      FROM ${rules.read(inRange)}
      WHERE ${rules.isPlaced} ${unlessCopied}`,
    keepRaw: `${keepRawSql(dialect, m)}
      FROM enhanced_messages e JOIN ${rows.table} m ON ${m.id} = e.legacy_message_id
      WHERE ${inRange('e.legacy_message_id')} AND e.${HAS_RAW} ${unlessKept}`,
    quarantine: `${quarantineSql(dialect, 'o.id', rules.reason, rules.detail, plainColumns('o'))}
      FROM ${rules.read(inRange)} WHERE NOT ${rules.isPlaced} ${unlessQuarantined}`,
  });

  const newest = `SELECT ${m.id} AS id, ${bytesOfContent(m)} AS bytes FROM ${rows.table} m WHERE ${inRange(m.id)}
      ORDER BY ${m.id} DESC LIMIT :size`;

  // By the copy's own id, which is the old one: its other indexes may not be there before all rows are.
  const link = `UPDATE ${rows.table} SET ${rows.names.conversationId} = e.conversation_id
      FROM enhanced_messages e
      WHERE e.legacy_message_id = ${rows.table}.${rows.names.id} AND ${inRange('e.id')}
        AND ${inRange(`${rows.table}.${rows.names.id}`)} AND ${rows.table}.${rows.names.conversationId} IS DISTINCT FROM e.conversation_id`;

  return {
    newestRange: `SELECT CAST(min(id) AS text) AS low, count(*) AS count, sum(bytes) AS bytes FROM (${newest}) AS newest`,
    newestThatFit: `SELECT CAST(min(id) AS text) AS low, count(*) AS count, max(so_far) AS bytes FROM (
      SELECT id, row_number() OVER by_id AS number, sum(bytes) OVER by_id AS so_far FROM (${newest}) AS newest
      WINDOW by_id AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)) AS counted
      WHERE so_far <= :most OR number = 1`,
    settled: `SELECT (SELECT count(*) FROM enhanced_messages e WHERE ${inRange('e.id')}) AS copies,
      (SELECT count(*) FROM changeover_quarantine q WHERE ${inRange('q.legacy_id')}) AS quarantined`,
    untouched: statements('', '', ''),
    touched: statements(
      `AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.id = o.id)
        AND NOT EXISTS (SELECT 1 FROM changeover_quarantine q WHERE q.legacy_id = o.id)`,
      'AND NOT EXISTS (SELECT 1 FROM legacy_raw_values v WHERE v.message_id = e.id)',
      'AND NOT EXISTS (SELECT 1 FROM changeover_quarantine q WHERE q.legacy_id = o.id)',
    ),
    unaccounted: `SELECT count(*) AS count FROM ${rows.table} m WHERE ${inRange(m.id)}
      AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.id = ${m.id})
      AND NOT EXISTS (SELECT 1 FROM changeover_quarantine q WHERE q.legacy_id = ${m.id})
      AND NOT EXISTS (SELECT 1 FROM changeover_queue d WHERE d.legacy_id = ${m.id})
      AND NOT EXISTS (SELECT 1 FROM changeover_queue d WHERE d.legacy_id IS NULL)`,
    quarantineRefused: `${quarantineSql(dialect, m.id, `'refused'`, 'CAST(:detail AS text)', m)}
      FROM ${rows.table} m WHERE ${m.id} = CAST(:from AS bigint)`,
    link,
    linkUnlocked: [
      `${link} AND ${rows.table}.${rows.names.id} IN (${dialect.unlocked(`SELECT ${m.id} FROM ${rows.table} m WHERE ${inRange(m.id)}`)})`,
      `INSERT INTO changeover_queue (source, legacy_id, queued_at)
        SELECT 'link', ${m.id}, ${dialect.now} FROM ${rows.table} m JOIN enhanced_messages e ON e.id = ${m.id}
        WHERE ${inRange(m.id)} AND ${inRange('e.id')} AND ${m.conversationId} IS DISTINCT FROM e.conversation_id`,
    ],
  };
}

/**
 * The beginning of an INSERT of raw values, up to its FROM: of the messages `e`, what they cannot express.
 * @param old the old row's columns
 */
export function keepRawSql(dialect: Dialect, old: LegacyExpressions): string {
  const raw = LEGACY_COLUMNS.filter((column) => column !== 'id').map(
    (column) =>
      `CASE WHEN e.raw_mask & ${RAW[BIT_OF[column]]} <> 0 THEN ${dialect.toRaw(old[column])} END`,
  );
  return `INSERT INTO legacy_raw_values (message_id, conversation_id, sender_id, recipient_id, group_id, content, type, status, created_at, created_text)
      SELECT e.id, e.conversation_id, ${raw.join(', ')}, ${dialect.textOf(old.createdAt)}`;
}

/**
 * The beginning of an INSERT into quarantine, up to its FROM.
 * @param old the old row's columns, by which old queries look for it
 */
export function quarantineSql(
  dialect: Dialect,
  id: string,
  reason: string,
  detail: string,
  old: Pick<LegacyExpressions, 'senderId' | 'recipientId' | 'groupId'>,
): string {
  return `INSERT INTO changeover_quarantine (legacy_id, reason, detail, sender_id, recipient_id, group_id, quarantined_at)
      SELECT ${id}, ${reason}, ${detail}, ${dialect.keyText(old.senderId)}, ${dialect.keyText(old.recipientId)}, ${dialect.keyText(old.groupId)}, ${dialect.now}`;
}

const BIT_OF = {
  senderId: 'sender',
  recipientId: 'recipient',
  groupId: 'group',
  content: 'content',
  type: 'type',
  status: 'status',
  createdAt: 'createdAt',
} as const;

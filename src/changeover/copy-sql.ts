import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { oldRows } from '../legacy/old-rows.js';
import { STATUS_CODES } from '../messages/enhanced-message.entities.js';
import { regularRows } from './regular-rows.js';

/** The statements of one batch; each is about the ids `:low` to `:high`, both included. */
export interface CopySql {
  /** Lowest id and number of the `:size` newest rows from `:floor` to `:high`, as `{low, count}`. */
  readonly newestRange: string;
  /** Copies the regular rows. Not idempotent by silence: a row that is there already makes it fail. */
  readonly copy: string;
  /** Puts the other rows into quarantine; `:now` is the backfill's beginning. */
  readonly quarantine: string;
  /** Writes each copied row's conversation beside the old row. */
  readonly link: string;
}

/** Set-based, inside the database: a row that travels through JavaScript loses bytes, digits and microseconds. */
export function copySql(dialect: Dialect, mapping: LegacyMapping): CopySql {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const regular = regularRows(dialect, mapping);
  const inRange = (id: string): string =>
    `${id} BETWEEN CAST(:low AS bigint) AND CAST(:high AS bigint)`;
  const sentAt = dialect.instantOf(m.createdAt);
  const status = `CASE ${dialect.textOf(m.status)} ${Object.entries(STATUS_CODES)
    .map(([name, code]) => `WHEN '${name}' THEN ${code}`)
    .join(' ')} END`;
  return {
    newestRange: `SELECT CAST(min(id) AS text) AS low, count(*) AS count FROM (
      SELECT ${rows.names.id} AS id FROM ${rows.table}
      WHERE ${rows.names.id} BETWEEN CAST(:floor AS bigint) AND CAST(:high AS bigint)
      ORDER BY ${rows.names.id} DESC LIMIT :size) AS newest`,
    copy: `INSERT INTO enhanced_messages (id, conversation_id, sender_id, legacy_message_id, kind, text, sent_at, position, status)
      SELECT ${m.id}, coalesce(d.id, g.id), ${m.senderId}, ${m.id}, ${dialect.textOf(m.type)}, ${m.content}, ${sentAt}, ${sentAt}, ${status}
      FROM ${regular.from}
        LEFT JOIN conversations d ON d.pair_low = ${dialect.lesser(m.senderId, m.recipientId)}
          AND d.pair_high = ${dialect.greater(m.senderId, m.recipientId)}
        LEFT JOIN conversations g ON g.legacy_group_id = ${m.groupId}
      WHERE ${inRange(m.id)} AND ${regular.predicate}
      ORDER BY ${m.id}`,
    quarantine: `INSERT INTO changeover_quarantine (legacy_id, reason, detail, sender_id, recipient_id, group_id, quarantined_at)
      SELECT ${m.id}, 'irregular', ${regular.complaint}, ${dialect.keyText(m.senderId)}, ${dialect.keyText(m.recipientId)},
        ${dialect.keyText(m.groupId)}, ${dialect.now}
      FROM ${regular.from}
      WHERE ${inRange(m.id)} AND (${regular.predicate}) IS NOT TRUE`,
    link: `UPDATE ${rows.table} SET ${rows.names.conversationId} = e.conversation_id
      FROM enhanced_messages e
      WHERE e.legacy_message_id = ${rows.table}.${rows.names.id} AND ${inRange('e.legacy_message_id')}
        AND ${inRange(`${rows.table}.${rows.names.id}`)}`,
  };
}

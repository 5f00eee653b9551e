import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import { TryAgain } from '../database/database-errors.js';
import type { Dialect } from '../database/dialect.js';
import { kept } from '../database/kept-statements.js';
import type { OldMessage, OldSide } from '../messages/old-side.js';
import { oldRows } from './old-rows.js';

/** The most rows that are settled on the way of a message, so that nobody waits long: more than a group has messages. */
const MOST_GONE = 200;

/**
 * Writes on the old table what was written on the new side, in the old table's own terms: times in its zone and format,
 * statuses in its words. What its triggers, defaults and constraints make of a row is theirs to say: the capture triggers
 * see these rows as well, and where they came out otherwise the new side follows.
 */
export class Mirror implements OldSide {
  private readonly insert: string;
  private readonly raise: string;
  private readonly read: string;
  private readonly queueEnd: string;
  private readonly nameEntries: string;
  readonly takeEntries: string;
  readonly gone: string;
  private tellsRowsApart = true;

  /**
   * @param fillsLink whether `messages.conversation_id` is there to be filled
   * @param makeWay as `OldSide` has it
   */
  constructor(
    dialect: Dialect,
    mapping: LegacyMapping,
    fillsLink: boolean,
    readonly makeWay: OldSide['makeWay'],
  ) {
    const { table, names } = oldRows(dialect, mapping);
    const values: (readonly [column: string, value: string])[] = [
      [names.senderId, 'k.sender_id'],
      [names.recipientId, 'k.recipient_id'],
      [names.groupId, 'k.group_id'],
      [names.content, 'k.text'],
      [names.type, 'k.kind'],
      [names.status, `'sent'`],
      [names.createdAt, dialect.legacyTime('k.sent_at')],
      ...(fillsLink ? [[names.conversationId, 'k.conversation_id'] as const] : []),
    ];
    const given = dialect.rowsIn(
      'rows',
      ['n', 'sender_id', 'recipient_id', 'group_id', 'conversation_id', 'sent_at'],
      ['text', 'kind'],
    );
    this.insert = kept(`INSERT INTO ${table} (${values.map(([column]) => column).join(', ')})
      SELECT ${values.map(([, value]) => value).join(', ')} FROM (${given}) AS k ORDER BY k.n
      RETURNING CAST(${names.id} AS text) AS "newId", CAST(${names.senderId} AS text) AS "senderId", CAST(${names.recipientId} AS text) AS "recipientId",
        CAST(${names.groupId} AS text) AS "groupId", CAST(${names.content} AS text) AS text`);
    const newest = `coalesce((SELECT max(m.${names.id}) FROM ${table} m), 0)`;
    this.gone = dialect.givesNumbersAgain
      ? dialect.jsonOf(
          `SELECT CAST(e.legacy_message_id AS text) AS "id" FROM enhanced_messages e
             WHERE e.legacy_message_id > ${newest} AND e.legacy_message_id <= ${newest} + ${MOST_GONE}`,
          ['id'],
        )
      : `'[]'`;
    const is = (column: string, value: string): string => dialect.identical(`m.${column}`, value);
    const hasNone = (table: string, key: string): string =>
      `NOT EXISTS (SELECT 1 FROM ${table} l WHERE l.${key} = m.${names.id})`;
    const written = dialect.rowsIn(
      'messages',
      ['id', 'plain', 'sender_id', 'recipient_id', 'group_id', 'conversation_id', 'sent_at'],
      ['text', 'kind'],
    );
    // What was left behind by another row of that number is for apply to take away.
    this.takeEntries = `DELETE FROM changeover_queue WHERE ${dialect.isBehind('queueEnd')} AND source = 'messages' AND legacy_id IN (
      SELECT m.${names.id} FROM (${written}) AS k JOIN ${table} m ON m.${names.id} = k.id
      WHERE k.plain = 1 AND ${values.map(([column, value]) => is(column, value)).join(' AND ')}
        AND ${hasNone('changeover_quarantine', 'legacy_id')} AND ${hasNone('changeover_places', 'legacy_id')} AND ${hasNone('legacy_raw_values', 'message_id')})`;
    this.queueEnd = kept(`SELECT (${dialect.queueEnd}) AS "queueEnd"`);
    this.nameEntries = kept(`UPDATE changeover_queue SET source = 'mirrors'
      WHERE ${dialect.isBehind('queueEnd')} AND source = 'messages' AND legacy_id IN (${dialect.idsIn('ids')})`);
    this.read = `UPDATE ${table} SET ${names.status} = 'read' WHERE ${names.id} = CAST(:id AS bigint) AND ${names.recipientId} = CAST(:me AS bigint)`;
    // A status that is none of these says something that is not ours to overwrite.
    this.raise = `UPDATE ${table} SET ${names.status} = CAST(:status AS text)
      WHERE ${names.id} IN (${dialect.idsIn('ids')}) AND (${dialect.exactly(names.status)} = 'sent'
        OR (CAST(:status AS text) = 'read' AND ${dialect.exactly(names.status)} = 'delivered'))`;
  }

  /**
   * Many rows are one statement, whose answers come in the order of the rows on both engines, although neither promises it.
   * So each is compared with its row; where that can't be told, as where a trigger of the old app rewrites what is inserted,
   * it is tried again, and from then on each row is a statement of its own.
   */
  async addMessages(transaction: Queryable, messages: readonly OldMessage[]): Promise<string[]> {
    if (messages.length > 1 && !this.tellsRowsApart) {
      const ids: string[] = [];
      for (const message of messages) ids.push(...(await this.addMessages(transaction, [message])));
      return ids;
    }
    const rows = await transaction.all<Inserted>(this.insert, {
      rows: JSON.stringify(
        messages.map((message, n) => ({
          n: String(n),
          sender_id: message.senderId,
          recipient_id: message.recipientId,
          group_id: message.groupId,
          conversation_id: message.conversationId,
          sent_at: message.sentAt,
          text: message.text,
          kind: message.kind,
        })),
      ),
    });
    if (messages.length === 1 && rows.length !== 1)
      throw new Error('The old table gave no id for a row');
    const areTold =
      rows.length === messages.length && messages.every((message, n) => isRowOf(rows[n], message));
    if (messages.length > 1 && !areTold) {
      this.tellsRowsApart = false;
      throw new TryAgain('The old table gave rows back that are none of those that were inserted');
    }
    return rows.map(({ newId }) => newId);
  }

  async raiseStatuses(
    transaction: Queryable,
    legacyIds: readonly string[],
    status: 'delivered' | 'read',
  ): Promise<void> {
    if (legacyIds.length === 0) return;
    await this.asOurs(transaction, legacyIds, () =>
      transaction.run(this.raise, { ids: JSON.stringify(legacyIds), status }),
    );
  }

  async markRead(transaction: Queryable, legacyId: string, recipientId: string): Promise<boolean> {
    const changed = await this.asOurs(transaction, [legacyId], () =>
      transaction.run(this.read, { id: legacyId, me: recipientId }),
    );
    return changed > 0;
  }

  /** Changes old rows, and names the entries of the queue that this leaves: nobody takes them for writes of the old app's. */
  private async asOurs(
    transaction: Queryable,
    legacyIds: readonly string[],
    change: () => Promise<number>,
  ): Promise<number> {
    const [end] = await transaction.all<{ queueEnd: string }>(this.queueEnd);
    const changed = await change();
    await transaction.run(this.nameEntries, {
      ids: JSON.stringify(legacyIds),
      queueEnd: end?.queueEnd ?? '0',
    });
    return changed;
  }
}

interface Inserted extends Pick<OldMessage, 'senderId' | 'recipientId' | 'groupId' | 'text'> {
  readonly newId: string;
}

function isRowOf(row: Inserted | undefined, message: OldMessage): boolean {
  return (
    row?.senderId === message.senderId &&
    row.recipientId === message.recipientId &&
    row.groupId === message.groupId &&
    row.text === message.text
  );
}

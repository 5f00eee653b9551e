import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';
import { appendEvents } from '../events/event-log.js';
import { globalId } from '../graphql/global-ids.js';
import { STATUS_CODES, UNREAD } from '../messages/enhanced-message.entities.js';
import type { Sides } from '../messages/old-side.js';

/** Messages whose own status is raised in the receipt's transaction; more follow from a durable queue. */
const SLICE = 2_000;

export type ReceiptStatus = 'delivered' | 'read';

export interface ReceiptDraft {
  readonly userId: string;
  readonly conversationId: string;
  readonly messageId: string;
  readonly status: ReceiptStatus;
}

/** How far one person's receipts of one kind go. Ids and instants are text. */
export interface Reach {
  readonly messageId: string;
  readonly at: string | null;
}

/**
 * Writes receipts: one row each, whatever it covers, and how far they go on the member's own row. They never go back: one
 * that covers nothing new is no receipt, and nobody is told.
 *
 * The messages that are newly covered by all the others get their own status raised, and so do their old rows: in the same
 * transaction up to 2,000 of them, the rest by `raiseNext` from a durable queue.
 */
export class ReceiptWriter {
  constructor(
    private readonly dialect: Dialect,
    private readonly sides: Sides,
  ) {}

  /**
   * To be run in one transaction, which nothing follows; locks the conversation.
   * @returns how far he has come by now
   * @throws SegueError NOT_FOUND when the conversation or the message is not there for the person.
   */
  async write(transaction: Queryable, draft: ReceiptDraft): Promise<Reach> {
    const { dialect } = this;
    const { userId, conversationId, messageId, status } = draft;
    await transaction.all(
      dialect.locked(
        `SELECT c.id FROM conversations c WHERE c.id = CAST(:conversationId AS bigint)`,
      ),
      { conversationId },
    );
    await this.sides.open(transaction);
    const [found] = await transaction.all<{
      position: string;
      readPosition: string | null;
      readId: string | null;
      deliveredPosition: string | null;
      deliveredId: string | null;
    }>(
      `SELECT CAST(e.position AS text) AS position, CAST(p.read_position AS text) AS "readPosition", CAST(p.read_message_id AS text) AS "readId",
         CAST(p.delivered_position AS text) AS "deliveredPosition", CAST(p.delivered_message_id AS text) AS "deliveredId"
       FROM conversation_participants p JOIN enhanced_messages e ON e.conversation_id = p.conversation_id
       WHERE p.conversation_id = CAST(:conversationId AS bigint) AND p.user_id = CAST(:userId AS bigint) AND p.left_at IS NULL AND NOT p.vacant
         AND e.id = CAST(:messageId AS bigint) AND (p.visible_from IS NULL OR e.position > p.visible_from)`,
      { conversationId, userId, messageId },
    );
    if (found === undefined)
      throw new SegueError(
        'NOT_FOUND',
        `There is no message ${globalId('Message', messageId)} in ${globalId('Conversation', conversationId)} for you.`,
      );
    const to = { position: found.position, id: messageId };
    const isNew = (position: string | null, id: string | null): boolean =>
      position === null ||
      BigInt(position) < BigInt(to.position) ||
      (position === to.position && BigInt(id ?? 0) < BigInt(to.id));
    const reads = status === 'read' && isNew(found.readPosition, found.readId);
    const delivers = isNew(found.deliveredPosition, found.deliveredId);
    if (status === 'read' ? !reads : !delivers) {
      // Who reads again what he marked as unread takes that mark away, and tells nobody else.
      if (status === 'read') await this.takeMarkAway(transaction, draft);
      return this.readReach(transaction, draft);
    }
    const [receipt] = await transaction.all<{ id: string }>(
      `INSERT INTO message_status (conversation_id, user_id, status, through_position, through_message_id, at, visible_from)
       SELECT p.conversation_id, p.user_id, ${STATUS_CODES[status]}, CAST(:position AS bigint), CAST(:id AS bigint), ${dialect.now}, p.visible_from
       FROM conversation_participants p WHERE p.conversation_id = CAST(:conversationId AS bigint) AND p.user_id = CAST(:userId AS bigint)
       RETURNING CAST(id AS text) AS id`,
      { conversationId, userId, ...to },
    );
    for (const [isRaised, name] of [
      [reads, 'read'],
      [delivers, 'delivered'],
    ] as const)
      if (isRaised)
        await transaction.run(
          `UPDATE conversation_participants SET ${name}_position = CAST(:position AS bigint), ${name}_message_id = CAST(:id AS bigint),
             ${name}_at = ${dialect.now}${name === 'read' ? ', marked_unread = false' : ''}
           WHERE conversation_id = CAST(:conversationId AS bigint) AND user_id = CAST(:userId AS bigint)`,
          { conversationId, userId, ...to },
        );
    await this.raise(transaction, { conversationId, status, ...to });
    await appendEvents(transaction, dialect, [
      { kind: 'ReceiptUpdated', conversationId, subjectId: receipt?.id ?? '0' },
    ]);
    return this.readReach(transaction, draft);
  }

  private async readReach(
    transaction: Queryable,
    { conversationId, userId, status, messageId }: ReceiptDraft,
  ): Promise<Reach> {
    const [reach] = await transaction.all<{ messageId: string | null; at: string | null }>(
      `SELECT CAST(${status}_message_id AS text) AS "messageId", CAST(${status}_at AS text) AS at FROM conversation_participants
       WHERE conversation_id = CAST(:conversationId AS bigint) AND user_id = CAST(:userId AS bigint)`,
      { conversationId, userId },
    );
    return { messageId: reach?.messageId ?? messageId, at: reach?.at ?? null };
  }

  /**
   * Raises the next slice of a receipt that covers more messages than one transaction should write.
   * @returns false when the queue is empty
   */
  async raiseNext(transaction: Queryable): Promise<boolean> {
    const [next] = await transaction.all<{
      id: string;
      conversationId: string;
      status: number;
      position: string;
      messageId: string;
    }>(
      this.dialect.locked(
        `SELECT CAST(r.id AS text) AS id, CAST(r.conversation_id AS text) AS "conversationId", r.status,
           CAST(r.through_position AS text) AS position, CAST(r.through_message_id AS text) AS "messageId"
         FROM receipt_mirrors r ORDER BY r.id LIMIT 1`,
      ),
    );
    if (next === undefined) return false;
    await transaction.run('DELETE FROM receipt_mirrors WHERE id = CAST(:id AS bigint)', {
      id: next.id,
    });
    await this.raise(transaction, {
      conversationId: next.conversationId,
      status: next.status === STATUS_CODES.read ? 'read' : 'delivered',
      position: next.position,
      id: next.messageId,
    });
    return true;
  }

  /** Raises the messages up to a place that all the others have got, or read, by now. */
  private async raise(
    transaction: Queryable,
    through: { conversationId: string; status: ReceiptStatus; position: string; id: string },
  ): Promise<void> {
    const { conversationId, status, position, id } = through;
    const code = STATUS_CODES[status];
    // Whoever is in the conversation and could see it, but its sender; and has not come as far.
    const isMissing = `SELECT 1 FROM conversation_participants o
      WHERE o.conversation_id = e.conversation_id AND o.user_id <> e.sender_id AND o.left_at IS NULL
        AND (o.visible_from IS NULL OR o.visible_from < e.position)
        AND (o.${status}_position IS NULL OR (o.${status}_position, o.${status}_message_id) < (e.position, e.id))`;
    const rows = await transaction.all<{ id: string; legacyId: string | null }>(
      `SELECT CAST(e.id AS text) AS id, CAST(e.legacy_message_id AS text) AS "legacyId" FROM enhanced_messages e
       JOIN conversations c ON c.id = e.conversation_id
       WHERE e.conversation_id = CAST(:conversationId AS bigint) AND ${UNREAD} AND e.status < ${code} AND e.sender_id IS NOT NULL
         AND (e.position, e.id) <= (CAST(:position AS bigint), CAST(:id AS bigint))
         AND (c.kind = 'direct' OR e.made_here) AND NOT EXISTS (${isMissing})
       ORDER BY e.position, e.id LIMIT ${SLICE + 1}`,
      { conversationId, position, id },
    );
    const some = rows.slice(0, SLICE);
    if (some.length === 0) return;
    await transaction.run(
      `UPDATE enhanced_messages SET status = ${code} WHERE id IN (${this.dialect.idsIn('ids')})`,
      { ids: JSON.stringify(some.map((row) => row.id)) },
    );
    const oldSide = await this.sides.open(transaction);
    await oldSide?.raiseStatuses(
      transaction,
      some.flatMap(({ legacyId }) => legacyId ?? []),
      status,
    );
    if (rows.length > SLICE)
      await transaction.run(
        `INSERT INTO receipt_mirrors (conversation_id, status, through_position, through_message_id)
         VALUES (CAST(:conversationId AS bigint), ${code}, CAST(:position AS bigint), CAST(:id AS bigint))`,
        { conversationId, position, id },
      );
  }

  private async takeMarkAway(
    transaction: Queryable,
    { conversationId, userId }: ReceiptDraft,
  ): Promise<void> {
    const changed = await transaction.run(
      `UPDATE conversation_participants SET marked_unread = false
       WHERE conversation_id = CAST(:conversationId AS bigint) AND user_id = CAST(:userId AS bigint) AND marked_unread`,
      { conversationId, userId },
    );
    if (changed > 0)
      await appendEvents(transaction, this.dialect, [
        { kind: 'ConversationChanged', conversationId, userId },
      ]);
  }
}

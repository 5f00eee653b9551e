import type { ConversationReader, ParticipantRow } from '../conversations/conversation-reader.js';
import type { Database } from '../database/database.js';
import { HIGHEST_ID } from '../database/ids.js';
import type { Loaders } from '../graphql/loaders.js';
import { STATUS_CODES } from '../messages/enhanced-message.entities.js';
import type { MessageRow } from '../messages/message-reader.js';

/** A receipt. Ids and instants are text. */
export interface ReceiptRow {
  readonly conversationId: string;
  readonly userId: string;
  readonly status: number;
  readonly upToMessageId: string;
  /** Null: it was migrated, and nobody knows when. */
  readonly at: string | null;
}

/** Reads receipts, and what follows from them for a message. */
export class ReceiptReader {
  constructor(
    private readonly database: Database,
    private readonly conversations: ConversationReader,
  ) {}

  /** A receipt by its number, as an event tells of it. */
  find(loaders: Loaders, id: string): Promise<ReceiptRow | null> {
    return loaders.of(this.batch).load(id);
  }

  private readonly batch = async (ids: readonly string[]): Promise<(ReceiptRow | null)[]> => {
    const { dialect, reader } = this.database;
    const rows = await reader.all<ReceiptRow & { id: string }>(
      `SELECT CAST(r.id AS text) AS id, CAST(r.conversation_id AS text) AS "conversationId", CAST(r.user_id AS text) AS "userId", r.status,
         CAST(r.through_message_id AS text) AS "upToMessageId", CAST(r.at AS text) AS at
       FROM message_status r WHERE r.id IN (${dialect.idsIn('ids')})`,
      { ids: JSON.stringify(ids) },
    );
    const byId = new Map(rows.map((row) => [row.id, row]));
    return ids.map((id) => byId.get(id) ?? null);
  };

  /**
   * What is true of a message for every other member: the least of what each has got, and its own status, which the old
   * app may have said of it.
   */
  async statusOf(loaders: Loaders, message: MessageRow): Promise<number> {
    const members = await this.conversations.members(loaders, message.conversationId);
    const others = members.filter((member) => couldSee(member, message));
    const least = Math.min(...others.map((member) => reached(member, message)), STATUS_CODES.read);
    return Math.max(least, message.status, STATUS_CODES.sent);
  }

  /**
   * Who of those whom a message was for has got it, and since when: of each the first receipt that says the most of it.
   * Who has left is told what was so when he left.
   */
  async receiptsOf(loaders: Loaders, viewerId: string, message: MessageRow): Promise<ReceiptRow[]> {
    const { id, conversationId, position } = message;
    const conversation = await this.conversations.find(loaders, viewerId, conversationId);
    const leftAt = conversation?.leftAt ?? null;
    const rows = await loaders
      .of(this.batchOf)
      .load(`${id} ${conversationId} ${position} ${leftAt ?? HIGHEST_ID}`);
    const receipts = new Map(
      rows
        .filter(({ userId }) => userId !== message.senderId)
        .map((row) => [row.userId, row] as const),
    );
    // The recipient's, as the old app has it.
    if (leftAt === null && message.status > STATUS_CODES.sent) {
      const members = await this.conversations.members(loaders, message.conversationId);
      const others = members.filter((member) => couldSee(member, message));
      const [recipient] = others;
      if (
        others.length === 1 &&
        recipient !== undefined &&
        (receipts.get(recipient.userId)?.status ?? 0) < message.status
      )
        receipts.set(recipient.userId, {
          conversationId: message.conversationId,
          userId: recipient.userId,
          status: message.status,
          upToMessageId: message.id,
          at: null,
        });
    }
    return [...receipts.values()].sort((a, b) => (BigInt(a.userId) < BigInt(b.userId) ? -1 : 1));
  }

  /** By `message conversation position until`. */
  private readonly batchOf = async (keys: readonly string[]): Promise<ReceiptRow[][]> => {
    const { dialect, reader } = this.database;
    const asked = keys.map((key, n) => {
      const [message_id, conversation_id, position, until] = key.split(' ');
      return { n: String(n), message_id, conversation_id, position, until };
    });
    const rows = await reader.all<ReceiptRow & { n: number | string }>(
      `SELECT s.n, CAST(s.conversation_id AS text) AS "conversationId", CAST(s.user_id AS text) AS "userId", s.status,
         CAST(s.through_message_id AS text) AS "upToMessageId", CAST(s.at AS text) AS at
       FROM (SELECT k.n, r.*, row_number() OVER (PARTITION BY k.n, r.user_id ORDER BY r.status DESC, r.id) AS place
         FROM (${dialect.rowsIn('asked', ['n', 'message_id', 'conversation_id', 'position', 'until'])}) AS k
         JOIN message_status r ON r.conversation_id = k.conversation_id
           AND (r.through_position, r.through_message_id) >= (k.position, k.message_id) AND r.at <= k.until
           AND (r.visible_from IS NULL OR r.visible_from < k.position)) AS s
       WHERE s.place = 1`,
      { asked: JSON.stringify(asked) },
    );
    const found = keys.map((): ReceiptRow[] => []);
    for (const { n, ...row } of rows) found[Number(n)]?.push(row);
    return found;
  };
}

/** Whether a member is one of those whom a message was for. */
function couldSee({ userId, visibleFrom }: ParticipantRow, message: MessageRow): boolean {
  return (
    userId !== message.senderId &&
    (visibleFrom === null || BigInt(visibleFrom) < BigInt(message.position))
  );
}

/** How far a member has got with a message. */
function reached(member: ParticipantRow, message: MessageRow): number {
  if (covers(member.readPosition, member.readMessageId, message)) return STATUS_CODES.read;
  if (covers(member.deliveredPosition, member.deliveredMessageId, message))
    return STATUS_CODES.delivered;
  return STATUS_CODES.sent;
}

function covers(position: string | null, id: string | null, message: MessageRow): boolean {
  if (position === null || id === null) return false;
  return position === message.position
    ? BigInt(id) >= BigInt(message.id)
    : BigInt(position) > BigInt(message.position);
}

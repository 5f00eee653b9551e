import {
  boundsOf,
  type ConversationReader,
  type ConversationRow,
} from '../conversations/conversation-reader.js';
import type { Database } from '../database/database.js';
import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import type { PageRequest } from '../graphql/connections.js';
import type { LoggedEvent } from '../events/event-log.js';
import type { Loaders } from '../graphql/loaders.js';

/** A message as it is served. Ids and instants are text, as they come from the database. */
export interface MessageRow {
  readonly id: string;
  readonly conversationId: string;
  readonly senderId: string | null;
  readonly legacyId: string | null;
  readonly clientId: string | null;
  readonly kind: string;
  /** Bytes where the old column held a blob. */
  readonly text: string | number | Buffer | null;
  readonly sentAt: string;
  readonly position: string;
  /** Its own: 0 unknown, 1 sent, 2 delivered, 3 read. Receipts may say more. */
  readonly status: number;
  readonly replyToId: string | null;
  readonly isRemoved: boolean;
}

type RawMessage = Omit<MessageRow, 'status' | 'isRemoved'> & {
  readonly status: number | string;
  readonly isRemoved: boolean | number;
};

/** The place of a message in its conversation. */
export type Place = readonly [position: string, id: string];

/** A page of a conversation's messages, in their order, and one more in the direction of reading where there is one. */
export interface MessagePage {
  readonly rows: readonly MessageRow[];
  /** Whether there are messages beyond the other end. */
  readonly hasOther: boolean;
}

const COLUMNS = (alias: string): string =>
  `CAST(${alias}.id AS text) AS id, CAST(${alias}.conversation_id AS text) AS "conversationId", CAST(${alias}.sender_id AS text) AS "senderId",
   CAST(${alias}.legacy_message_id AS text) AS "legacyId", ${alias}.client_id AS "clientId", ${alias}.kind, ${alias}.text, CAST(${alias}.sent_at AS text) AS "sentAt",
   CAST(${alias}.position AS text) AS position, ${alias}.status, CAST(${alias}.reply_to_id AS text) AS "replyToId", ${alias}.removed_at IS NOT NULL AS "isRemoved"`;

const BOUNDS = ['low_position', 'low_id', 'high_position', 'high_id'] as const;

/** Within the bounds of `k`; written so that one index serves conversation, bounds and order. */
const IS_WITHIN = `x.conversation_id = k.conversation_id
  AND (x.position, x.id) > (k.low_position, k.low_id) AND (x.position, x.id) < (k.high_position, k.high_id)`;

/**
 * Reads messages for people who may see them. Each list costs one or two statements, however many conversations are asked
 * for at once, and the same at any depth of a conversation: pages begin at a place and not at a number.
 */
export class MessageReader {
  constructor(
    private readonly database: Database,
    private readonly conversations: ConversationReader,
  ) {}

  /** A message that the person may see; null for any other. */
  async find(loaders: Loaders, viewerId: string, id: string): Promise<MessageRow | null> {
    const message = await loaders.of(this.batch).load(id);
    if (message === null || message.isRemoved) return null;
    return (await this.isVisible(loaders, viewerId, message)) ? message : null;
  }

  /**
   * The message that an event tells those of a conversation of, who may all see it; what was removed since is what is left
   * of it. Null when it is in another conversation by now.
   */
  async findOfEvent(
    loaders: Loaders,
    { messageId, conversationId }: Pick<LoggedEvent, 'messageId' | 'conversationId'>,
  ): Promise<MessageRow | null> {
    const message = await loaders.of(this.batch).load(messageId ?? '0');
    return message?.conversationId === conversationId ? message : null;
  }

  /** A message that was there when its sender was told of it; what was removed since is what is left of it. */
  async findTold(loaders: Loaders, viewerId: string, id: string): Promise<MessageRow | null> {
    const message = await loaders.of(this.batch).load(id);
    return message !== null && (await this.isVisible(loaders, viewerId, message)) ? message : null;
  }

  private async isVisible(
    loaders: Loaders,
    viewerId: string,
    { conversationId, position }: MessageRow,
  ): Promise<boolean> {
    const conversation = await this.conversations.find(loaders, viewerId, conversationId);
    if (conversation === null) return false;
    const { visibleFrom, visibleTo } = conversation;
    return (
      (visibleFrom === null || BigInt(position) > BigInt(visibleFrom)) &&
      (visibleTo === null || BigInt(position) <= BigInt(visibleTo))
    );
  }

  private readonly batch = async (ids: readonly string[]): Promise<(MessageRow | null)[]> => {
    const { dialect, reader } = this.database;
    const rows = await reader.all<RawMessage>(
      `SELECT ${COLUMNS('e')} FROM enhanced_messages e WHERE e.id IN (${dialect.idsIn('ids')})`,
      { ids: JSON.stringify(ids) },
    );
    const byId = new Map(rows.map((row) => [row.id, clean(row)]));
    return ids.map((id) => byId.get(id) ?? null);
  };

  /** A page of a conversation's messages. */
  page(
    loaders: Loaders,
    conversation: ConversationRow,
    request: PageRequest<Place>,
  ): Promise<MessagePage> {
    return loaders
      .of(this.batchPages)
      .load(JSON.stringify([conversation.id, this.rangeOf(conversation, request), request]));
  }

  private rangeOf(
    conversation: ConversationRow,
    { after, before }: PageRequest<Place>,
  ): Record<string, string> {
    const bounds = boundsOf(conversation);
    const low = later([bounds.low_position, bounds.low_id], after ?? [LOWEST_ID, LOWEST_ID]);
    const high = earlier(
      [bounds.high_position, bounds.high_id],
      before ?? [HIGHEST_ID, HIGHEST_ID],
    );
    return {
      low_position: low[0],
      low_id: low[1],
      high_position: high[0],
      high_id: high[1],
      // What is visible at all, for the question whether there is more beyond the other end.
      seen_low_position: bounds.low_position,
      seen_low_id: bounds.low_id,
      seen_high_position: bounds.high_position,
      seen_high_id: bounds.high_id,
    };
  }

  /** Requests of one size and direction are read together. */
  private readonly batchPages = async (keys: readonly string[]): Promise<MessagePage[]> => {
    const requests = keys.map((key) => {
      const [id, range, request] = JSON.parse(key) as [
        string,
        Record<string, string>,
        PageRequest<Place>,
      ];
      return { id, range, ...request };
    });
    const pages = new Map<number, MessagePage>();
    const groups = new Map<string, number[]>();
    requests.forEach(({ size, direction }, n) => {
      const group = `${size} ${direction}`;
      groups.set(group, [...(groups.get(group) ?? []), n]);
    });
    const { dialect, reader } = this.database;
    for (const numbers of groups.values()) {
      const { size = 0, direction = 'forward' } = requests[numbers[0] ?? 0] ?? {};
      const order = direction === 'forward' ? 'ASC' : 'DESC';
      const columns = ['n', 'conversation_id', ...BOUNDS, ...BOUNDS.map((name) => `seen_${name}`)];
      const other =
        direction === 'forward'
          ? '(x.position, x.id) > (k.seen_low_position, k.seen_low_id) AND (x.position, x.id) <= (k.low_position, k.low_id)'
          : '(x.position, x.id) >= (k.high_position, k.high_id) AND (x.position, x.id) < (k.seen_high_position, k.seen_high_id)';
      const rows = await reader.all<RawMessage & { n: number | string }>(
        `SELECT k.n, ${COLUMNS('e')} FROM (${dialect.rowsIn('pages', columns)}) AS k
         ${dialect.joinEach('enhanced_messages', 'e', `WHERE ${IS_WITHIN} AND x.removed_at IS NULL ORDER BY x.position ${order}, x.id ${order} LIMIT :size`)}`,
        { pages: JSON.stringify(numbers.map((n) => rowOf(n, requests))), size: size + 1 },
      );
      const others = await reader.all<{ n: number | string; present: boolean | number }>(
        `SELECT k.n, EXISTS (SELECT 1 FROM enhanced_messages x WHERE x.conversation_id = k.conversation_id AND ${other} AND x.removed_at IS NULL) AS present
         FROM (${dialect.rowsIn('pages', columns)}) AS k`,
        { pages: JSON.stringify(numbers.map((n) => rowOf(n, requests))) },
      );
      for (const n of numbers)
        pages.set(n, {
          rows: rows
            .filter((row) => Number(row.n) === n)
            .map(clean)
            .sort(inOrder),
          hasOther: others.some((row) => Number(row.n) === n && Boolean(row.present)),
        });
    }
    return keys.map((_, n) => pages.get(n) ?? { rows: [], hasOther: false });
  };

  /** The newest message that the person may see; null where there is none. */
  async findLast(loaders: Loaders, conversation: ConversationRow): Promise<MessageRow | null> {
    const { rows } = await this.page(loaders, conversation, {
      size: 1,
      direction: 'backward',
      after: null,
      before: null,
    });
    return rows.at(-1) ?? null;
  }

  /** How many messages the person has not read, and the first of them. */
  unread(
    loaders: Loaders,
    conversation: ConversationRow,
  ): Promise<{ count: number; firstId: string | null }> {
    return loaders
      .of(this.batchUnread)
      .load(JSON.stringify([conversation.id, conversation.viewerId, unreadBounds(conversation)]));
  }

  private readonly batchUnread = async (
    keys: readonly string[],
  ): Promise<{ count: number; firstId: string | null }[]> => {
    const { dialect, reader } = this.database;
    const asked = keys.map((key, n) => {
      const [conversation_id, viewer_id, range] = JSON.parse(key) as [
        string,
        string,
        Record<string, string>,
      ];
      return { n: String(n), conversation_id, viewer_id, ...range };
    });
    const isUnread = `${IS_WITHIN} AND (x."status" = 1 OR x."status" = 2) AND x.sender_id IS DISTINCT FROM k.viewer_id`;
    const rows = await reader.all<{
      n: number | string;
      count: number | string;
      firstId: string | null;
    }>(
      `SELECT k.n, (SELECT count(*) FROM enhanced_messages x WHERE ${isUnread}) AS count,
         (SELECT CAST(x.id AS text) FROM enhanced_messages x WHERE ${isUnread} ORDER BY x.position, x.id LIMIT 1) AS "firstId"
       FROM (${dialect.rowsIn('asked', ['n', 'conversation_id', 'viewer_id', ...BOUNDS])}) AS k`,
      { asked: JSON.stringify(asked) },
    );
    const byNumber = new Map(rows.map((row) => [Number(row.n), row]));
    return keys.map((_, n) => {
      const row = byNumber.get(n);
      return { count: Number(row?.count ?? 0), firstId: row?.firstId ?? null };
    });
  };
}

function rowOf(
  n: number,
  requests: readonly { id: string; range: Record<string, string> }[],
): Record<string, string> {
  const request = requests[n];
  return { n: String(n), conversation_id: request?.id ?? '0', ...request?.range };
}

/** What could be unread: visible, behind what he has read, and behind where that began to count. */
function unreadBounds(conversation: ConversationRow): Record<string, string> {
  const { readPosition, readMessageId, unreadFrom } = conversation;
  const { low_position, low_id, ...high } = boundsOf(conversation);
  let low: Place = [low_position, low_id];
  if (unreadFrom !== null) low = later(low, [unreadFrom, HIGHEST_ID]);
  if (readPosition !== null) low = later(low, [readPosition, readMessageId ?? HIGHEST_ID]);
  return { low_position: low[0], low_id: low[1], ...high };
}

function compare([a, b]: Place, [c, d]: Place): number {
  const [first, second] = a === c ? [BigInt(b), BigInt(d)] : [BigInt(a), BigInt(c)];
  return first < second ? -1 : first > second ? 1 : 0;
}

function later(a: Place, b: Place): Place {
  return compare(a, b) < 0 ? b : a;
}

function earlier(a: Place, b: Place): Place {
  return compare(a, b) > 0 ? b : a;
}

function inOrder(a: MessageRow, b: MessageRow): number {
  return compare([a.position, a.id], [b.position, b.id]);
}

/** Flags are numbers on SQLite, and small numbers are numbers on both. */
function clean(row: RawMessage): MessageRow {
  return { ...row, status: Number(row.status), isRemoved: Boolean(row.isRemoved) };
}

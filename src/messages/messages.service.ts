import { Injectable } from '@nestjs/common';
import type { ConversationRow } from '../conversations/conversation-reader.js';
import type { GroupedWrites } from '../database/grouped-writes.js';
import { isUnfit } from '../database/texts.js';
import type { TypingService } from '../presence/typing.service.js';
import { SegueError } from '../errors/segue-error.js';
import {
  checkSize,
  type Connection,
  connectionOf,
  type ConnectionArguments,
  readKey,
  readPageRequest,
  writeKey,
} from '../graphql/connections.js';
import { findDatabaseId, globalId } from '../graphql/global-ids.js';
import type { LoggedEvent } from '../events/event-log.js';
import type { Loaders } from '../graphql/loaders.js';
import type { MessageReader, MessageRow, Place } from './message-reader.js';
import type { MessageDraft, WrittenMessage } from './message-writer.js';
import { type Message, presentMessage, type SendMessageInput } from './message.types.js';

const MOST_CLIENT_ID = 64;
const MOST_TEXT = 20_000;

export interface PageArguments extends ConnectionArguments {
  readonly around?: string | null;
}

/** Messages of signed-in people. */
@Injectable()
export class MessagesService {
  constructor(
    private readonly reader: MessageReader,
    private readonly sends: GroupedWrites<MessageDraft, WrittenMessage>,
    private readonly typing: TypingService,
  ) {}

  /** By its global id; null when it does not exist, or not for this person. */
  async find(loaders: Loaders, viewerId: string, id: string): Promise<Message | null> {
    const key = findDatabaseId('Message', id);
    return key === null ? null : this.findByKey(loaders, viewerId, key);
  }

  async findByKey(loaders: Loaders, viewerId: string, key: string): Promise<Message | null> {
    const row = await this.reader.find(loaders, viewerId, key);
    return row === null ? null : present(row);
  }

  /** What an event tells of a message; who is told was decided before. */
  async findOfEvent(loaders: Loaders, event: LoggedEvent): Promise<Message | null> {
    const row = await this.reader.findOfEvent(loaders, event);
    return row === null ? null : present(row);
  }

  async findLast(loaders: Loaders, conversation: ConversationRow): Promise<Message | null> {
    const row = await this.reader.findLast(loaders, conversation);
    return row === null ? null : present(row);
  }

  async unreadCount(loaders: Loaders, conversation: ConversationRow): Promise<number> {
    return (await this.reader.unread(loaders, conversation)).count;
  }

  async findFirstUnread(loaders: Loaders, conversation: ConversationRow): Promise<Message | null> {
    const { firstId } = await this.reader.unread(loaders, conversation);
    return firstId === null ? null : this.findByKey(loaders, conversation.viewerId, firstId);
  }

  /** A page of a conversation, in its order. */
  async page(
    loaders: Loaders,
    conversation: ConversationRow,
    { around, ...given }: PageArguments,
  ): Promise<Connection<Message>> {
    if (around != null) return this.pageAround(loaders, conversation, around, given);
    const request = readPageRequest<Place>(given, readPlace);
    const { rows, hasOther } = await this.reader.page(loaders, conversation, request);
    return connectionOf(request, rows, hasOther, edgeOf);
  }

  /** A page with a message in its middle, and as many on either side as there are. */
  private async pageAround(
    loaders: Loaders,
    conversation: ConversationRow,
    around: string,
    { first, after, last, before }: ConnectionArguments,
  ): Promise<Connection<Message>> {
    if (after != null || before != null || last != null)
      throw new SegueError(
        'BAD_USER_INPUT',
        'around goes with first only: the page has its own middle.',
      );
    const size = checkSize('first', first);
    const key = findDatabaseId('Message', around);
    const message =
      key === null ? null : await this.reader.find(loaders, conversation.viewerId, key);
    if (message?.conversationId !== conversation.id)
      throw new SegueError('NOT_FOUND', `around: there is no message ${around} here.`);
    const place: Place = [message.position, message.id];
    const beside = { size, after: null, before: null };
    const [older, newer] = await Promise.all([
      this.reader.page(loaders, conversation, { ...beside, direction: 'backward', before: place }),
      this.reader.page(loaders, conversation, { ...beside, direction: 'forward', after: place }),
    ]);
    const room = Math.max(size - 1, 0);
    // Where one side has too few, the other one has more.
    const half = Math.floor(room / 2);
    const fromNewer = Math.min(newer.rows.length, Math.max(room - half, room - older.rows.length));
    const fromOlder = Math.min(older.rows.length, room - fromNewer);
    const rows =
      size === 0
        ? []
        : [
            ...older.rows.slice(older.rows.length - fromOlder),
            message,
            ...newer.rows.slice(0, fromNewer),
          ];
    const edges = rows.map(edgeOf);
    return {
      edges,
      pageInfo: {
        hasNextPage: newer.rows.length > fromNewer,
        hasPreviousPage: older.rows.length > fromOlder,
        startCursor: edges[0]?.cursor ?? null,
        endCursor: edges.at(-1)?.cursor ?? null,
      },
    };
  }

  /**
   * Sends a message: when this resolves it has been committed, and a retry with the same client id gives the same one.
   * @throws SegueError NOT_FOUND, RECIPIENT_GONE, IDEMPOTENCY_CONFLICT, BAD_USER_INPUT.
   */
  async send(loaders: Loaders, viewerId: string, input: SendMessageInput): Promise<Message> {
    const { clientId, text, replyToId } = input;
    if (clientId === '' || clientId.length > MOST_CLIENT_ID || isUnfit(clientId))
      throw new SegueError(
        'BAD_USER_INPUT',
        `clientId has ${clientId.length} characters: it takes 1 to ${MOST_CLIENT_ID}, made anew for each message.`,
      );
    const length = Array.from(text ?? '').length;
    if (text == null || length === 0 || length > MOST_TEXT)
      throw new SegueError(
        'BAD_USER_INPUT',
        `text has ${length} characters: it takes 1 to ${MOST_TEXT}.`,
      );
    if (isUnfit(text))
      throw new SegueError(
        'BAD_USER_INPUT',
        'text has a NUL or half of a surrogate pair in it: leave that out.',
      );
    const conversationId = findDatabaseId('Conversation', input.conversationId);
    if (conversationId === null)
      throw new SegueError(
        'NOT_FOUND',
        `There is no conversation ${input.conversationId}, or you are no member of it.`,
      );
    const reply = replyToId == null ? null : findDatabaseId('Message', replyToId);
    if (replyToId != null && reply === null)
      throw new SegueError(
        'NOT_FOUND',
        `replyToId ${replyToId} is no message of ${input.conversationId} that you may see.`,
      );
    const { messageId, row } = await this.sends.write({
      senderId: viewerId,
      conversationId,
      clientId,
      text,
      kind: 'text',
      replyToId: reply,
    });
    this.typing.end(conversationId, viewerId);
    const message = row ?? (await this.reader.findTold(loaders, viewerId, messageId));
    if (message === null)
      throw new SegueError(
        'NOT_FOUND',
        'The message was sent, and its conversation is gone since.',
      );
    return present(message);
  }
}

function readPlace(cursor: string): Place | null {
  const [position, id] = readKey(cursor, 2) ?? [];
  return position === undefined || id === undefined ? null : [position, id];
}

function edgeOf(row: MessageRow): { cursor: string; node: Message } {
  return { cursor: writeKey(row.position, row.id), node: present(row) };
}

function present(row: MessageRow): Message {
  return presentMessage(row, globalId('Message', row.id));
}

import { Injectable } from '@nestjs/common';
import type { Database } from '../database/database.js';
import { tryAgain } from '../database/try-again.js';
import { SegueError } from '../errors/segue-error.js';
import type { EventHub } from '../events/event-hub.js';
import {
  checkSize,
  type Connection,
  connectionOf,
  readKey,
  writeKey,
} from '../graphql/connections.js';
import { findDatabaseId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';
import { STATUS_CODES } from '../messages/enhanced-message.entities.js';
import type { MessageRow } from '../messages/message-reader.js';
import type { MessageStatus } from '../messages/message.types.js';
import type { ReceiptReader } from './receipt-reader.js';
import type { ReceiptStatus, ReceiptWriter } from './receipt-writer.js';
import { presentReceipt, presentStatus, type Receipt } from './receipt.types.js';

/** Delivered and read, of signed-in people. */
@Injectable()
export class ReceiptsService {
  constructor(
    private readonly database: Database,
    private readonly reader: ReceiptReader,
    private readonly writer: ReceiptWriter,
    private readonly hub: EventHub,
  ) {}

  async statusOf(loaders: Loaders, message: MessageRow): Promise<MessageStatus> {
    return presentStatus(await this.reader.statusOf(loaders, message));
  }

  async list(
    loaders: Loaders,
    viewerId: string,
    message: MessageRow,
    { first, after }: { first?: number | null | undefined; after?: string | null | undefined },
  ): Promise<Connection<Receipt>> {
    const size = checkSize('first', first);
    const [last] = after == null ? [] : (readKey(after, 1) ?? []);
    if (after != null && last === undefined)
      throw new SegueError(
        'BAD_USER_INPUT',
        `after is ${JSON.stringify(after)}, which is no cursor of this list: it takes one that an answer gave.`,
      );
    const all = await this.reader.receiptsOf(loaders, viewerId, message);
    const rest =
      last === undefined ? all : all.filter(({ userId }) => BigInt(userId) > BigInt(last));
    return connectionOf(
      { size, direction: 'forward' },
      rest.slice(0, size + 1),
      rest.length < all.length,
      (row) => ({ cursor: writeKey(row.userId), node: presentReceipt(row) }),
    );
  }

  /** The receipt that an event told of. */
  async find(loaders: Loaders, key: string): Promise<Receipt | null> {
    const row = await this.reader.find(loaders, key);
    return row === null ? null : presentReceipt(row);
  }

  /**
   * Says that a person has got, or read, a conversation up to a message. One that says nothing new changes nothing, and
   * the answer is how far he has come by now.
   * @throws SegueError NOT_FOUND.
   */
  async mark(
    viewerId: string,
    conversationId: string,
    upToMessageId: string,
    status: ReceiptStatus,
  ): Promise<Receipt> {
    const conversation = findDatabaseId('Conversation', conversationId);
    const message = findDatabaseId('Message', upToMessageId);
    if (conversation === null || message === null)
      throw new SegueError(
        'NOT_FOUND',
        `There is no message ${upToMessageId} in ${conversationId} for you.`,
      );
    const reach = await tryAgain(() =>
      this.database.transaction((transaction) =>
        this.writer.write(transaction, {
          userId: viewerId,
          conversationId: conversation,
          messageId: message,
          status,
        }),
      ),
    );
    this.hub.wake();
    return presentReceipt({
      conversationId: conversation,
      userId: viewerId,
      status: STATUS_CODES[status],
      upToMessageId: reach.messageId,
      at: reach.at,
    });
  }
}

import type { Provider } from '@nestjs/common';
import { EventPresenter } from './api/event-presenter.js';
import type { LegacyMapping } from './config/legacy-mapping.js';
import { ConversationReader } from './conversations/conversation-reader.js';
import { ConversationWriter } from './conversations/conversation-writer.js';
import { ConversationsService } from './conversations/conversations.service.js';
import type { Database } from './database/database.js';
import { type Commit, GroupedWrites } from './database/grouped-writes.js';
import type { Bus } from './events/bus.js';
import { EventHub } from './events/event-hub.js';
import { MessageReader } from './messages/message-reader.js';
import {
  type MessageDraft,
  MessageWriter,
  type WrittenMessage,
} from './messages/message-writer.js';
import { MessagesService } from './messages/messages.service.js';
import type { Sides } from './messages/old-side.js';
import { TypingService } from './presence/typing.service.js';
import { ReceiptReader } from './receipts/receipt-reader.js';
import { ReceiptWriter } from './receipts/receipt-writer.js';
import { ReceiptsService } from './receipts/receipts.service.js';

export interface ChatParts {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly sides: Sides;
  readonly hub: EventHub;
  /** To the other processes on the database; null where there are none. */
  readonly bus: Bus | null;
  /** Told of each commit of messages. */
  readonly committed: (commit: Commit) => void;
}

/** The services of a chat, put together. */
export interface Chat {
  readonly conversations: ConversationsService;
  readonly messages: MessagesService;
  readonly receipts: ReceiptsService;
  readonly typing: TypingService;
  readonly reader: ConversationReader;
  readonly groups: ConversationWriter;
  /** The one path on which messages are written, whatever door they come through. */
  readonly sends: GroupedWrites<MessageDraft, WrittenMessage>;
}

export function chatOf({ database, mapping, sides, hub, bus, committed }: ChatParts): Chat {
  const { dialect } = database;
  const reader = new ConversationReader(database);
  const writer = new MessageWriter(dialect, mapping, sides);
  const groups = new ConversationWriter(dialect, mapping, sides);
  const sends = new GroupedWrites<MessageDraft, WrittenMessage>(
    database,
    (transaction, drafts) => writer.write(transaction, drafts),
    (commit) => {
      hub.wake();
      committed(commit);
    },
  );
  const typing = new TypingService(reader, hub, bus?.topic('typing'));
  return {
    conversations: new ConversationsService(database, reader, groups, hub),
    messages: new MessagesService(new MessageReader(database, reader), sends, typing),
    typing,
    reader,
    receipts: new ReceiptsService(
      database,
      new ReceiptReader(database, reader),
      new ReceiptWriter(dialect, sides),
      hub,
    ),
    groups,
    sends,
  };
}

export function chatProviders(
  { conversations, messages, receipts, typing }: Chat,
  hub: EventHub,
): Provider[] {
  return [
    { provide: ConversationsService, useValue: conversations },
    { provide: MessagesService, useValue: messages },
    { provide: ReceiptsService, useValue: receipts },
    { provide: TypingService, useValue: typing },
    { provide: EventHub, useValue: hub },
    EventPresenter,
  ];
}

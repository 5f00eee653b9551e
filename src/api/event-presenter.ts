import { Injectable } from '@nestjs/common';
import { ConversationsService } from '../conversations/conversations.service.js';
import { writeCursor } from '../events/cursor.js';
import type { Delivery } from '../events/event-hub.js';
import type { LoggedEvent } from '../events/event-log.js';
import type { Signal } from '../events/signals.js';
import { globalId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';
import { MessagesService } from '../messages/messages.service.js';
import { PresenceService } from '../presence/presence.service.js';
import { ReceiptsService } from '../receipts/receipts.service.js';
import { DevicesService } from '../users/devices.service.js';
import { UserLookup } from '../users/user-lookup.js';
import {
  ConversationChanged,
  ConversationLeft,
  DeviceChanged,
  type Event,
  MessageAdded,
  MessageChanged,
  MessageRemoved,
  PresenceUpdated,
  ReceiptUpdated,
  ResyncRequired,
  TypingChanged,
} from './event.types.js';

/** Makes of a row of the log what one person is told, in the state of things by now. */
@Injectable()
export class EventPresenter {
  constructor(
    private readonly messages: MessagesService,
    private readonly conversations: ConversationsService,
    private readonly receipts: ReceiptsService,
    private readonly devices: DevicesService,
    private readonly users: UserLookup,
    private readonly presences: PresenceService,
  ) {}

  /** Null where nothing of it is left that the person may see: what took it away is an event too. */
  async present(loaders: Loaders, viewerId: string, delivery: Delivery): Promise<Event | null> {
    const cursor = writeCursor(delivery.place);
    if ('resync' in delivery)
      return Object.assign(new ResyncRequired(), { cursor, reason: delivery.resync });
    if ('signal' in delivery) return this.presentSignal(loaders, viewerId, delivery.signal, cursor);
    const { event } = delivery;
    switch (event.kind) {
      case 'MessageAdded':
      case 'MessageChanged': {
        const message = await this.messages.findTold(loaders, viewerId, event.messageId ?? '0');
        if (message === null) return null;
        const told = event.kind === 'MessageAdded' ? new MessageAdded() : new MessageChanged();
        return Object.assign(told, { cursor, message });
      }
      case 'MessageRemoved': {
        const conversation = await this.conversationOf(loaders, viewerId, event);
        if (conversation === null) return null;
        return Object.assign(new MessageRemoved(), {
          cursor,
          conversationId: conversation.id,
          messageId: globalId('Message', event.messageId ?? '0'),
          conversation,
        });
      }
      case 'ReceiptUpdated': {
        const receipt = await this.receipts.find(loaders, event.subjectId ?? '0');
        const conversation = await this.conversationOf(loaders, viewerId, event);
        if (receipt === null || conversation === null) return null;
        return Object.assign(new ReceiptUpdated(), { cursor, receipt, conversation });
      }
      case 'ConversationChanged': {
        const conversation = await this.conversationOf(loaders, viewerId, event);
        return conversation === null
          ? null
          : Object.assign(new ConversationChanged(), { cursor, conversation });
      }
      case 'ConversationLeft':
        return Object.assign(new ConversationLeft(), {
          cursor,
          conversationId: globalId('Conversation', event.conversationId ?? '0'),
        });
      case 'DeviceChanged': {
        const devices = await this.devices.list(viewerId);
        const device = devices.find(({ id }) => id === globalId('Device', event.subjectId ?? '0'));
        return device === undefined ? null : Object.assign(new DeviceChanged(), { cursor, device });
      }
    }
  }

  private async presentSignal(
    loaders: Loaders,
    viewerId: string,
    signal: Signal,
    cursor: string,
  ): Promise<Event | null> {
    if (signal.kind === 'PresenceUpdated') {
      const presence = await this.presences.findToTell(loaders, viewerId, signal.userId);
      return presence === null ? null : Object.assign(new PresenceUpdated(), { cursor, presence });
    }
    const { conversationId, userId, typing } = signal;
    const user = await this.users.find(userId, loaders);
    return user === null
      ? null
      : Object.assign(new TypingChanged(), {
          cursor,
          conversationId: globalId('Conversation', conversationId),
          user,
          typing,
        });
  }

  private conversationOf(
    loaders: Loaders,
    viewerId: string,
    { conversationId }: LoggedEvent,
  ): ReturnType<ConversationsService['find']> {
    return this.conversations.find(
      loaders,
      viewerId,
      globalId('Conversation', conversationId ?? '0'),
    );
  }
}

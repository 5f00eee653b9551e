import { Injectable } from '@nestjs/common';
import { ConversationsService } from '../conversations/conversations.service.js';
import { type Place, writeCursor } from '../events/cursor.js';
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
import type { SharedEvents } from './telling.js';

/** Makes of a row of the log what people are told, in the state of things by now. */
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

  /**
   * What one of those who may know of it is told: the same object for all of them, where nothing in it depends on who is
   * told. Null where nothing of it is left to be seen: what took it away is an event too.
   */
  present(
    shared: SharedEvents,
    viewerId: string,
    delivery: Delivery,
  ): Promise<Event | null> | Event | null {
    const { loaders, presented } = shared;
    if ('event' in delivery) {
      const { event, batch, place } = delivery;
      if (!isSameForAll(event))
        return this.presentToOne(loaders, viewerId, event, writeCursor(place));
      // All that is told together is read together, before somebody asks for the next of it.
      if (presented.size === 0) this.presentBatch(shared, batch, place);
      const told = presented.get(event);
      if (told === undefined) throw new Error(`Event ${event.id} is not told with its own batch`);
      return told;
    }
    const cursor = writeCursor(delivery.place);
    return 'resync' in delivery
      ? Object.assign(new ResyncRequired(), { cursor, reason: delivery.resync })
      : this.presentSignal(loaders, viewerId, delivery.signal, cursor);
  }

  private presentBatch(
    { loaders, presented }: SharedEvents,
    batch: readonly LoggedEvent[],
    { epoch }: Place,
  ): void {
    for (const event of batch) {
      if (!isSameForAll(event)) continue;
      const made = this.presentToAll(
        loaders,
        event,
        writeCursor({ epoch, id: event.id, at: event.at }),
      ).then((told) => {
        presented.set(event, told);
        return told;
      });
      presented.set(event, made);
      // Who is told of it hears of the error; perhaps nobody gets so far.
      made.catch(() => undefined);
    }
  }

  private async presentToOne(
    loaders: Loaders,
    viewerId: string,
    event: LoggedEvent,
    cursor: string,
  ): Promise<Event | null> {
    if (event.kind === 'DeviceChanged') {
      const devices = await this.devices.list(viewerId);
      const device = devices.find(({ id }) => id === globalId('Device', event.subjectId ?? '0'));
      return device === undefined ? null : Object.assign(new DeviceChanged(), { cursor, device });
    }
    const conversation = await this.conversations.find(
      loaders,
      viewerId,
      globalId('Conversation', event.conversationId ?? '0'),
    );
    return conversation === null
      ? null
      : Object.assign(new ConversationChanged(), { cursor, conversation });
  }

  /** What is the same for everybody who is told. */
  private async presentToAll(
    loaders: Loaders,
    event: LoggedEvent,
    cursor: string,
  ): Promise<Event | null> {
    const conversationId = globalId('Conversation', event.conversationId ?? '0');
    switch (event.kind) {
      case 'MessageAdded':
      case 'MessageChanged': {
        const message = await this.messages.findOfEvent(loaders, event);
        if (message === null) return null;
        // Nearly everybody asks who sent it: of all that are told together in one statement.
        if (message.row.senderId !== null) await this.users.find(message.row.senderId, loaders);
        const told = event.kind === 'MessageAdded' ? new MessageAdded() : new MessageChanged();
        return Object.assign(told, { cursor, message });
      }
      case 'MessageRemoved':
        return Object.assign(new MessageRemoved(), {
          cursor,
          conversationId,
          messageId: globalId('Message', event.messageId ?? '0'),
        });
      case 'ReceiptUpdated': {
        const receipt = await this.receipts.find(loaders, event.subjectId ?? '0');
        return receipt === null ? null : Object.assign(new ReceiptUpdated(), { cursor, receipt });
      }
      case 'ConversationLeft':
        return Object.assign(new ConversationLeft(), { cursor, conversationId });
      case 'ConversationChanged':
      case 'DeviceChanged':
        throw new Error(`${event.kind} is not the same for everybody`);
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
}

/** Whether who is told makes no difference to what an event is presented as. */
function isSameForAll({ kind }: LoggedEvent): boolean {
  return kind !== 'ConversationChanged' && kind !== 'DeviceChanged';
}

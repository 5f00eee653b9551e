import { setTimeout as sleep } from 'node:timers/promises';
import { UseGuards } from '@nestjs/common';
import { Args, Context, ID, Query, Resolver, Subscription } from '@nestjs/graphql';
import { ServedGuard } from '../auth/served.guard.js';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import { explainDatabaseError } from '../database/database-errors.js';
import { SegueError } from '../errors/segue-error.js';
import { readCursor, writeCursor } from '../events/cursor.js';
import { type Delivery, EventHub, type SubscribeOptions } from '../events/event-hub.js';
import { mapped } from '../graphql/mapped.js';
import { Message } from '../messages/message.types.js';
import { keysOf } from '../presence/presence.service.js';
import { Presence } from '../presence/presence.types.js';
import { Receipt } from '../receipts/receipt.types.js';
import { EventPresenter } from './event-presenter.js';
import { Telling } from './telling.js';
import {
  Event,
  MessageAdded,
  PresenceUpdated,
  ReceiptUpdated,
  TypingChanged,
} from './event.types.js';

/** How long a subscription waits for a database that is away, before it asks again, in ms. */
const AWAY_MS = 1_000;

/** What changes, as it changes: docs/protocol.md says what a client can rely on. */
@Resolver()
@UseGuards(SignedInGuard, ServedGuard)
export class EventsResolver {
  private readonly telling = new Telling();

  constructor(
    private readonly hub: EventHub,
    private readonly presenter: EventPresenter,
  ) {}

  @Query(() => String, {
    description: 'Take this first, read state second, then subscribe to events(after:).',
  })
  async eventCursor(): Promise<string> {
    return writeCursor(await this.hub.now());
  }

  @Subscription(() => Event, {
    description:
      'All that concerns the caller. With a cursor: everything missed, in order and once, then live.',
  })
  async events(
    @Viewer() viewer: Viewer,
    @Context() context: GraphQLContext,
    @Args('after', { type: () => String, nullable: true }) after?: string | null,
  ): Promise<AsyncIterable<{ events: Event }>> {
    const events = await this.follow(viewer.id, context, after ?? null);
    return mapped(events, (event) => ({ events: event }));
  }

  @Subscription(() => Message, {
    description: 'New messages from now on, of one conversation or all.',
  })
  async messageAdded(
    @Viewer() viewer: Viewer,
    @Context() context: GraphQLContext,
    @Args('conversationId', { type: () => ID, nullable: true }) conversationId?: string | null,
  ): Promise<AsyncIterable<{ messageAdded: Message }>> {
    const events = await this.follow(viewer.id, context, null);
    return mapped(events, (event) =>
      event instanceof MessageAdded && isOf(event.message.row.conversationId, conversationId)
        ? { messageAdded: event.message }
        : null,
    );
  }

  @Subscription(() => Receipt, { description: 'Receipts from now on, of one conversation or all.' })
  async receiptUpdated(
    @Viewer() viewer: Viewer,
    @Context() context: GraphQLContext,
    @Args('conversationId', { type: () => ID, nullable: true }) conversationId?: string | null,
  ): Promise<AsyncIterable<{ receiptUpdated: Receipt }>> {
    const events = await this.follow(viewer.id, context, null);
    return mapped(events, (event) =>
      event instanceof ReceiptUpdated &&
      (conversationId == null || event.receipt.conversationId === conversationId)
        ? { receiptUpdated: event.receipt }
        : null,
    );
  }

  @Subscription(() => TypingChanged, {
    description: 'Who begins to type in a conversation, or ends.',
  })
  async typingChanged(
    @Viewer() viewer: Viewer,
    @Context() context: GraphQLContext,
    @Args('conversationId', { type: () => ID }) conversationId: string,
  ): Promise<AsyncIterable<{ typingChanged: TypingChanged }>> {
    const events = await this.follow(viewer.id, context, null);
    return mapped(events, (event) =>
      event instanceof TypingChanged && event.conversationId === conversationId
        ? { typingChanged: event }
        : null,
    );
  }

  @Subscription(() => Presence, {
    description: 'Of at most 100 people, as far as they show it to the caller, from now on.',
  })
  async presenceChanged(
    @Viewer() viewer: Viewer,
    @Context() context: GraphQLContext,
    @Args('userIds', { type: () => [ID] }) userIds: string[],
  ): Promise<AsyncIterable<{ presenceChanged: Presence }>> {
    const watched = new Set(keysOf(userIds));
    const events = await this.follow(viewer.id, context, null, { watched });
    return mapped(events, (event) =>
      event instanceof PresenceUpdated && watched.has(event.presence.user.key)
        ? { presenceChanged: event.presence }
        : null,
    );
  }

  /** @throws SegueError BAD_USER_INPUT for a cursor that no log of ours gave. */
  private async follow(
    viewerId: string,
    context: GraphQLContext,
    after: string | null,
    options: SubscribeOptions = {},
  ): Promise<AsyncIterableIterator<Event>> {
    const place = after === null ? null : readCursor(after);
    if (after !== null && place === null)
      throw new SegueError(
        'BAD_USER_INPUT',
        `after is ${JSON.stringify(after.slice(0, 100))}, which is no cursor: it takes one of eventCursor or of an event.`,
      );
    const deliveries = await this.hub.subscribe(viewerId, place, options);
    return mapped(deliveries, (delivery) => this.present(context, viewerId, delivery));
  }

  private present(
    context: GraphQLContext,
    viewerId: string,
    delivery: Delivery,
  ): Promise<Event | null> | Event | null {
    const shared = this.telling.of(delivery);
    context.loaders = shared.loaders;
    const presented = this.presenter.present(shared, viewerId, delivery);
    return presented instanceof Promise
      ? this.tried(presented, context, viewerId, delivery)
      : presented;
  }

  /** What could not be read is read when the database is back. */
  private async tried(
    presented: Promise<Event | null>,
    context: GraphQLContext,
    viewerId: string,
    delivery: Delivery,
  ): Promise<Event | null> {
    try {
      return await presented;
    } catch (error) {
      if (explainDatabaseError(error) === null || error instanceof SegueError) throw error;
      this.telling.forget(delivery);
      await sleep(AWAY_MS);
      return this.present(context, viewerId, delivery);
    }
  }
}

function isOf(key: string, conversationId: string | null | undefined): boolean {
  return conversationId == null || conversationId === `conv_${key}`;
}

import { UseGuards } from '@nestjs/common';
import { Args, Int, Mutation, Query, Resolver, Subscription } from '@nestjs/graphql';
import { SignedInGuard, Viewer } from '../auth/viewer.js';
import type { Account } from '../users/users.service.js';
import { DeprecatedCallGuard } from './deprecated-call.guard.js';
import { LegacyMessage } from './legacy-message.type.js';
import { LegacyFeed } from './legacy-feed.js';
import { LegacyWritesService } from './legacy-writes.service.js';
import { LegacyService } from './legacy.service.js';

/** The old API, kept for clients that were never updated. */
@Resolver()
@UseGuards(SignedInGuard, DeprecatedCallGuard)
export class LegacyResolver {
  constructor(
    private readonly legacy: LegacyService,
    private readonly writes: LegacyWritesService,
    private readonly feed: LegacyFeed,
  ) {}

  @Query(() => [LegacyMessage], {
    deprecationReason: 'Use directConversation(userId).messages: pages by cursor, with receipts.',
    description: 'The newest rows between the caller and a peer, oldest first.',
  })
  messages(
    @Viewer() viewer: Account,
    @Args('userId', { type: () => Int }) userId: number,
    @Args('peerId', { type: () => Int }) peerId: number,
    @Args('limit', { type: () => Int, nullable: true, defaultValue: 50 }) limit: number | null,
    @Args('offset', { type: () => Int, nullable: true, defaultValue: 0 }) offset: number | null,
  ): Promise<LegacyMessage[]> {
    return this.legacy.messages(viewer, userId, peerId, limit, offset);
  }

  @Query(() => [LegacyMessage], {
    deprecationReason: 'Use conversation(id).messages: pages by cursor, with receipts.',
    description: 'The newest rows of a group in which the caller wrote, oldest first.',
  })
  groupMessages(
    @Viewer() viewer: Account,
    @Args('groupId', { type: () => Int }) groupId: number,
    @Args('limit', { type: () => Int, nullable: true, defaultValue: 50 }) limit: number | null,
    @Args('offset', { type: () => Int, nullable: true, defaultValue: 0 }) offset: number | null,
  ): Promise<LegacyMessage[]> {
    return this.legacy.groupMessages(viewer, groupId, limit, offset);
  }

  @Query(() => LegacyMessage, {
    nullable: true,
    deprecationReason: 'Use node(id), with the id msg_… of the message.',
    description: 'One row that the caller may see.',
  })
  message(
    @Viewer() viewer: Account,
    @Args('id', { type: () => Int }) id: number,
  ): Promise<LegacyMessage | null> {
    return this.legacy.message(viewer, id);
  }

  @Query(() => [LegacyMessage], {
    deprecationReason: 'Use conversations, with lastMessage of each.',
    description: 'The newest row of each thread of the caller, newest first.',
  })
  recentMessages(
    @Viewer() viewer: Account,
    @Args('userId', { type: () => Int }) userId: number,
  ): Promise<LegacyMessage[]> {
    return this.legacy.recentMessages(viewer, userId);
  }

  @Query(() => Int, {
    deprecationReason: 'Use conversations, with unreadCount of each.',
    description: 'The number of rows to the caller that are not read.',
  })
  unreadCount(
    @Viewer() viewer: Account,
    @Args('userId', { type: () => Int }) userId: number,
  ): Promise<number> {
    return this.legacy.unreadCount(viewer, userId);
  }

  @Mutation(() => LegacyMessage, {
    deprecationReason: 'Use sendMessage: a retry makes no second message.',
    description: 'Writes to a person or to a group; committed when it answers.',
  })
  createMessage(
    @Viewer() viewer: Account,
    @Args('senderId', { type: () => Int }) senderId: number,
    @Args('content') content: string,
    @Args('recipientId', { type: () => Int, nullable: true }) recipientId?: number | null,
    @Args('groupId', { type: () => Int, nullable: true }) groupId?: number | null,
    @Args('type', { type: () => String, nullable: true, defaultValue: 'text' })
    type?: string | null,
  ): Promise<LegacyMessage> {
    return this.writes.create(viewer, {
      senderId,
      content,
      recipientId: recipientId ?? null,
      groupId: groupId ?? null,
      type: type ?? 'text',
    });
  }

  @Mutation(() => LegacyMessage, {
    deprecationReason: 'Use markRead: one receipt for all messages up to one.',
    description: 'Marks one message to the caller as read.',
  })
  markMessageAsRead(
    @Viewer() viewer: Account,
    @Args('id', { type: () => Int }) id: number,
  ): Promise<LegacyMessage> {
    return this.writes.markAsRead(viewer, id);
  }

  @Subscription(() => LegacyMessage, {
    deprecationReason: 'Use events(after:): nothing is missed while the connection is away.',
    description: 'Each new row that the caller may see, his own excepted, from now on.',
  })
  newMessage(
    @Viewer() viewer: Account,
    @Args('userId', { type: () => Int }) userId: number,
  ): Promise<AsyncIterable<{ newMessage: LegacyMessage }>> {
    return this.feed.follow(viewer, userId);
  }
}

import { UseGuards } from '@nestjs/common';
import { Args, Int, Query, Resolver } from '@nestjs/graphql';
import { SignedInGuard, Viewer } from '../auth/viewer.js';
import type { Account } from '../users/users.service.js';
import { LegacyMessage } from './legacy-message.type.js';
import { LegacyService } from './legacy.service.js';

/** The old API's queries, kept for clients that were never updated. */
@Resolver()
@UseGuards(SignedInGuard)
export class LegacyResolver {
  constructor(private readonly legacy: LegacyService) {}

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
}

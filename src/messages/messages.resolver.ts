import { UseGuards } from '@nestjs/common';
import { Args, Context, ID, Int, Mutation, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { ServedGuard } from '../auth/served.guard.js';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import { Conversation } from '../conversations/conversation.types.js';
import { ConversationsService } from '../conversations/conversations.service.js';
import type { Connection } from '../graphql/connections.js';
import { ReceiptConnection, type Receipt } from '../receipts/receipt.types.js';
import { ReceiptsService } from '../receipts/receipts.service.js';
import { UserLookup } from '../users/user-lookup.js';
import { User } from '../users/user.type.js';
import { Message, MessageConnection, MessageStatus, SendMessageInput } from './message.types.js';
import { MessagesService } from './messages.service.js';
import { ViewerIndependent } from '../graphql/viewer-independence.js';

@Resolver(() => Message)
export class MessagesResolver {
  constructor(
    private readonly service: MessagesService,
    private readonly conversations: ConversationsService,
    private readonly receiptsService: ReceiptsService,
    private readonly users: UserLookup,
  ) {}

  @Mutation(() => Message, {
    description:
      'Answered when it is committed. Idempotent, for ever, on the sender and his clientId.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  sendMessage(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('input') input: SendMessageInput,
  ): Promise<Message> {
    return this.service.send(loaders, viewer.id, input);
  }

  @ResolveField(() => Conversation)
  conversation(
    @Parent() { row }: Message,
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
  ): Promise<Conversation> {
    return this.conversations.get(loaders, viewer.id, row.conversationId);
  }

  @ViewerIndependent()
  @ResolveField(() => User, { nullable: true, description: "Null: the sender's account is gone." })
  sender(
    @Parent() { row }: Message,
    @Context() { loaders }: GraphQLContext,
  ): Promise<User | null> | null {
    return row.senderId === null ? null : this.users.find(row.senderId, loaders);
  }

  @ResolveField(() => Message, { nullable: true })
  replyTo(
    @Parent() { row }: Message,
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
  ): Promise<Message | null> | null {
    return row.replyToId === null
      ? null
      : this.service.findByKey(loaders, viewer.id, row.replyToId);
  }

  @ViewerIndependent()
  @ResolveField(() => MessageStatus)
  status(
    @Parent() { row }: Message,
    @Context() { loaders }: GraphQLContext,
  ): Promise<MessageStatus> {
    return this.receiptsService.statusOf(loaders, row);
  }

  @ResolveField(() => ReceiptConnection)
  receipts(
    @Parent() { row }: Message,
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('first', { type: () => Int, nullable: true }) first?: number | null,
    @Args('after', { type: () => String, nullable: true }) after?: string | null,
  ): Promise<Connection<Receipt>> {
    return this.receiptsService.list(loaders, viewer.id, row, { first, after });
  }

  @ResolveField(() => String, { nullable: true, description: 'To its sender only.' })
  clientId(@Parent() { row }: Message, @Viewer() viewer: Viewer): string | null {
    return row.senderId === viewer.id ? row.clientId : null;
  }
}

/** What a conversation says of its messages. */
@Resolver(() => Conversation)
export class ConversationMessagesResolver {
  constructor(private readonly service: MessagesService) {}

  @ResolveField(() => MessageConnection, {
    description:
      "In the conversation's order. `around`: a page of `first` with that message in the middle.",
  })
  messages(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
    @Args('first', { type: () => Int, nullable: true }) first?: number | null,
    @Args('after', { type: () => String, nullable: true }) after?: string | null,
    @Args('last', { type: () => Int, nullable: true }) last?: number | null,
    @Args('before', { type: () => String, nullable: true }) before?: string | null,
    @Args('around', { type: () => ID, nullable: true }) around?: string | null,
  ): Promise<Connection<Message>> {
    return this.service.page(loaders, row, {
      first: first ?? null,
      after: after ?? null,
      last: last ?? null,
      before: before ?? null,
      around: around ?? null,
    });
  }

  @ResolveField(() => Message, { nullable: true })
  lastMessage(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
  ): Promise<Message | null> {
    return this.service.findLast(loaders, row);
  }

  @ResolveField(() => Message, { nullable: true })
  firstUnreadMessage(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
  ): Promise<Message | null> {
    return this.service.findFirstUnread(loaders, row);
  }

  @ResolveField(() => Int)
  unreadCount(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
  ): Promise<number> {
    return this.service.unreadCount(loaders, row);
  }
}

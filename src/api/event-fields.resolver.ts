import { Context, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { type GraphQLContext, Viewer } from '../auth/viewer.js';
import { Conversation } from '../conversations/conversation.types.js';
import { ConversationsService } from '../conversations/conversations.service.js';
import { MessageRemoved, ReceiptUpdated } from './event.types.js';

/** What of an event depends on who is told, and is read where it is asked for. */
@Resolver(() => MessageRemoved)
export class MessageRemovedResolver {
  constructor(private readonly conversations: ConversationsService) {}

  @ResolveField(() => Conversation, { description: 'What it is without the message.' })
  conversation(
    @Parent() { conversationId }: MessageRemoved,
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
  ): Promise<Conversation> {
    return this.conversations.require(loaders, viewer.id, conversationId);
  }
}

@Resolver(() => ReceiptUpdated)
export class ReceiptUpdatedResolver {
  constructor(private readonly conversations: ConversationsService) {}

  @ResolveField(() => Conversation, {
    description: "Its unread count is another one, where the receipt is the viewer's own.",
  })
  conversation(
    @Parent() { receipt: { conversationId } }: ReceiptUpdated,
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
  ): Promise<Conversation> {
    return this.conversations.require(loaders, viewer.id, conversationId);
  }
}

import { UseGuards } from '@nestjs/common';
import { Args, Context, ID, Mutation, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { ServedGuard } from '../auth/served.guard.js';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import { Conversation } from '../conversations/conversation.types.js';
import { UserLookup } from '../users/user-lookup.js';
import { User } from '../users/user.type.js';
import { TypingService } from './typing.service.js';
import { SetTypingPayload } from './typing.types.js';

@Resolver(() => Conversation)
export class TypingResolver {
  constructor(
    private readonly service: TypingService,
    private readonly users: UserLookup,
  ) {}

  @Mutation(() => SetTypingPayload, {
    description:
      'Expires by itself after 6 s, and when a message is sent: to be said again every few seconds.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  async setTyping(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('conversationId', { type: () => ID }) conversationId: string,
    @Args('typing') typing: boolean,
  ): Promise<SetTypingPayload> {
    return { expiresAt: await this.service.set(loaders, viewer.id, conversationId, typing) };
  }

  @ResolveField(() => [User], { description: 'Who types at the moment, but for the caller.' })
  async typing(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
  ): Promise<User[]> {
    const ids = await this.service.seenBy(loaders, row);
    const users = await Promise.all(ids.map((id) => this.users.find(id, loaders)));
    return users.filter((user) => user !== null);
  }
}

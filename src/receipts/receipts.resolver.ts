import { UseGuards } from '@nestjs/common';
import { Args, Context, ID, Mutation, Parent, ResolveField, Resolver } from '@nestjs/graphql';
import { ServedGuard } from '../auth/served.guard.js';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import { UserLookup } from '../users/user-lookup.js';
import { User } from '../users/user.type.js';
import { Receipt } from './receipt.types.js';
import { ReceiptsService } from './receipts.service.js';
import { ViewerIndependent } from '../graphql/viewer-independence.js';

@Resolver(() => Receipt)
export class ReceiptsResolver {
  constructor(
    private readonly service: ReceiptsService,
    private readonly users: UserLookup,
  ) {}

  @Mutation(() => Receipt, { description: 'Never moves backwards; the answer says how far it is.' })
  @UseGuards(SignedInGuard, ServedGuard)
  markDelivered(
    @Viewer() viewer: Viewer,
    @Args('conversationId', { type: () => ID }) conversationId: string,
    @Args('upToMessageId', { type: () => ID }) upToMessageId: string,
  ): Promise<Receipt> {
    return this.service.mark(viewer.id, conversationId, upToMessageId, 'delivered');
  }

  @Mutation(() => Receipt, { description: 'Never moves backwards; the answer says how far it is.' })
  @UseGuards(SignedInGuard, ServedGuard)
  markRead(
    @Viewer() viewer: Viewer,
    @Args('conversationId', { type: () => ID }) conversationId: string,
    @Args('upToMessageId', { type: () => ID }) upToMessageId: string,
  ): Promise<Receipt> {
    return this.service.mark(viewer.id, conversationId, upToMessageId, 'read');
  }

  @ViewerIndependent()
  @ResolveField(() => User, { nullable: true, description: 'Null: the account is gone.' })
  user(
    @Parent() { userKey }: Receipt,
    @Context() { loaders }: GraphQLContext,
  ): Promise<User | null> {
    return this.users.find(userKey, loaders);
  }
}

import { UseGuards } from '@nestjs/common';
import {
  Args,
  Context,
  ID,
  Mutation,
  Parent,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { ServedGuard } from '../auth/served.guard.js';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import { UserLookup } from '../users/user-lookup.js';
import { User } from '../users/user.type.js';
import { PresenceService } from './presence.service.js';
import { Presence, PresenceStatus } from './presence.types.js';

@Resolver(() => User)
export class PresenceResolver {
  constructor(
    private readonly service: PresenceService,
    private readonly users: UserLookup,
  ) {}

  @Query(() => [Presence], {
    description: 'Of at most 100 people; those whom there are not are left out.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  presence(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('userIds', { type: () => [ID] }) userIds: string[],
  ): Promise<Presence[]> {
    return this.service.of(loaders, viewer.id, userIds);
  }

  @Mutation(() => Presence, {
    description:
      'What the caller is shown as until he says otherwise or goes; OFFLINE: there, and shown to nobody. Without a connection it holds for a minute.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  async setPresence(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('status', { type: () => PresenceStatus }) status: PresenceStatus,
    @Args('customStatus', { type: () => String, nullable: true }) customStatus?: string | null,
  ): Promise<Presence> {
    this.service.say(viewer.id, status, customStatus);
    return this.service.present(loaders, viewer.id, await this.users.get(viewer.id, loaders));
  }

  @ResolveField('presence', () => Presence)
  presenceOf(@Parent() user: User, @Context() context: GraphQLContext): Promise<Presence> {
    return this.service.presentTo(context, user);
  }
}

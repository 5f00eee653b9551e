import { UseGuards } from '@nestjs/common';
import {
  Args,
  Context,
  ID,
  Int,
  Mutation,
  Parent,
  Query,
  ResolveField,
  Resolver,
} from '@nestjs/graphql';
import { ServedGuard } from '../auth/served.guard.js';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import type { Connection } from '../graphql/connections.js';
import { UserLookup } from '../users/user-lookup.js';
import { User } from '../users/user.type.js';
import { titleOf } from './conversation-title.js';
import {
  Conversation,
  ConversationConnection,
  ConversationFilter,
  CreateGroupInput,
  LeaveConversationPayload,
  Participant,
  ParticipantConnection,
  UpdateGroupInput,
} from './conversation.types.js';
import { ConversationsService, presentParticipant } from './conversations.service.js';

@Resolver(() => Conversation)
export class ConversationsResolver {
  constructor(
    private readonly service: ConversationsService,
    private readonly users: UserLookup,
  ) {}

  @Query(() => ConversationConnection, {
    description: 'Those that the caller is in, the one with the latest activity first.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  conversations(
    @Viewer() viewer: Viewer,
    @Args('first', { type: () => Int, nullable: true }) first?: number | null,
    @Args('after', { type: () => String, nullable: true }) after?: string | null,
    @Args('filter', { type: () => ConversationFilter, nullable: true })
    filter?: ConversationFilter | null,
  ): Promise<Connection<Conversation>> {
    return this.service.list(viewer.id, { first, after, filter });
  }

  @Query(() => Conversation, {
    nullable: true,
    description: 'One that the caller is in, or was: then as it was when he left.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  conversation(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('id', { type: () => ID }) id: string,
  ): Promise<Conversation | null> {
    return this.service.find(loaders, viewer.id, id);
  }

  @Query(() => Conversation, { nullable: true, description: 'Null when none exists yet.' })
  @UseGuards(SignedInGuard, ServedGuard)
  directConversation(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('userId', { type: () => ID }) userId: string,
  ): Promise<Conversation | null> {
    return this.service.findDirect(loaders, viewer.id, userId);
  }

  @Mutation(() => Conversation, {
    description: 'Returns the one that exists: two people have exactly one.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  async startDirectConversation(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('userId', { type: () => ID }) userId: string,
  ): Promise<Conversation> {
    const key = await this.service.startDirect(viewer.id, userId);
    return this.service.get(loaders, viewer.id, key);
  }

  @Mutation(() => Conversation, { description: 'The caller becomes its admin.' })
  @UseGuards(SignedInGuard, ServedGuard)
  async createGroup(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('input') input: CreateGroupInput,
  ): Promise<Conversation> {
    const key = await this.service.createGroup(viewer.id, input);
    return this.service.get(loaders, viewer.id, key);
  }

  @Mutation(() => Conversation, { description: 'For its admins.' })
  @UseGuards(SignedInGuard, ServedGuard)
  async updateGroup(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('id', { type: () => ID }) id: string,
    @Args('input') input: UpdateGroupInput,
  ): Promise<Conversation> {
    await this.service.updateGroup(viewer.id, id, input);
    return this.service.require(loaders, viewer.id, id);
  }

  @Mutation(() => Conversation, {
    description: 'For its admins. Who is added sees what comes from then on.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  async addParticipants(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('conversationId', { type: () => ID }) conversationId: string,
    @Args('userIds', { type: () => [ID] }) userIds: string[],
  ): Promise<Conversation> {
    await this.service.addParticipants(viewer.id, conversationId, userIds);
    return this.service.require(loaders, viewer.id, conversationId);
  }

  @Mutation(() => Conversation, { description: 'For its admins.' })
  @UseGuards(SignedInGuard, ServedGuard)
  async removeParticipant(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('conversationId', { type: () => ID }) conversationId: string,
    @Args('userId', { type: () => ID }) userId: string,
  ): Promise<Conversation> {
    await this.service.removeParticipant(viewer.id, conversationId, userId);
    return this.service.require(loaders, viewer.id, conversationId);
  }

  @Mutation(() => LeaveConversationPayload, {
    description: 'What was said until then stays readable.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  async leaveConversation(
    @Viewer() viewer: Viewer,
    @Args('id', { type: () => ID }) id: string,
  ): Promise<LeaveConversationPayload> {
    await this.service.leave(viewer.id, id);
    return { conversationId: id };
  }

  @Mutation(() => Conversation, { description: "A mark of the caller's own, told to nobody." })
  @UseGuards(SignedInGuard, ServedGuard)
  async markUnread(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('conversationId', { type: () => ID }) conversationId: string,
  ): Promise<Conversation> {
    await this.service.markUnread(viewer.id, conversationId);
    return this.service.require(loaders, viewer.id, conversationId);
  }

  @ResolveField(() => String, {
    description: "What a list shows: the group's name, else the others' names.",
  })
  title(@Parent() { row }: Conversation, @Context() context: GraphQLContext): Promise<string> {
    return titleOf(row, context, this.service, this.users);
  }

  @ResolveField(() => User, { nullable: true })
  createdBy(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
  ): Promise<User | null> | null {
    return row.createdBy === null ? null : this.users.find(row.createdBy, loaders);
  }

  @ResolveField(() => ParticipantConnection)
  participants(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
    @Args('first', { type: () => Int, nullable: true }) first?: number | null,
    @Args('after', { type: () => String, nullable: true }) after?: string | null,
  ): Promise<Connection<Participant>> {
    return this.service.participants(loaders, row, { first, after });
  }

  @ResolveField(() => Int)
  async participantCount(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
  ): Promise<number> {
    return (await this.service.members(loaders, row)).length;
  }

  @ResolveField(() => Participant, { nullable: true })
  async myParticipant(
    @Parent() { row }: Conversation,
    @Context() { loaders }: GraphQLContext,
  ): Promise<Participant | null> {
    const members = await this.service.members(loaders, row);
    const mine = members.find(({ userId }) => userId === row.viewerId);
    return mine === undefined ? null : presentParticipant(mine);
  }
}

@Resolver(() => Participant)
export class ParticipantsResolver {
  constructor(private readonly users: UserLookup) {}

  @ResolveField(() => User, { nullable: true, description: 'Null: the account is gone.' })
  user(
    @Parent() { row }: Participant,
    @Context() { loaders }: GraphQLContext,
  ): Promise<User | null> {
    return row.isVacant ? Promise.resolve(null) : this.users.find(row.userId, loaders);
  }
}

import { UseGuards } from '@nestjs/common';
import { Args, Context, ID, Query, Resolver } from '@nestjs/graphql';
import { ServedGuard } from '../auth/served.guard.js';
import { type GraphQLContext, SignedInGuard, Viewer } from '../auth/viewer.js';
import {
  ConversationsService,
  presentParticipant,
} from '../conversations/conversations.service.js';
import { PREFIXES, typeOfId } from '../graphql/global-ids.js';
import { Node } from '../graphql/node.js';
import { MessagesService } from '../messages/messages.service.js';
import { DevicesService } from '../users/devices.service.js';
import { UserLookup } from '../users/user-lookup.js';

@Resolver()
export class NodeResolver {
  constructor(
    private readonly users: UserLookup,
    private readonly devices: DevicesService,
    private readonly conversations: ConversationsService,
    private readonly messages: MessagesService,
  ) {}

  @Query(() => Node, {
    nullable: true,
    description: 'Null when it is absent or not visible to the caller: never tells which.',
  })
  @UseGuards(SignedInGuard, ServedGuard)
  async node(
    @Viewer() viewer: Viewer,
    @Context() { loaders }: GraphQLContext,
    @Args('id', { type: () => ID }) id: string,
  ): Promise<Node | null> {
    switch (typeOfId(id)) {
      case 'User':
        return this.users.findById(id, loaders);
      case 'Conversation':
        return this.conversations.find(loaders, viewer.id, id);
      case 'Message':
        return this.messages.find(loaders, viewer.id, id);
      case 'Device':
        return (await this.devices.list(viewer.id)).find((device) => device.id === id) ?? null;
      case 'Participant': {
        const [conversation = '', user = ''] = id.slice(PREFIXES.Participant.length + 1).split('_');
        const found = await this.conversations.find(
          loaders,
          viewer.id,
          `${PREFIXES.Conversation}_${conversation}`,
        );
        if (found === null) return null;
        const members = await this.conversations.members(loaders, found.row);
        const member = members.find(({ userId }) => userId === user);
        return member === undefined ? null : presentParticipant(member);
      }
      case undefined:
        return null;
    }
  }
}

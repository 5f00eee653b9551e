import { Field, ID, InputType, ObjectType, registerEnumType } from '@nestjs/graphql';
import { PageInfo } from '../graphql/connections.js';
import { Node } from '../graphql/node.js';
import { DateTime } from '../graphql/scalars.js';
import type { ConversationRow, ParticipantRow } from './conversation-reader.js';

export enum ConversationKind {
  DIRECT = 'DIRECT',
  GROUP = 'GROUP',
}
registerEnumType(ConversationKind, { name: 'ConversationKind' });

export enum HistoryState {
  COMPLETE = 'COMPLETE',
  /** @public Clients are told of it already, for when they are served while rows are copied. */
  MIGRATING = 'MIGRATING',
}
registerEnumType(HistoryState, {
  name: 'HistoryState',
  valuesMap: { MIGRATING: { description: 'Older messages are still being moved in.' } },
});

export enum ParticipantRole {
  ADMIN = 'ADMIN',
  MEMBER = 'MEMBER',
}
registerEnumType(ParticipantRole, { name: 'ParticipantRole' });

@ObjectType({ implements: () => [Node], description: 'Two people, or a group.' })
export class Conversation implements Node {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => ConversationKind)
  readonly kind!: ConversationKind;

  @Field(() => String, { nullable: true })
  readonly name!: string | null;

  @Field(() => String, { nullable: true })
  readonly avatarUrl!: string | null;

  @Field(() => DateTime)
  readonly createdAt!: Date;

  @Field(() => DateTime)
  readonly lastActivityAt!: Date;

  @Field(() => Boolean)
  readonly isMarkedUnread!: boolean;

  @Field(() => HistoryState)
  readonly historyState!: HistoryState;

  /** As the viewer sees it; not a field. */
  readonly row!: ConversationRow;
}

@ObjectType()
export class ConversationEdge {
  @Field()
  readonly cursor!: string;

  @Field(() => Conversation)
  readonly node!: Conversation;
}

@ObjectType()
export class ConversationConnection {
  @Field(() => [ConversationEdge])
  readonly edges!: readonly ConversationEdge[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;
}

@ObjectType({ implements: () => [Node], description: 'A member of a conversation.' })
export class Participant implements Node {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => ParticipantRole)
  readonly role!: ParticipantRole;

  @Field(() => DateTime)
  readonly joinedAt!: Date;

  @Field(() => ID, { nullable: true })
  readonly lastReadMessageId!: string | null;

  @Field(() => DateTime, { nullable: true })
  readonly lastReadAt!: Date | null;

  @Field(() => ID, { nullable: true })
  readonly lastDeliveredMessageId!: string | null;

  @Field(() => DateTime, { nullable: true })
  readonly lastDeliveredAt!: Date | null;

  /** Not a field. */
  readonly row!: ParticipantRow;
}

@ObjectType()
export class ParticipantEdge {
  @Field()
  readonly cursor!: string;

  @Field(() => Participant)
  readonly node!: Participant;
}

@ObjectType()
export class ParticipantConnection {
  @Field(() => [ParticipantEdge])
  readonly edges!: readonly ParticipantEdge[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;
}

@ObjectType()
export class LeaveConversationPayload {
  @Field(() => ID)
  readonly conversationId!: string;
}

@InputType()
export class ConversationFilter {
  @Field(() => Boolean, { nullable: true })
  readonly archived?: boolean | null;

  @Field(() => Boolean, { nullable: true })
  readonly unreadOnly?: boolean | null;

  @Field(() => String, { nullable: true })
  readonly search?: string | null;
}

@InputType()
export class CreateGroupInput {
  @Field(() => String, {
    nullable: true,
    description: 'Made by the client: a retry with the same one returns the first group.',
  })
  readonly clientId?: string | null;

  @Field(() => String, { nullable: true })
  readonly name?: string | null;

  @Field(() => [ID])
  readonly participantIds!: string[];

  @Field(() => String, { nullable: true })
  readonly avatarUrl?: string | null;
}

@InputType()
export class UpdateGroupInput {
  @Field(() => String, { nullable: true })
  readonly name?: string | null;

  @Field(() => String, { nullable: true })
  readonly avatarUrl?: string | null;
}

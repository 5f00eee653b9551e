import { Field, ID, InterfaceType, ObjectType } from '@nestjs/graphql';
import { Conversation } from '../conversations/conversation.types.js';
import { ViewerIndependent } from '../graphql/viewer-independence.js';
import { Message } from '../messages/message.types.js';
import { Presence } from '../presence/presence.types.js';
import { Receipt } from '../receipts/receipt.types.js';
import { Device } from '../users/device.types.js';
import { User } from '../users/user.type.js';

@InterfaceType({
  description: 'Something changed. `cursor` is where to go on after it: docs/protocol.md.',
  resolveType: ({ constructor }: Event) => constructor.name,
})
export abstract class Event {
  @ViewerIndependent()
  @Field()
  readonly cursor!: string;
}

@ObjectType({ implements: () => [Event] })
export class MessageAdded implements Event {
  readonly cursor!: string;

  @ViewerIndependent()
  @Field(() => Message)
  readonly message!: Message;
}

@ObjectType({ implements: () => [Event], description: 'Its text, or its status by the old app.' })
export class MessageChanged implements Event {
  readonly cursor!: string;

  @ViewerIndependent()
  @Field(() => Message)
  readonly message!: Message;
}

@ObjectType({ implements: () => [Event], description: 'Deleted by the old app.' })
export class MessageRemoved implements Event {
  readonly cursor!: string;

  @ViewerIndependent()
  @Field(() => ID)
  readonly conversationId!: string;

  @ViewerIndependent()
  @Field(() => ID)
  readonly messageId!: string;
}

@ObjectType({ implements: () => [Event] })
export class ReceiptUpdated implements Event {
  readonly cursor!: string;

  @ViewerIndependent()
  @Field(() => Receipt)
  readonly receipt!: Receipt;
}

@ObjectType({
  implements: () => [Event],
  description: "Made, named, with other members, or with the viewer's own marks changed.",
})
export class ConversationChanged implements Event {
  readonly cursor!: string;

  @Field(() => Conversation)
  readonly conversation!: Conversation;
}

@ObjectType({
  implements: () => [Event],
  description: 'The viewer left it or was removed: he gets nothing more of it.',
})
export class ConversationLeft implements Event {
  readonly cursor!: string;

  @ViewerIndependent()
  @Field(() => ID)
  readonly conversationId!: string;
}

@ObjectType({ implements: () => [Event] })
export class DeviceChanged implements Event {
  readonly cursor!: string;

  @Field(() => Device)
  readonly device!: Device;
}

@ObjectType({
  implements: () => [Event],
  description:
    'Somebody begins to type, or ends. Not durable: its cursor is that of the last event before it.',
})
export class TypingChanged implements Event {
  readonly cursor!: string;

  @ViewerIndependent()
  @Field(() => ID)
  readonly conversationId!: string;

  @ViewerIndependent()
  @Field(() => User)
  readonly user!: User;

  @ViewerIndependent()
  @Field()
  readonly typing!: boolean;
}

@ObjectType({
  implements: () => [Event],
  description:
    'Somebody with whom the viewer has a conversation came, went or is shown as something else. Not durable, as TypingChanged.',
})
export class PresenceUpdated implements Event {
  readonly cursor!: string;

  @Field(() => Presence)
  readonly presence!: Presence;
}

@ObjectType({
  implements: () => [Event],
  description:
    'There may be a gap: the cursor is too old, or of another log. Fetch everything anew; what follows comes after this cursor.',
})
export class ResyncRequired implements Event {
  readonly cursor!: string;

  @ViewerIndependent()
  @Field()
  readonly reason!: string;
}

/** All types of events, which no field names: they have to be told to the schema. */
export const EVENT_TYPES = [
  MessageAdded,
  MessageChanged,
  MessageRemoved,
  ReceiptUpdated,
  ConversationChanged,
  ConversationLeft,
  DeviceChanged,
  TypingChanged,
  PresenceUpdated,
  ResyncRequired,
] as const;

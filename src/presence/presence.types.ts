import { Field, ObjectType, registerEnumType } from '@nestjs/graphql';
import { DateTime } from '../graphql/scalars.js';
import { User } from '../users/user.type.js';

export enum PresenceStatus {
  ONLINE = 'ONLINE',
  AWAY = 'AWAY',
  BUSY = 'BUSY',
  OFFLINE = 'OFFLINE',
}
registerEnumType(PresenceStatus, { name: 'PresenceStatus' });

@ObjectType({
  description:
    'Whether somebody is there. To whom he hides when he was last seen, he is offline and was never there.',
})
export class Presence {
  @Field(() => User)
  readonly user!: User;

  @Field(() => PresenceStatus)
  readonly status!: PresenceStatus;

  @Field(() => DateTime, { nullable: true, description: 'Null while he is there.' })
  readonly lastSeenAt!: Date | null;

  @Field(() => String, { nullable: true })
  readonly customStatus!: string | null;
}

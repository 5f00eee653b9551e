import { Field, ID, InputType, ObjectType } from '@nestjs/graphql';
import { DateTime } from '../graphql/scalars.js';
import { Node } from '../graphql/node.js';

@ObjectType({ description: 'A device that somebody signed in on.', implements: () => [Node] })
export class Device implements Node {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => String, { nullable: true })
  readonly deviceId!: string | null;

  @Field(() => String, { nullable: true })
  readonly deviceType!: string | null;

  @Field(() => DateTime, { nullable: true })
  readonly lastActiveAt!: Date | null;
}

@InputType()
export class DeviceInput {
  @Field(() => String, { description: "The client's own name for the device, the same each time." })
  readonly deviceId!: string;

  @Field(() => String, { nullable: true })
  readonly deviceType?: string | null;

  @Field(() => String, { nullable: true })
  readonly pushToken?: string | null;
}

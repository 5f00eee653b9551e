import { Field, ObjectType } from '@nestjs/graphql';
import { DateTime } from '../graphql/scalars.js';

@ObjectType()
export class SetTypingPayload {
  @Field(() => DateTime, {
    nullable: true,
    description: 'When it expires unless it is said again; null: not typing.',
  })
  readonly expiresAt!: Date | null;
}

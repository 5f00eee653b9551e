import { Field, Int, ObjectType } from '@nestjs/graphql';

/** One row of the old messages table, under the names of its columns: what old clients have always got. */
@ObjectType('LegacyMessage', {
  description:
    'One row of the old messages table, column for column, as the old API gave it: created_at is the stored text. An id beyond 32 bits is LEGACY_ID_OUT_OF_RANGE.',
})
export class LegacyMessage {
  @Field(() => Int)
  id!: number;

  @Field(() => Int)
  sender_id!: number;

  @Field(() => Int, { nullable: true })
  recipient_id!: number | null;

  @Field(() => Int, { nullable: true })
  group_id!: number | null;

  @Field(() => String, { nullable: true })
  content!: string | null;

  @Field(() => String, { nullable: true })
  type!: string | null;

  @Field(() => String, { nullable: true })
  status!: string | null;

  @Field(() => String, { nullable: true })
  created_at!: string | null;
}

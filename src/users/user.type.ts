import { Field, ID, ObjectType } from '@nestjs/graphql';
import { DateTime } from '../graphql/scalars.js';
import { Node } from '../graphql/node.js';
import { ViewerIndependent } from '../graphql/viewer-independence.js';

/** A person. `name` and `phone` depend on who asks, and are resolved by `UserFieldsResolver`. */
@ObjectType({ description: 'A person.', implements: () => [Node] })
export class User implements Node {
  @ViewerIndependent()
  @Field(() => ID)
  readonly id!: string;

  @ViewerIndependent()
  @Field(() => String, { nullable: true })
  readonly username!: string | null;

  @ViewerIndependent()
  @Field(() => String, { nullable: true })
  readonly avatarUrl!: string | null;

  @ViewerIndependent()
  @Field(() => String, { nullable: true })
  readonly bio!: string | null;

  @ViewerIndependent()
  @Field(() => Boolean)
  readonly isVerified!: boolean;

  @ViewerIndependent()
  @Field(() => DateTime, {
    description: '1970-01-01T00:00:00.000Z where the old database does not say when.',
  })
  readonly createdAt!: Date;

  /** The database's key; not a field, as all that follows. */
  readonly key!: string;
  readonly ownName!: string | null;
  readonly ownPhone!: string | null;
}

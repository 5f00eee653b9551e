import { Field, ObjectType } from '@nestjs/graphql';
import { DateTime } from '../graphql/scalars.js';
import { User } from '../users/user.type.js';

@ObjectType({ description: 'A code was sent, whether or not the number is known.' })
export class VerificationRequest {
  @Field(() => String, { description: 'The number as it was read: in E.164 where it can be.' })
  readonly phone!: string;

  @Field(() => DateTime)
  readonly expiresAt!: Date;

  @Field(() => DateTime, {
    description: 'When to offer another code. It replaces this one.',
  })
  readonly resendAfter!: Date;
}

@ObjectType()
export class AuthPayload {
  @Field(() => String, { description: 'Good for 15 minutes: "authorization: Bearer …".' })
  readonly accessToken!: string;

  @Field(() => String, { description: 'Good for 90 days, and for one use.' })
  readonly refreshToken!: string;

  @Field(() => User)
  readonly user!: User;
}

@ObjectType()
export class SignOutPayload {
  @Field(() => Boolean, {
    description: "False where the token has no session to end, as that of 'segue token'.",
  })
  readonly signedOut!: boolean;
}

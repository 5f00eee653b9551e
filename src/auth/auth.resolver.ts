import { UseGuards } from '@nestjs/common';
import { Args, Context, Mutation, Resolver } from '@nestjs/graphql';
import { DeviceInput } from '../users/device.types.js';
import { AuthPayload, SignOutPayload, VerificationRequest } from './auth.types.js';
import { ClientSessions } from './client-sessions.js';
import { SignInService } from './sign-in.service.js';
import { type GraphQLContext, SignedInGuard, Viewer } from './viewer.js';

/** Signing in and out. */
@Resolver()
export class AuthResolver {
  constructor(
    private readonly signIn: SignInService,
    private readonly clients: ClientSessions,
  ) {}

  @Mutation(() => VerificationRequest, {
    description: 'Sends a code of six digits to a phone, at most five an hour.',
  })
  requestVerification(@Args('phone') phone: string): Promise<VerificationRequest> {
    return this.signIn.requestVerification(phone);
  }

  @Mutation(() => AuthPayload, {
    description:
      'Signs in with a code, which makes the account of a new number. With the header "x-segue-session: cookie" the tokens are set as HttpOnly cookies too.',
  })
  async verify(
    @Args('phone') phone: string,
    @Args('code') code: string,
    @Args('device', { type: () => DeviceInput, nullable: true }) device: DeviceInput | null,
    @Context() context: GraphQLContext,
  ): Promise<AuthPayload> {
    return this.clients.enter(context, await this.signIn.verify(phone, code, device ?? null));
  }

  @Mutation(() => AuthPayload, {
    description:
      'New tokens for a refresh token, which is good for one use: shown again, it ends the session. An empty text takes the one in the cookie.',
  })
  refreshToken(
    @Args('refreshToken') refreshToken: string,
    @Context() context: GraphQLContext,
  ): Promise<AuthPayload> {
    return this.clients.refresh(context, refreshToken);
  }

  @Mutation(() => SignOutPayload, {
    description: "Ends the session of the caller's token at once, and clears its cookies.",
  })
  @UseGuards(SignedInGuard)
  signOut(@Viewer() viewer: Viewer, @Context() context: GraphQLContext): Promise<SignOutPayload> {
    return this.clients.leave(context, viewer);
  }
}

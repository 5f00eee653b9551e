import { Injectable } from '@nestjs/common';
import { SegueError } from '../errors/segue-error.js';
import type { UserLookup } from '../users/user-lookup.js';
import type { AuthPayload, SignOutPayload } from './auth.types.js';
import {
  ACCESS_COOKIE,
  findCookie,
  REFRESH_COOKIE,
  type SessionCookies,
  wantsCookies,
} from './session-cookies.js';
import { type OpenSession, REFRESH_SECONDS, type SessionsService } from './sessions.service.js';
import type { SignInService } from './sign-in.service.js';
import { ACCESS_SECONDS, type TokensService } from './tokens.service.js';
import type { GraphQLContext, Viewer } from './viewer.js';

/** Hands sessions to clients: as tokens in the answer, and as cookies for a browser that asks for them. */
@Injectable()
export class ClientSessions {
  constructor(
    private readonly signIn: SignInService,
    private readonly sessions: SessionsService,
    private readonly tokens: TokensService,
    private readonly lookup: UserLookup,
    private readonly cookies: SessionCookies,
  ) {}

  /** The answer to whoever signed in, who is the operation's viewer from here on. */
  async enter(
    context: GraphQLContext,
    { account, refresh }: OpenSession,
    asCookies = wantsCookies(context.headers),
  ): Promise<AuthPayload> {
    const { sessionId } = refresh;
    const accessToken = await this.tokens.issueFor(account, sessionId);
    context.viewer = Promise.resolve({ ...account, sessionId, expiresAt: null });
    if (asCookies && context.reply !== undefined) {
      this.cookies.set(context.reply, ACCESS_COOKIE, accessToken, ACCESS_SECONDS);
      this.cookies.set(context.reply, REFRESH_COOKIE, refresh.token, REFRESH_SECONDS);
    }
    const user = await this.lookup.get(account.id, context.loaders);
    return { accessToken, refreshToken: refresh.token, user };
  }

  /**
   * Lets a session go on. What came from a cookie goes back into it.
   * @throws SegueError UNAUTHENTICATED, NOT_EXPANDED; FORBIDDEN when the cookie came along from another site.
   */
  async refresh(context: GraphQLContext, token: string): Promise<AuthPayload> {
    if (token !== '') return this.enter(context, await this.signIn.refresh(token));
    // On a WebSocket the new token could not go into the cookie, and the old one in it would end the session.
    const kept =
      context.reply === undefined ? undefined : findCookie(context.headers, REFRESH_COOKIE);
    if (kept === undefined)
      throw new SegueError(
        'UNAUTHENTICATED',
        `refreshToken is empty, and no cookie ${REFRESH_COOKIE} came by HTTP: sign in again.`,
      );
    try {
      return await this.enter(context, await this.signIn.refresh(kept), true);
    } catch (error) {
      if (error instanceof SegueError && error.code === 'UNAUTHENTICATED') this.forget(context);
      throw error;
    }
  }

  async leave(context: GraphQLContext, { sessionId }: Viewer): Promise<SignOutPayload> {
    await this.sessions.checkExpanded();
    const signedOut = sessionId !== null && (await this.sessions.end(sessionId));
    this.forget(context);
    return { signedOut };
  }

  private forget({ reply }: GraphQLContext): void {
    if (reply !== undefined) this.cookies.clear(reply);
  }
}

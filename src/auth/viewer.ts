import type { IncomingHttpHeaders } from 'node:http';
import {
  type CanActivate,
  createParamDecorator,
  type ExecutionContext,
  Injectable,
} from '@nestjs/common';
import { GqlExecutionContext } from '@nestjs/graphql';
import { SegueError } from '../errors/segue-error.js';
import { Loaders } from '../graphql/loaders.js';
import type { Account } from '../users/users.service.js';
import { clientNameOf } from './client-name.js';
import { type CookieReply, findCookie, ACCESS_COOKIE } from './session-cookies.js';
import { TokensService } from './tokens.service.js';

/** The signed-in person, and the session that his token belongs to. */
export interface Viewer extends Account {
  /** null: a token of `segue token` or of the old app, which no sign-out ends. */
  readonly sessionId: string | null;
  /** When such a token runs out, in seconds since 1970; null where the session decides. */
  readonly expiresAt: number | null;
}

/** What a GraphQL operation is executed with. One check of the token serves all fields of an operation. */
export interface GraphQLContext {
  readonly headers: IncomingHttpHeaders;
  readonly authorization: string | undefined;
  /** A subscription has new ones for each event, or it would tell of what was so at the one before. */
  loaders: Loaders;
  /** The answer that cookies go into; a WebSocket has none. */
  readonly reply: CookieReply | undefined;
  /** What the client calls itself, for whoever asks: most operations do not; and the deprecated fields that it has called. */
  readonly client: () => string;
  readonly deprecated: Set<string>;
  viewer?: Promise<Viewer>;
}

/**
 * The context of one operation: of an HTTP request, with its headers and its answer; or on a WebSocket, with the
 * headers of its upgrade request and the `authorization` of its connection's parameters.
 */
export function contextOf(
  headers: IncomingHttpHeaders,
  {
    authorization = headers.authorization,
    reply,
    client = () => clientNameOf(headers),
  }: {
    authorization?: string | undefined;
    reply?: CookieReply | undefined;
    client?: () => string;
  } = {},
): GraphQLContext {
  return {
    headers,
    authorization,
    loaders: new Loaders(),
    reply,
    client,
    deprecated: new Set(),
  };
}

/** Lets a field be asked only by a signed-in person. */
@Injectable()
export class SignedInGuard implements CanActivate {
  constructor(private readonly tokens: TokensService) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    await this.viewerOf(graphqlContext(context));
    return true;
  }

  /**
   * The viewer of an operation, or of a WebSocket that begins, whose context it is put into.
   * @throws SegueError UNAUTHENTICATED, FORBIDDEN.
   */
  async viewerOf(context: GraphQLContext): Promise<Viewer> {
    context.viewer ??= this.tokens.check(tokenOf(context));
    return context.viewer;
  }
}

/** The signed-in person, behind `SignedInGuard`. */
export const Viewer = createParamDecorator(
  (_: unknown, context: ExecutionContext): Promise<Viewer> | undefined =>
    graphqlContext(context).viewer,
);

function graphqlContext(context: ExecutionContext): GraphQLContext {
  return GqlExecutionContext.create(context).getContext<GraphQLContext>();
}

/**
 * The access token of an operation: that of its authorization, else that of its cookie.
 * @throws SegueError UNAUTHENTICATED without one; FORBIDDEN when a cookie came along from another site.
 */
function tokenOf({ headers, authorization }: GraphQLContext): string {
  const token =
    authorization === undefined
      ? findCookie(headers, ACCESS_COOKIE)
      : /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (token === undefined)
    throw new SegueError(
      'UNAUTHENTICATED',
      `Send the header "authorization: Bearer TOKEN", or sign in with requestVerification and verify; 'segue token WHO' prints a token.`,
    );
  return token;
}

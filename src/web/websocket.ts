import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { Logger } from '@nestjs/common';
import {
  type DocumentNode,
  type ExecutionResult,
  type FormattedExecutionResult,
  getOperationAST,
  GraphQLError,
  type GraphQLSchema,
  OperationTypeNode,
} from 'graphql';
import { CloseCode } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { clientNameOf } from '../auth/client-name.js';
import { ACCESS_COOKIE, findCookie } from '../auth/session-cookies.js';
import { contextOf, type GraphQLContext, type SignedInGuard } from '../auth/viewer.js';
import { messageOf, SegueError } from '../errors/segue-error.js';
import { Corks } from './corks.js';
import type { Deprecation } from './deprecation.js';
import { Documents } from './documents.js';
import { formatError } from './graphql-errors.js';
import { SharedResults } from './shared-results.js';

/** The largest frame that a client may send, in bytes: as the largest request. */
const LARGEST_FRAME = 1_048_576;

/** How often it is asked whether the session of a connection still stands, and whether its reader reads, in ms. */
const LOOK_MS = 5_000;

/** For how many looks a connection may take nothing of what waits for it before it is cut. */
const STALLED_LOOKS = 3;

/** How long those who are sent away may take to answer before they are cut, in ms. */
const LEAVE_MS = 5_000;

/** "Try again later": clients of graphql-ws come back, and go on from their cursor. */
const TRY_AGAIN = 1013;
const GOING_AWAY = 1012;
const AWAY = 'The database is away: come back, and go on from your cursor';

export interface WebSocketParts {
  /** Told of each connection under somebody's own name; what it returns is called when it has ended. */
  readonly arrive: (userId: string) => () => void;
  readonly deprecation: Deprecation;
}

export interface WebSocketDoor {
  readonly connections: number;
  /** Sends everybody away with a code that makes them come back. */
  close(): Promise<void>;
}

/**
 * Serves GraphQL on WebSockets at `/graphql` (graphql-transport-ws): subscriptions, queries and mutations. Who connects
 * says who he is by `connectionParams.authorization`, or by his browser's cookie; who says nothing may sign in.
 *
 * Whoever has a connection under his own name is there, for as long as it lasts.
 *
 * A connection whose session ends is closed with 4403; with 1013 one that reads nothing for 15 s although something
 * waits (until then that is no more than 16 KiB and one event a subscription), and one whose event could not be read, or whose
 * subscription could not begin, since the database was away.
 */
export function serveWebSocket(
  server: Server,
  schema: GraphQLSchema,
  guard: SignedInGuard,
  { arrive, deprecation }: WebSocketParts,
): WebSocketDoor {
  const logger = new Logger('WebSocket');
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: LARGEST_FRAME,
    handleProtocols: (offered) =>
      offered.has('graphql-transport-ws') ? 'graphql-transport-ws' : false,
  });
  const viewers = new WeakMap<WebSocket, GraphQLContext>();
  const documents = new Documents(schema);
  const results = new SharedResults(schema);
  const corks = new Corks();
  const withNotices = async (
    data: ExecutionResult['data'],
    context: GraphQLContext,
  ): Promise<FormattedExecutionResult> => {
    const deprecations = await deprecation.notices(schema, context);
    return {
      data: data ?? null,
      ...(deprecations === null ? {} : { extensions: { deprecations } }),
    };
  };

  const disposable = useServer(
    {
      schema,
      subscribe: (args) => results.subscribe(args),
      onConnect: async ({ connectionParams, extra: { request, socket } }) => {
        const context = contextFrom(request, connectionParams);
        // Who says nothing may sign in here, or name himself with each operation, as GraphiQL does.
        if (!isNamed(context)) return true;
        try {
          const { id } = await guard.viewerOf(context);
          viewers.set(socket, context);
          // It may have ended while the token was checked.
          if (socket.readyState === socket.OPEN) socket.once('close', arrive(id));
          return true;
        } catch (error) {
          const isRefused =
            error instanceof SegueError && ['UNAUTHENTICATED', 'FORBIDDEN'].includes(error.code);
          if (!isRefused) logger.error(messageOf(error));
          // That the database is away says nothing about the token: who comes back may be let in.
          socket.close(isRefused ? CloseCode.Forbidden : TRY_AGAIN, reasonOf(error));
          return false;
        }
      },
      onSubscribe: (_context, _id, { query, operationName, variables }) => {
        const document = documents.read(query);
        return 'kind' in document
          ? {
              schema,
              document,
              operationName: operationName ?? null,
              variableValues: variables ?? null,
            }
          : document;
      },
      context: ({ connectionParams, extra: { request } }, _id, { extensions }) =>
        contextFrom(request, connectionParams, extensions?.headers) as unknown as Record<
          string,
          unknown
        >,
      onError: ({ extra: { socket } }, _id, { query, operationName }, given) => {
        const errors = given.map(presentError);
        // A subscription that cannot begin now can later: clients come back by themselves, but not from an error.
        const document = documents.read(query);
        if (areUnavailable(errors) && 'kind' in document && isSubscription(document, operationName))
          socket.close(TRY_AGAIN, AWAY);
        return errors;
      },
      onNext: ({ extra: { socket } }, _id, _payload, args, result) => {
        const { document, operationName } = args;
        const context = args.contextValue as GraphQLContext | undefined;
        if (result.errors === undefined)
          return context === undefined ||
            context.deprecated.size === 0 ||
            isSubscription(document, operationName)
            ? undefined
            : withNotices(result.data, context);
        const errors = result.errors.map(presentError);
        // An event that is told without its content is lost to who goes on behind it: he has to come back for it.
        if (areUnavailable(errors) && isSubscription(document, operationName))
          socket.close(TRY_AGAIN, AWAY);
        return { data: result.data ?? null, errors };
      },
    },
    sockets,
  );

  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (request.url?.split('?', 1)[0] !== '/graphql') return;
    sockets.handleUpgrade(request, socket, head, (accepted) => {
      corks.add(accepted, socket);
      sockets.emit('connection', accepted, request);
    });
  };
  server.on('upgrade', onUpgrade);

  const watch = new Watch(viewers, guard, logger);
  const timer = setInterval(() => {
    for (const socket of sockets.clients) void watch.look(socket);
  }, LOOK_MS);
  timer.unref();

  return {
    get connections() {
      return sockets.clients.size;
    },
    close: async () => {
      clearInterval(timer);
      server.off('upgrade', onUpgrade);
      for (const socket of sockets.clients) socket.close(GOING_AWAY, 'The server ends: come back');
      const late = setTimeout(() => {
        for (const socket of sockets.clients) socket.terminate();
      }, LEAVE_MS);
      await disposable.dispose();
      clearTimeout(late);
    },
  };
}

/** @param headers what an operation says of itself, where its connection said nothing */
function contextFrom(
  request: IncomingMessage,
  parameters: Readonly<Record<string, unknown>> | undefined,
  headers?: unknown,
): GraphQLContext {
  const [ofConnection, ofOperation] = [authorizationIn(parameters), authorizationIn(headers)];
  const authorization = ofConnection ?? request.headers.authorization ?? ofOperation;
  const client = (): string =>
    clientNameOf(request.headers, { ...objectOf(parameters), ...objectOf(headers) });
  return contextOf(request.headers, { authorization, client });
}

function objectOf(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}

function authorizationIn(parameters: unknown): string | undefined {
  if (typeof parameters !== 'object' || parameters === null) return undefined;
  const { authorization, Authorization } = parameters as Readonly<Record<string, unknown>>;
  const value = authorization ?? Authorization;
  return typeof value === 'string' ? value : undefined;
}

function isNamed({ authorization, headers }: GraphQLContext): boolean {
  return authorization !== undefined || findCookie(headers, ACCESS_COOKIE) !== undefined;
}

function areUnavailable(errors: readonly ReturnType<typeof presentError>[]): boolean {
  return errors.some(({ extensions }) => extensions?.code === 'UNAVAILABLE');
}

function isSubscription(document: DocumentNode, operationName: string | null | undefined): boolean {
  return getOperationAST(document, operationName)?.operation === OperationTypeNode.SUBSCRIPTION;
}

/** The same form as over HTTP. */
function presentError(error: unknown): ReturnType<typeof formatError> {
  const graphql =
    error instanceof GraphQLError
      ? error
      : new GraphQLError(messageOf(error), {
          originalError: error instanceof Error ? error : undefined,
        });
  const formatted = graphql.toJSON();
  const isOfDocument =
    formatted.extensions?.code === undefined && graphql.originalError === undefined;
  return formatError(
    isOfDocument ? { ...formatted, extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } } : formatted,
    graphql,
  );
}

/** No more than a close frame takes: 123 bytes. */
function reasonOf(error: unknown): string {
  const text = error instanceof SegueError ? `${error.code}: ${error.message}` : 'INTERNAL';
  return Buffer.from(text)
    .subarray(0, 120)
    .toString('utf8')
    .replace(/\uFFFD+$/, '');
}

/** Looks after connections that are there. */
class Watch {
  private readonly stalled = new WeakMap<WebSocket, { waiting: number; looks: number }>();

  constructor(
    private readonly viewers: WeakMap<WebSocket, GraphQLContext>,
    private readonly guard: SignedInGuard,
    private readonly logger: Logger,
  ) {}

  async look(socket: WebSocket): Promise<void> {
    this.checkReads(socket);
    const context = this.viewers.get(socket);
    if (context === undefined || socket.readyState !== socket.OPEN) return;
    try {
      // Asked anew: what the connection began with says nothing of its session by now.
      await this.guard.viewerOf(contextOf(context.headers, context));
    } catch (error) {
      // That the database is away for a moment says nothing about the session.
      if (error instanceof SegueError && error.code === 'UNAUTHENTICATED')
        socket.close(CloseCode.Forbidden, reasonOf(error));
      else this.logger.warn(`A session could not be looked at: ${messageOf(error)}`);
    }
  }

  /** What waits in a connection's buffer and is not getting less, nobody reads. */
  private checkReads(socket: WebSocket): void {
    const waiting = socket.bufferedAmount;
    const before = this.stalled.get(socket);
    if (waiting === 0 || before === undefined || waiting < before.waiting) {
      this.stalled.set(socket, { waiting, looks: 0 });
      return;
    }
    const looks = before.looks + 1;
    this.stalled.set(socket, { waiting, looks });
    if (looks < STALLED_LOOKS) return;
    socket.close(TRY_AGAIN, 'Nothing was read: come back, and go on from your cursor');
    // The close frame waits behind what is not read.
    setTimeout(() => {
      socket.terminate();
    }, LOOK_MS).unref();
  }
}

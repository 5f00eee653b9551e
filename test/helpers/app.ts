import { fastifyCookie } from '@fastify/cookie';
import { NestFactory } from '@nestjs/core';
import { GraphQLSchemaHost } from '@nestjs/graphql';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import {
  execute,
  type ExecutionResult,
  type GraphQLSchema,
  parse,
  subscribe,
  validate,
} from 'graphql';
import { AppModule } from '../../src/app.module.js';
import type { IssuedCode } from '../../src/auth/code-sender.js';
import { issueToken } from '../../src/auth/tokens.service.js';
import { contextOf } from '../../src/auth/viewer.js';
import {
  checkServes,
  keepsLastSeen,
  servedSidesAt,
  StagedSides,
} from '../../src/changeover/sides.js';
import { hasReached, readState } from '../../src/changeover/stage.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { EventHub } from '../../src/events/event-hub.js';
import { DeprecatedCalls } from '../../src/legacy/deprecated-calls.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { PresenceService } from '../../src/presence/presence.service.js';
import { Deprecation } from '../../src/web/deprecation.js';
import { atTheEnd } from './databases.js';

const SECRET = 'own secret, and long enough for HS256';

/** What came of an operation: its data, or the first error's code and message. */
export interface Outcome {
  readonly data: Record<string, unknown> | null;
  readonly code: string | null;
  readonly message: string | null;
}

type Variables = Readonly<Record<string, unknown>>;

/** The resolvers of the server on a database, in this process, without HTTP. */
export interface App {
  readonly schema: GraphQLSchema;
  readonly hub: EventHub;
  /** What an operation is executed with. */
  argumentsFor(
    viewer: string | null,
    document: string,
    variables?: Variables,
  ): Promise<Parameters<typeof execute>[0]>;
  readonly presences: PresenceService;
  /** Codes that were sent, newest last. */
  readonly sent: IssuedCode[];
  /** @param viewer the database's id of who asks; null: nobody */
  ask(viewer: string | null, document: string, variables?: Variables): Promise<Outcome>;
  /** As `ask`, of what has to succeed. */
  get<Data = Record<string, unknown>>(
    viewer: string,
    document: string,
    variables?: Variables,
  ): Promise<Data>;
  subscribe(
    viewer: string | null,
    document: string,
    variables?: Variables,
  ): Promise<AsyncGenerator<ExecutionResult> | Outcome>;
  /** As `subscribe`, of what has to succeed. */
  follow(
    viewer: string,
    document: string,
    variables?: Variables,
  ): Promise<AsyncGenerator<ExecutionResult>>;
}

/** Resolves when at least so many have begun to listen to the events of an app: they are told signals from then on. */
export async function listening({ hub }: App, count: number): Promise<void> {
  while (hub.listening < count) await new Promise((resolve) => setImmediate(resolve));
}

export interface AppOptions {
  /** The handle on the same database by which the changeover's stage is asked. */
  readonly books?: Database;
  /** The side that the old API answers from; the old one when nothing is said. */
  readonly side?: 'old' | 'new';
  /** As LEGACY_GROUPS=open. */
  readonly hasOpenGroups?: boolean;
}

export async function appOn(
  database: Database,
  { books = database, side = 'old', hasOpenGroups = false }: AppOptions = {},
): Promise<App> {
  const hub = new EventHub(database, (message) => {
    throw new Error(message);
  });
  const sent: IssuedCode[] = [];
  const app = await NestFactory.create<NestFastifyApplication>(
    AppModule.with({
      database,
      mapping: DEFAULT_MAPPING,
      secrets: { own: SECRET, legacy: undefined },
      sender: {
        send: (code) => {
          sent.push(code);
          return Promise.resolve();
        },
      },
      isExpanded: async () => hasReached((await readState(books)).stage, 'EXPANDED'),
      defaultCountry: undefined,
      isRateLimited: false,
      hasSecureCookies: false,
      legacy: new LegacyService(database, () =>
        side === 'old'
          ? oldSideSql(database.dialect, DEFAULT_MAPPING)
          : newSideSql(database.dialect, DEFAULT_MAPPING, true),
      ),
      sides: new StagedSides(database.dialect, DEFAULT_MAPPING),
      hub,
      bus: null,
      servedSides: async () => servedSidesAt(await readState(books)),
      checkServed: async () => {
        checkServes((await readState(books)).stage);
      },
      hasOpenGroups,
      keepsLastSeen: () => keepsLastSeen(books, DEFAULT_MAPPING),
      changeover: { database: books, mapping: DEFAULT_MAPPING, report: () => undefined },
      migrationsTable: 'segue_migrations',
      deprecatedCalls: new DeprecatedCalls(),
      deprecation: new Deprecation(() => Promise.resolve(null), null),
      quietTime: 14 * 86_400,
    }),
    new FastifyAdapter(),
    { logger: false, abortOnError: false },
  );
  await app.register(fastifyCookie);
  await app.init();
  atTheEnd(async () => {
    await hub.stop();
    await app.close();
  }, 'closes');
  const { schema } = app.get(GraphQLSchemaHost);

  const tokens = new Map<string, Promise<string>>();
  const tokenOf = async (id: string): Promise<string> => {
    const [person] = await database.reader.all<{ phone: string }>(
      'SELECT phone FROM users WHERE id = CAST(:id AS bigint)',
      { id },
    );
    if (person === undefined) throw new Error(`There is no person ${id}`);
    return issueToken({ id, phone: person.phone }, SECRET);
  };
  const argumentsFor: App['argumentsFor'] = async (
    viewer: string | null,
    text: string,
    variableValues: Variables = {},
  ): Promise<Parameters<typeof execute>[0]> => {
    const document = parse(text);
    const mistakes = validate(schema, document);
    if (mistakes.length > 0) throw new AggregateError(mistakes, `${String(mistakes[0])}: ${text}`);
    if (viewer !== null && !tokens.has(viewer)) tokens.set(viewer, tokenOf(viewer));
    const token = viewer === null ? undefined : await tokens.get(viewer);
    return {
      schema,
      document,
      variableValues,
      contextValue: contextOf(
        {},
        { authorization: token === undefined ? undefined : `Bearer ${token}` },
      ),
    };
  };
  const ask = async (
    viewer: string | null,
    text: string,
    variables: Variables = {},
  ): Promise<Outcome> => outcomeOf(await execute(await argumentsFor(viewer, text, variables)));
  const subscribeTo: App['subscribe'] = async (viewer, text, variables = {}) => {
    const answer = await subscribe(await argumentsFor(viewer, text, variables));
    return Symbol.asyncIterator in answer
      ? (answer as AsyncGenerator<ExecutionResult>)
      : outcomeOf(answer);
  };
  return {
    schema,
    hub,
    argumentsFor,
    presences: app.get(PresenceService),
    sent,
    ask,
    get: async <Data>(viewer: string, text: string, variables?: Variables) => {
      const { data, code, message } = await ask(viewer, text, variables);
      if (code !== null) throw new Error(`${code}: ${String(message)}: ${text}`);
      return data as Data;
    },
    subscribe: subscribeTo,
    follow: async (viewer, text, variables) => {
      const answer = await subscribeTo(viewer, text, variables);
      if (Symbol.asyncIterator in answer) return answer;
      throw new Error(`${String(answer.code)}: ${String(answer.message)}: ${text}`);
    },
  };
}

function outcomeOf({ data, errors }: ExecutionResult): Outcome {
  const [error] = errors ?? [];
  if (error === undefined) return { data: data ?? null, code: null, message: null };
  const { code } = (error.originalError ?? error) as { code?: unknown };
  return {
    data: data ?? null,
    code: typeof code === 'string' ? code : `a fault: ${error.message}`,
    message: error.message,
  };
}

import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { GraphQLSchemaHost } from '@nestjs/graphql';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { type ExecutionResult, graphql, parse, subscribe } from 'graphql';
import { AppModule } from '../../src/app.module.js';
import { contextOf, type GraphQLContext } from '../../src/auth/viewer.js';
import { checkServes, servedSidesAt, StagedSides } from '../../src/changeover/sides.js';
import { readState } from '../../src/changeover/stage.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { EventHub } from '../../src/events/event-hub.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { atTheEnd } from './databases.js';

export type Data = Record<string, unknown>;

/** The chat of a database in this process: its GraphQL API without a socket, asked as whoever one likes. */
export interface ChatApp {
  readonly hub: EventHub;
  /** Runs an operation as a person; fails when it has errors. */
  ask(userId: string, query: string, variables?: Data): Promise<Data>;
  /** The same with its errors. */
  tryTo(userId: string, query: string, variables?: Data): Promise<ExecutionResult>;
  follow(userId: string, query: string, variables?: Data): Promise<AsyncIterator<ExecutionResult>>;
}

export async function chatApp(
  database: Database,
  { hasOpenGroups = false } = {},
): Promise<ChatApp> {
  const hub = new EventHub(database, (message) => {
    throw new Error(message);
  });
  const app = await NestFactory.create(
    AppModule.with({
      database,
      mapping: DEFAULT_MAPPING,
      secrets: { own: 'a secret of the tests, which is long enough', legacy: undefined },
      sender: { send: () => Promise.resolve() },
      isExpanded: () => Promise.resolve(true),
      defaultCountry: undefined,
      isRateLimited: false,
      hasSecureCookies: false,
      legacy: new LegacyService(database, newSideSql(database.dialect, DEFAULT_MAPPING, true)),
      sides: new StagedSides(database.dialect, DEFAULT_MAPPING),
      hub,
      servedSides: async () => servedSidesAt((await readState(database)).stage),
      checkServed: async () => {
        checkServes((await readState(database)).stage);
      },
      hasOpenGroups,
    }),
    new FastifyAdapter(),
    { logger: false, abortOnError: false },
  );
  await app.init();
  atTheEnd(async () => {
    await hub.stop();
    await app.close();
  });
  const { schema } = app.get(GraphQLSchemaHost);
  const contextFor = (id: string): GraphQLContext =>
    Object.assign(contextOf({}), {
      viewer: Promise.resolve({ id, phone: '', sessionId: null, expiresAt: null }),
    });
  const tryTo: ChatApp['tryTo'] = (userId, source, variableValues = {}) =>
    graphql({ schema, source, variableValues, contextValue: contextFor(userId) });
  return {
    hub,
    tryTo,
    ask: async (userId, query, variables) => {
      const { data, errors } = await tryTo(userId, query, variables);
      if (errors !== undefined) throw errors[0] ?? new Error('no data');
      return data as Data;
    },
    follow: async (userId, query, variableValues = {}) => {
      const results = await subscribe({
        schema,
        document: parse(query),
        variableValues,
        contextValue: contextFor(userId),
      });
      if (Symbol.asyncIterator in results) return results;
      throw results.errors?.[0] ?? new Error('no events');
    },
  };
}

import 'reflect-metadata';
import { fastifyCookie } from '@fastify/cookie';
import { Logger, type LogLevel } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GraphQLSchemaHost } from '@nestjs/graphql';
import { SignedInGuard } from './auth/viewer.js';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule } from './app.module.js';
import { chatChores } from './chat.chores.js';
import { oldQueriesOn } from './chat.old-queries.js';
import { codeSenderOf } from './auth/code-sender.js';
import { getJwtSecret } from './auth/jwt-secret.js';
import { ChangeoverKeeper } from './changeover/keeper.js';
import { setUpIfEmpty } from './changeover/setup.js';
import { checkServes, keepsLastSeen, servedSidesAt, StagedSides } from './changeover/sides.js';
import { hasReached, readState, type Stage } from './changeover/stage.js';
import { pulseOf } from './changeover/status.js';
import type { Config } from './config/config.js';
import type { Database } from './database/database.js';
import { believed } from './database/believed.js';
import { openDatabase } from './database/open-database.js';
import { upgrade } from './database/versions.js';
import type { Schema } from './database/schema.js';
import { messageOf, SegueError } from './errors/segue-error.js';
import { EventHub } from './events/event-hub.js';
import { Bus } from './events/bus.js';
import { WakeUps } from './events/wake-ups.js';
import { DeprecatedCalls } from './legacy/deprecated-calls.js';
import { LegacyFeed } from './legacy/legacy-feed.js';
import { LegacyWritesService } from './legacy/legacy-writes.service.js';
import { serveOldRealtime } from './legacy/old-realtime.js';
import { OldSignals } from './legacy/old-signals.js';
import { PresenceService } from './presence/presence.service.js';
import { ReceiptWriter } from './receipts/receipt-writer.js';
import { schemaOf } from './schema.js';
import { Deprecation } from './web/deprecation.js';
import { answerFrameworkError, HttpErrorsFilter } from './web/http-errors.filter.js';
import { serveGraphiql } from './web/graphiql.js';
import { JsonLogger } from './web/json-logger.js';
import { Metrics } from './web/metrics.js';
import { serveWebSocket } from './web/websocket.js';

/** For how long it is believed whether there is something to call instead of the old API, in ms. */
const BELIEVED_MS = 1_000;

/** The largest request body, in bytes. */
const BODY_LIMIT = 1_048_576;

export interface RunningServer {
  /** Where it listens, with the port that it got. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Starts the server on the configured database. An empty database is set up; an old one is not touched.
 * @throws SegueError when the database or a setting does not allow it.
 */
export async function startServer(
  config: Config,
  {
    create = true,
    logLevels = ['log', 'warn', 'error', 'fatal'] as LogLevel[],
    schema = schemaOf(config.database.engine, config.mapping),
  } = {},
): Promise<RunningServer> {
  const logger = new Logger('Segue');
  const sender = codeSenderOf(config);
  const database = await openDatabase(config.database, schema, {
    create,
    zone: config.legacyZone,
  });
  try {
    const older = await upgrade(database, schema);
    if (older !== null)
      logger.log(
        `${database.shown} was at schema version ${older}, and is at ${schema.version} now`,
      );
    const stage = await setUpIfEmpty(database, config.mapping, schema.migrationsTable);
    const sides = new StagedSides(database.dialect, config.mapping);
    const warn = (message: string): void => {
      logger.warn(message);
    };
    const bus = busOf(config, warn);
    const wakeUps = bus === null ? null : new WakeUps(bus.topic('wake'));
    const hub = new EventHub(database, warn, () => wakeUps?.tell());
    const deprecatedCalls = new DeprecatedCalls();
    const deprecation = new Deprecation(
      believed(BELIEVED_MS, async () => {
        const { stage: now, expandedAt } = await readState(database);
        return now === 'LEGACY' || expandedAt === null ? null : new Date(expandedAt / 1_000);
      }),
      config.sunset,
    );
    const old = await oldQueriesOn(config, database, stage, warn);
    const app = await NestFactory.create<NestFastifyApplication>(
      AppModule.with({
        database,
        mapping: config.mapping,
        secrets: { own: getJwtSecret(config), legacy: config.legacyJwtSecret },
        sender,
        isExpanded: async () => hasReached((await readState(database)).stage, 'EXPANDED'),
        defaultCountry: config.defaultCountry,
        isRateLimited: config.isRateLimited,
        hasSecureCookies: config.production,
        legacy: old.service,
        sides,
        hub,
        bus,
        servedSides: async () => servedSidesAt(await readState(database)),
        checkServed: async () => {
          checkServes((await readState(database)).stage);
        },
        hasOpenGroups: config.hasOpenGroups,
        keepsLastSeen: () => keepsLastSeen(database, config.mapping),
        changeover: {
          database,
          mapping: config.mapping,
          diskReserve: config.diskReserve,
          report: () => undefined,
        },
        migrationsTable: schema.migrationsTable,
        deprecatedCalls,
        deprecation,
        quietTime: config.quietTime,
      }),
      new FastifyAdapter({ bodyLimit: BODY_LIMIT, frameworkErrors: answerFrameworkError }),
      {
        logger: config.logFormat === 'json' ? new JsonLogger(logLevels) : logLevels,
        abortOnError: false,
      },
    );
    await app.register(fastifyCookie);
    serveGraphiql(app.getHttpAdapter().getInstance());
    app.useGlobalFilters(new HttpErrorsFilter());
    await app.init();
    const presences = app.get(PresenceService);
    await presences.begin();
    const door = serveWebSocket(
      app.getHttpServer(),
      app.get(GraphQLSchemaHost).schema,
      app.get(SignedInGuard),
      { arrive: (userId) => presences.roster.arrive(userId), deprecation },
    );
    const oldDoor = serveOldRealtime(
      app.getHttpServer(),
      {
        guard: app.get(SignedInGuard),
        writes: app.get(LegacyWritesService),
        feed: app.get(LegacyFeed),
        signals: app.get(OldSignals),
        arrive: (userId, socketId) => presences.arriveBySocket(userId, socketId),
        note: (operation, client) => {
          deprecatedCalls.note(operation, client);
        },
      },
      warn,
    );
    app.get(Metrics).watch({
      hub,
      roster: presences.roster,
      answered: old.answered,
      readPulse: () => pulseOf(database),
      connections: () => ({ graphql: door.connections, socketio: oldDoor.connections }),
    });
    const url = await listen(app, config);
    logger.log(`${url} answers for ${database.shown}, stage ${stage}${adviceAt(stage)}`);
    const chores = chatChores(
      {
        database,
        receipts: new ReceiptWriter(database.dialect, sides),
        presences,
        deprecatedCalls,
        eventRetention: config.eventRetention,
      },
      warn,
    );
    // A table that was only put away can come back.
    const isOver = stage === 'CONTRACTED' && (await readState(database)).retiredAt === null;
    const keeper = isOver ? null : await keep(config, schema, logger, hub);
    wakeUps?.follow(() => {
      hub.wakeHere();
    });
    bus?.start();
    return {
      url,
      close: async () => {
        // Before the events end: who is told that his subscription is complete does not come back.
        await Promise.all([door.close(), oldDoor.close()]);
        await hub.stop();
        await app.close();
        await old.stop();
        await chores.stop();
        await deprecatedCalls.flush(database).catch((error: unknown) => {
          warn(`Who called the old API was not written down: ${messageOf(error)}`);
        });
        await presences.end();
        bus?.stop();
        await keeper?.stop();
        await database.close();
        // Last, since it wrote last: SQLite's log is emptied into the file by the last connection that can write.
        await keeper?.database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** To the other processes on the database, where REDIS_URL is given. */
function busOf({ redisUrl, database }: Config, warn: (message: string) => void): Bus | null {
  if (redisUrl === undefined) return null;
  const name =
    database.engine === 'sqlite' ? database.path : new URL(database.url).pathname.slice(1);
  // What is published has no number in Redis: databases of the same name are told apart by it here.
  const number = new URL(redisUrl).pathname.slice(1) || '0';
  return new Bus(redisUrl, `${number}:${name}`, warn);
}

/** Looks after the changeover on connections of its own: a backfill holds its one for as long as it takes. */
async function keep(
  { database: location, mapping, legacyZone, diskReserve }: Config,
  schema: Schema,
  logger: Logger,
  hub: EventHub,
): Promise<{ database: Database; stop: () => Promise<void> }> {
  const database = await openDatabase(location, schema, { zone: legacyZone });
  const keeper = new ChangeoverKeeper(
    { database, mapping, diskReserve, report: () => undefined, who: 'the server' },
    (message) => {
      logger.warn(message);
    },
    {
      applied: () => {
        hub.wake();
      },
    },
  );
  return { database, stop: () => keeper.stop() };
}

/** By Fastify itself: Nest says that it has started before it listens, and prints a failure of its own. */
async function listen(app: NestFastifyApplication, { port, host }: Config): Promise<string> {
  try {
    return await app.getHttpAdapter().getInstance().listen({ port, host });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (!/^(EADDRINUSE|EACCES|EADDRNOTAVAIL|ENOTFOUND|EAI_\w+)$/.test(code ?? '')) throw error;
    await app.close();
    throw new SegueError(
      'BAD_CONFIG',
      `PORT ${port} on HOST ${host} cannot be listened on (${code}): set another one, or end what uses it.`,
      { cause: error },
    );
  }
}

function adviceAt(stage: Stage): string {
  if (stage === 'LEGACY') return ". Next: 'segue inspect', then 'segue migrate'";
  return hasReached(stage, 'VERIFIED') ? '' : ". Next: 'segue migrate' goes on with it";
}

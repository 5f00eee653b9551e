import 'reflect-metadata';
import { Logger, type LogLevel } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule } from './app.module.js';
import { getJwtSecret } from './auth/jwt-secret.js';
import { setUpIfEmpty } from './changeover/setup.js';
import { checkShape, hasTable } from './changeover/shape.js';
import { hasReached, type Stage } from './changeover/stage.js';
import type { Config } from './config/config.js';
import type { Database } from './database/database.js';
import { openDatabase } from './database/open-database.js';
import { SegueError } from './errors/segue-error.js';
import type { LegacySql } from './legacy/legacy-sql.js';
import { newSideSql } from './legacy/new-side.js';
import { oldSideSql } from './legacy/old-side.js';
import { schemaOf } from './schema.js';
import { answerFrameworkError, HttpErrorsFilter } from './web/http-errors.filter.js';
import { serveGraphiql } from './web/graphiql.js';

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
  { create = true, logLevels = ['log', 'warn', 'error', 'fatal'] as LogLevel[] } = {},
): Promise<RunningServer> {
  const logger = new Logger('Segue');
  const schema = schemaOf(config.database.engine, config.mapping);
  const database = await openDatabase(config.database, schema, { create });
  try {
    const stage = await setUpIfEmpty(database, config.mapping, schema.migrationsTable);
    const app = await NestFactory.create<NestFastifyApplication>(
      AppModule.with({
        database,
        mapping: config.mapping,
        secrets: { own: getJwtSecret(config), legacy: config.legacyJwtSecret },
        legacySql: await chooseSide(config, database, stage),
      }),
      new FastifyAdapter({ bodyLimit: BODY_LIMIT, frameworkErrors: answerFrameworkError }),
      { logger: logLevels, abortOnError: false },
    );
    serveGraphiql(app.getHttpAdapter().getInstance());
    app.useGlobalFilters(new HttpErrorsFilter());
    const url = await listen(app, config);
    logger.log(`${url} answers for ${database.shown}, stage ${stage}${adviceAt(stage)}`);
    return {
      url,
      close: async () => {
        await app.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** By Fastify itself: Nest says that it has started before it listens, and prints a failure of its own. */
async function listen(app: NestFastifyApplication, { port, host }: Config): Promise<string> {
  await app.init();
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

/** The old queries on the side that the setting names, where that side can answer. */
async function chooseSide(
  { legacyReads, mapping }: Config,
  database: Database,
  stage: Stage,
): Promise<LegacySql> {
  if (stage === 'CONTRACTED')
    return newSideSql(database.dialect, mapping, await hasTable(database, mapping.messages.table));
  await checkShape(database, mapping);
  if (legacyReads === 'old') return oldSideSql(database.dialect, mapping);
  if (!hasReached(stage, 'VERIFIED'))
    throw new SegueError(
      'WRONG_STAGE',
      `LEGACY_READS is "new" and the stage is ${stage}: the new side answers once it is VERIFIED. Run 'segue migrate', or set LEGACY_READS=old.`,
    );
  return newSideSql(database.dialect, mapping, true);
}

function adviceAt(stage: Stage): string {
  if (stage === 'LEGACY') return ". Next: 'segue inspect', then 'segue migrate'";
  return hasReached(stage, 'VERIFIED') ? '' : ". Next: 'segue migrate' goes on with it";
}

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll } from '@jest/globals';
import { type DatabaseLocation, parseDatabaseUrl } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { openDatabase, type OpenOptions } from '../../src/database/open-database.js';
import { schemaOf } from '../../src/schema.js';

/** The engines that this run covers: SQLite always, PostgreSQL where it was found. */
export const ENGINES: readonly EngineName[] =
  process.env.SEGUE_TEST_POSTGRES === undefined ? ['sqlite'] : ['sqlite', 'postgres'];

const cleanups: (() => Promise<void>)[] = [];

/** Registers what has to be undone when the file's tests are over, newest first. */
export function atTheEnd(cleanup: () => Promise<void>): void {
  cleanups.push(cleanup);
}

afterAll(async () => {
  const failures: unknown[] = [];
  for (const cleanup of cleanups.splice(0).reverse())
    try {
      await cleanup();
    } catch (error) {
      // The others are run all the same, or databases stay behind on the server.
      failures.push(error);
    }
  if (failures.length > 0) throw new AggregateError(failures, 'Something could not be undone');
});

/** A new, empty database of the test's own, dropped at the end. */
export async function emptyDatabase(engine: EngineName): Promise<DatabaseLocation> {
  return engine === 'sqlite' ? emptySqlite() : emptyPostgres();
}

/** Opens a database and closes it at the end. */
export async function open(
  location: DatabaseLocation,
  options: OpenOptions = { create: true },
): Promise<Database> {
  const database = await openDatabase(
    location,
    schemaOf(location.engine, DEFAULT_MAPPING),
    options,
  );
  atTheEnd(() => database.close());
  return database;
}

/** The DATABASE_URL of a location. */
export function urlOf(location: DatabaseLocation): string {
  return location.engine === 'sqlite' ? `sqlite:${location.path}` : location.url;
}

/** Runs SQL as the old app would: on a connection of its own, with nothing of ours in between. */
export async function asOldApp(location: DatabaseLocation, ...statements: string[]): Promise<void> {
  const database = await openDatabase(location, schemaOf(location.engine, DEFAULT_MAPPING));
  try {
    await database.session(async (session) => {
      for (const statement of statements) await session.run(statement);
    });
  } finally {
    await database.close();
  }
}

async function emptySqlite(): Promise<DatabaseLocation> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-test-'));
  atTheEnd(() => rm(folder, { recursive: true, force: true }));
  return parseDatabaseUrl(`sqlite:${join(folder, 'chat.sqlite')}`);
}

async function emptyPostgres(): Promise<DatabaseLocation> {
  const name = `segue_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await onServer(`CREATE DATABASE ${name}`);
  atTheEnd(() => onServer(`DROP DATABASE ${name} WITH (FORCE)`));
  const url = new URL(serverUrl());
  url.pathname = `/${name}`;
  return parseDatabaseUrl(url.href);
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl() });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function serverUrl(): string {
  const url = process.env.SEGUE_TEST_POSTGRES;
  if (url === undefined) throw new Error('No PostgreSQL was found: ask ENGINES first');
  return url;
}

/** A database of which some parts are replaced, to plant a fault between the code and the real one. */
export function withParts(database: Database, parts: Partial<Database>): Database {
  return {
    dialect: database.dialect,
    shown: database.shown,
    reader: database.reader,
    snapshot: database.snapshot.bind(database),
    transaction: database.transaction.bind(database),
    session: database.session.bind(database),
    migrate: database.migrate.bind(database),
    revertAll: database.revertAll.bind(database),
    close: database.close.bind(database),
    ...parts,
  };
}

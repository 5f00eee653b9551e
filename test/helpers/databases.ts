import { randomBytes } from 'node:crypto';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { afterAll } from '@jest/globals';
import { type DatabaseLocation, parseDatabaseUrl } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database, Parameters, Queryable } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { followTransactions } from '../../src/database/nesting.js';
import { openDatabase, type OpenOptions } from '../../src/database/open-database.js';
import { schemaOf } from '../../src/schema.js';

followTransactions();

/** The engines that this run covers: SQLite always, PostgreSQL where it was found. */
export const ENGINES: readonly EngineName[] =
  process.env.SEGUE_TEST_POSTGRES === undefined ? ['sqlite'] : ['sqlite', 'postgres'];

/** `closes`: ends a connection or a process; `drops`: takes a database away, after that; else anything. */
type Kind = 'closes' | 'drops' | 'undoes';

const cleanups: { readonly kind: Kind; readonly cleanup: () => Promise<void> }[] = [];

/** Registers what has to be undone when the file's tests are over, newest first; databases may wait for one another. */
export function atTheEnd(cleanup: () => Promise<void>, kind: Kind = 'undoes'): void {
  cleanups.push({ kind, cleanup });
}

afterAll(async () => {
  const failures: unknown[] = [];
  const attempt = async (...given: (() => Promise<void>)[]): Promise<void> => {
    // The others are run all the same, or databases stay behind on the server.
    for (const ended of await Promise.allSettled(given.map((cleanup) => cleanup())))
      if (ended.status === 'rejected') failures.push(ended.reason);
  };
  // PostgreSQL waits for a checkpoint before it drops a database, and one is enough for many.
  const drops: (() => Promise<void>)[] = [];
  for (const { kind, cleanup } of cleanups.splice(0).reverse()) {
    if (kind === 'drops') {
      drops.push(cleanup);
      continue;
    }
    if (kind === 'undoes') await attempt(...drops.splice(0));
    await attempt(cleanup);
  }
  await attempt(...drops);
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
  atTheEnd(() => database.close(), 'closes');
  return database;
}

/** Opens a database for `work`, and closes it. */
export async function using<Result>(
  location: DatabaseLocation,
  work: (database: Database) => Promise<Result>,
  options: OpenOptions = {},
): Promise<Result> {
  const schema = schemaOf(location.engine, DEFAULT_MAPPING);
  const database = await openDatabase(location, schema, options);
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/**
 * A copy of a database that nobody is connected to; `drop` takes it away before the end of the tests.
 * @param place the folder (SQLite) or tablespace (PostgreSQL) that it is put into
 */
export async function copyOf(
  original: DatabaseLocation,
  place?: string,
): Promise<{ location: DatabaseLocation; drop: () => Promise<void> }> {
  if (original.engine === 'sqlite') {
    const folder = await mkdtemp(join(place ?? tmpdir(), 'segue-test-'));
    const drop = (): Promise<void> => rm(folder, { recursive: true, force: true });
    atTheEnd(drop, 'drops');
    const path = join(folder, 'chat.sqlite');
    await copyFile(original.path, path);
    return { location: parseDatabaseUrl(`sqlite:${path}`), drop };
  }
  const name = `segue_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  const drop = async (): Promise<void> => {
    await onServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  };
  atTheEnd(drop, 'drops');
  const url = new URL(original.url);
  await onServer(
    `CREATE DATABASE ${name} TEMPLATE ${url.pathname.slice(1)} ${place === undefined ? '' : `TABLESPACE ${place}`}`,
  );
  url.pathname = `/${name}`;
  return { location: parseDatabaseUrl(url.href), drop };
}

/** The DATABASE_URL of a location. */
export function urlOf(location: DatabaseLocation): string {
  return location.engine === 'sqlite' ? `sqlite:${location.path}` : location.url;
}

/** Runs SQL as the old app would: on a connection of its own, with nothing of ours in between. */
export async function asOldApp(location: DatabaseLocation, ...statements: string[]): Promise<void> {
  await using(location, (database) =>
    database.session(async (session) => {
      for (const statement of statements) await session.run(statement);
    }),
  );
}

/** Takes an SQLite file, which nobody may have open, out of WAL mode: as old apps that never asked for it have it. */
export async function leaveWalMode(location: DatabaseLocation): Promise<void> {
  if (location.engine !== 'sqlite') throw new Error(`${location.shown} has no journal mode`);
  const source = await new DataSource({ type: 'sqlite', database: location.path }).initialize();
  try {
    await source.query('PRAGMA journal_mode = DELETE');
  } finally {
    await source.destroy();
  }
}

async function emptySqlite(): Promise<DatabaseLocation> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-test-'));
  atTheEnd(() => rm(folder, { recursive: true, force: true }), 'drops');
  return parseDatabaseUrl(`sqlite:${join(folder, 'chat.sqlite')}`);
}

async function emptyPostgres(): Promise<DatabaseLocation> {
  const name = `segue_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await onServer(`CREATE DATABASE ${name}`);
  atTheEnd(async () => {
    await onServer(`DROP DATABASE ${name} WITH (FORCE)`);
  }, 'drops');
  const url = new URL(serverUrl());
  url.pathname = `/${name}`;
  return parseDatabaseUrl(url.href);
}

/**
 * A login of the test's own on the PostgreSQL server, with no right to anything, dropped at the end. To be made
 * before the databases in which it gets rights: they go first.
 */
export async function loginRole(): Promise<{
  role: string;
  as: (location: DatabaseLocation) => DatabaseLocation;
}> {
  const role = `segue_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await onServer(`CREATE ROLE ${role} LOGIN PASSWORD '${role}'`);
  atTheEnd(async () => {
    await onServer(`DROP ROLE ${role}`);
  });
  return {
    role,
    as: (location) => {
      const url = new URL(urlOf(location));
      [url.username, url.password] = [role, role];
      return parseDatabaseUrl(url.href);
    },
  };
}

/** Runs a statement on the server, outside of any database of the tests. */
export async function onServer<Row extends object = object>(statement: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: serverUrl() });
  await client.connect();
  try {
    return (await client.query(statement)).rows as Row[];
  } finally {
    await client.end();
  }
}

let server = process.env.SEGUE_TEST_POSTGRES;

/** Makes this file's later databases on another server. */
export function useServer(url: string): void {
  server = url;
}

function serverUrl(): string {
  if (server === undefined) throw new Error('No PostgreSQL was found: ask ENGINES first');
  return server;
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
    restructure: database.restructure.bind(database),
    checkRights: database.checkRights.bind(database),
    checkMode: database.checkMode.bind(database),
    freeBytes: database.freeBytes.bind(database),
    pendingStatements: database.pendingStatements.bind(database),
    migrate: database.migrate.bind(database),
    revertAll: database.revertAll.bind(database),
    close: database.close.bind(database),
    ...parts,
  };
}

/** A database of which each statement is shown to `look` first, which may change its values, or throw. */
export function watching(
  database: Database,
  look: (sql: string, parameters: Parameters | undefined) => Parameters | undefined,
): Database {
  const watch = (queryable: Queryable): Queryable => ({
    all: async (sql, parameters) => queryable.all(sql, look(sql, parameters)),
    run: async (sql, parameters) => queryable.run(sql, look(sql, parameters)),
  });
  return withParts(database, {
    reader: watch(database.reader),
    snapshot: (work) => database.snapshot((reader) => work(watch(reader))),
    transaction: (work) => database.transaction((transaction) => work(watch(transaction))),
    restructure: (work) => database.restructure((transaction) => work(watch(transaction))),
    session: (work) =>
      database.session((session) =>
        work({
          ...watch(session),
          transaction: (inner) => session.transaction((transaction) => inner(watch(transaction))),
        }),
      ),
  });
}

/** What a planted crash is told by. */
const CRASH = 'planted crash';

/** A database that fails at the n-th statement, as a crash would end it there. */
export function failingAt(database: Database, statement: number): Database {
  let left = statement;
  return watching(database, (_, parameters) => {
    left -= 1;
    if (left === 0) throw new Error(CRASH);
    return parameters;
  });
}

/** Whether it came to its end; a crash that was planted is no failure. */
export async function untilCrash(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!String(error).includes(CRASH)) throw error;
    return false;
  }
}

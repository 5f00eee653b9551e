import { existsSync, realpathSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import sqlite3 from 'sqlite3';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { messageOf, SegueError } from '../../errors/segue-error.js';
import { haveSameShifts, UTC, type Zone } from '../../config/zone.js';
import type { Database, Queryable, Session } from '../database.js';
import type { Dialect } from '../dialect.js';
import { Nesting } from '../nesting.js';
import { runTransaction } from '../open-transaction.js';
import type { Schema } from '../schema.js';
import {
  type MigrationChoice,
  pendingStatements,
  revertMigrations,
  runMigrations,
} from '../migration-run.js';
import { SilentLogger } from '../silent-logger.js';
import { closeSource, quietSqlite3, SqliteConnection } from './sqlite-connection.js';
import { sqliteDialect } from './sqlite-dialect.js';
import { checkFileRights } from './sqlite-rights.js';
import { bringZone, sqliteDialectIn } from './sqlite-zone.js';
import { WriteQueue } from './write-queue.js';

/** How long a statement of ours waits for another process's write lock, in ms. */
const BUSY_TIMEOUT_MS = 5_000;

/** Page cache of the writing connection, in KiB: 1 M rows in three indexes ran twice as fast as with 2 MiB. */
const WRITER_CACHE_KIB = 65_536;

/** WAL pages after which a commit of ours copies them into the database. */
const AUTOCHECKPOINT_PAGES = 10_000;

const SWITCH_TO_WAL = 'PRAGMA journal_mode = WAL';

export interface SqliteOptions {
  readonly path: string;
  readonly shown: string;
  readonly schema: Schema;
  /** Of the times in the old tables. */
  readonly zone: Zone;
  /** Make the file when it is missing; else its absence is an error. */
  readonly create: boolean;
  /** Switch the file to WAL mode when it is in another; else that is an error for whoever writes. */
  readonly switchToWal: boolean;
}

/** The options that the data source of `ormconfig.ts` and both connections here share. */
export function sqliteDataSourceOptions(path: string, schema: Schema): DataSourceOptions {
  return {
    type: 'sqlite',
    database: path,
    driver: quietSqlite3,
    busyTimeout: BUSY_TIMEOUT_MS,
    entities: [...schema.entities],
    migrations: [...schema.migrations],
    migrationsTableName: schema.migrationsTable,
  };
}

/**
 * A chat database in a SQLite file: one writing connection behind a queue, opened when first needed, and one that
 * can only read.
 */
export class SqliteDatabase implements Database {
  private readonly queue = new WriteQueue();
  private readonly nesting = new Nesting();
  private writing: Promise<DataSource> | undefined;

  private constructor(
    private readonly options: SqliteOptions,
    readonly dialect: Dialect,
    private readonly readSource: DataSource,
    readonly reader: Queryable,
  ) {}

  get shown(): string {
    return this.options.shown;
  }

  /**
   * Opens the file for reading.
   * @throws SegueError DATABASE_NOT_FOUND, UNSUPPORTED_DATABASE (not an SQLite file).
   */
  static async open(options: SqliteOptions): Promise<SqliteDatabase> {
    if (!existsSync(options.path)) {
      if (!options.create)
        throw new SegueError(
          'DATABASE_NOT_FOUND',
          `There is no file ${options.path}: DATABASE_URL says ${options.shown}. Nothing was made.`,
        );
      await makeEmptyDatabase(options);
    } else if (!statSync(options.path).isFile())
      throw new SegueError(
        'DATABASE_NOT_FOUND',
        `${options.path} is not a file: DATABASE_URL says ${options.shown}.`,
      );
    const dialect = dialectIn(options.zone);
    const source = await openReader(options, dialect);
    return new SqliteDatabase(options, dialect, source, new SqliteConnection(source));
  }

  async snapshot<Result>(work: (reader: Queryable) => Promise<Result>): Promise<Result> {
    // A connection of its own: statements of other readers would otherwise run on this snapshot too.
    const source = await openReader(this.options, this.dialect);
    try {
      return await runTransaction(new SqliteConnection(source), 'BEGIN', work);
    } finally {
      await closeSource(source);
    }
  }

  async transaction<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result> {
    this.nesting.check();
    return this.queue.run(async () =>
      this.transactionOn(new SqliteConnection(await this.writer()), work),
    );
  }

  session<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    return this.queue.run(async () => {
      const connection = new SqliteConnection(await this.writer());
      return work({
        all: (sql, parameters) => connection.all(sql, parameters),
        run: (sql, parameters) => connection.run(sql, parameters),
        transaction: (inner) => this.transactionOn(connection, inner),
      });
    });
  }

  restructure<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result> {
    return this.queue.run(async () => {
      const connection = new SqliteConnection(await this.writer());
      const result = await this.transactionOn(connection, work);
      await assertPragmas(connection);
      return result;
    });
  }

  checkRights(): Promise<void> {
    // Whoever may write the file may do everything in it.
    return new Promise((resolve) => {
      checkFileRights(this.options.path);
      resolve();
    });
  }

  async checkMode(): Promise<void> {
    await needsSwitchToWal(this.reader, this.options);
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(dirname(realpathSync(this.options.path)));
    return bavail * bsize;
  }

  async pendingStatements(choice: MigrationChoice = {}): Promise<readonly string[]> {
    const switches =
      this.options.switchToWal && (await pragma(this.reader, 'journal_mode')) !== 'wal';
    return [
      ...(switches ? [SWITCH_TO_WAL] : []),
      ...(await pendingStatements(this.readSource, choice)),
    ];
  }

  migrate(choice: MigrationChoice = {}): Promise<void> {
    return this.changeTables((writer) => runMigrations(writer, 'none', choice));
  }

  revertAll(): Promise<void> {
    return this.changeTables((writer) => revertMigrations(writer, 'none'));
  }

  async close(): Promise<void> {
    if (this.readSource.isInitialized) await closeSource(this.readSource);
    // Last, since only a connection that can write empties the WAL into the file when it is the last to go.
    await this.queue.run(async () => {
      const writer = await this.writing;
      if (writer?.isInitialized === true) await closeSource(writer);
    });
  }

  /** One transaction for all of it: the DDL is short, and a second process finds all or nothing done. */
  private changeTables(work: (writer: DataSource) => Promise<void>): Promise<void> {
    return this.queue.run(async () => {
      const writer = await this.writer();
      const connection = new SqliteConnection(writer);
      await runTransaction(connection, 'BEGIN IMMEDIATE', () => work(writer));
      await assertPragmas(connection);
    });
  }

  private transactionOn<Result>(
    connection: Queryable,
    work: (transaction: Queryable) => Promise<Result>,
  ): Promise<Result> {
    return runTransaction(connection, 'BEGIN IMMEDIATE', (transaction) =>
      this.nesting.run(transaction, work),
    );
  }

  private writer(): Promise<DataSource> {
    this.writing ??= openWriter(this.options, this.dialect).catch((error: unknown) => {
      this.writing = undefined;
      throw error;
    });
    return this.writing;
  }
}

async function openSource(options: SqliteOptions, flags: number): Promise<DataSource> {
  const source = new DataSource({
    ...sqliteDataSourceOptions(options.path, options.schema),
    logger: new SilentLogger(),
    flags,
  } as DataSourceOptions);
  try {
    await source.initialize();
    await new SqliteConnection(source).all('SELECT count(*) FROM sqlite_master');
    return source;
  } catch (error) {
    if (source.isInitialized) await closeSource(source);
    if (messageOf(error).includes('SQLITE_NOTADB'))
      throw new SegueError(
        'UNSUPPORTED_DATABASE',
        `${options.path} is not an SQLite database. Nothing was changed.`,
        { cause: error },
      );
    // In WAL mode a reader too writes beside the file.
    if (/SQLITE_(CANTOPEN|READONLY)/.test(messageOf(error)) && existsSync(options.path))
      checkFileRights(options.path);
    if (messageOf(error).includes('SQLITE_CANTOPEN'))
      throw new SegueError(
        'DATABASE_NOT_FOUND',
        `${options.path} cannot be opened: does its folder exist, and do its rights allow it?`,
        { cause: error },
      );
    throw error;
  }
}

async function makeEmptyDatabase(options: SqliteOptions): Promise<void> {
  const source = await openSource(options, sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE);
  try {
    await new SqliteConnection(source).all(SWITCH_TO_WAL);
  } finally {
    await closeSource(source);
  }
}

function dialectIn(zone: Zone): Dialect {
  return haveSameShifts(zone, UTC) ? sqliteDialect : sqliteDialectIn(zone);
}

async function openReader(options: SqliteOptions, dialect: Dialect): Promise<DataSource> {
  const source = await openSource(options, sqlite3.OPEN_READONLY);
  try {
    await bringZone(new SqliteConnection(source), dialect);
    return source;
  } catch (error) {
    await closeSource(source);
    throw error;
  }
}

async function openWriter(options: SqliteOptions, dialect: Dialect): Promise<DataSource> {
  const source = await openSource(options, sqlite3.OPEN_READWRITE);
  try {
    const connection = new SqliteConnection(source);
    await settleJournalMode(connection, options);
    await connection.all('PRAGMA synchronous = FULL');
    await connection.all(`PRAGMA cache_size = -${WRITER_CACHE_KIB}`);
    await connection.all(`PRAGMA wal_autocheckpoint = ${AUTOCHECKPOINT_PAGES}`);
    await connection.all('PRAGMA temp_store = FILE');
    // After that pragma, which drops temporary tables.
    await bringZone(connection, dialect);
    await assertPragmas(connection);
    return source;
  } catch (error) {
    await closeSource(source);
    throw error;
  }
}

async function settleJournalMode(connection: Queryable, options: SqliteOptions): Promise<void> {
  if (await needsSwitchToWal(connection, options)) await connection.all(SWITCH_TO_WAL);
}

/**
 * Whether the file is in another journal mode than WAL, and may be switched.
 * @throws SegueError UNSUPPORTED_DATABASE when it may not.
 */
async function needsSwitchToWal(connection: Queryable, options: SqliteOptions): Promise<boolean> {
  const mode = await pragma(connection, 'journal_mode');
  if (mode === 'wal') return false;
  const [tables] = await connection.all<{ count: number }>(
    'SELECT count(*) AS count FROM sqlite_master',
  );
  if (!options.switchToWal && tables?.count !== 0)
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      `${options.path} has journal mode ${mode}; writing beside an old app needs WAL. ` +
        `'segue migrate --wal' switches it (the mode stays with the file), or the old app does.`,
    );
  return true;
}

/**
 * Checks what durability and correctness rest on: a driver's default or a failed migration may have changed it.
 * @throws Error naming the pragma.
 */
async function assertPragmas(connection: Queryable): Promise<void> {
  const wanted = {
    journal_mode: 'wal',
    synchronous: '2',
    foreign_keys: '1',
    busy_timeout: String(BUSY_TIMEOUT_MS),
  };
  for (const [name, value] of Object.entries(wanted)) {
    const found = await pragma(connection, name);
    if (found !== value) throw new Error(`PRAGMA ${name} is ${found} and must be ${value}`);
  }
}

async function pragma(connection: Queryable, name: string): Promise<string> {
  const [row] = await connection.all<Record<string, unknown>>(`PRAGMA ${name}`);
  return String(Object.values(row ?? {})[0]);
}

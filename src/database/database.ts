import type { Dialect } from './dialect.js';
import type { MigrationChoice } from './migration-run.js';

/** Values for the `:name` places of a statement. Ids beyond 2^53 are given as text. */
export type Parameters = Readonly<Record<string, string | number | boolean | null>>;

/**
 * Something that runs statements: a connection for reading, or an open transaction.
 *
 * Statements name their values (`:limit`); `places.ts` puts the engine's own places in.
 */
export interface Queryable {
  /** Runs a statement and gives its rows. */
  all<Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]>;
  /** Runs an INSERT, UPDATE, DELETE or DDL statement and gives the number of rows that it touched. */
  run(sql: string, parameters?: Parameters): Promise<number>;
}

/**
 * One chat database, on either engine.
 *
 * Reads go to connections that cannot write. Writes go through `transaction`, the only way to a connection that
 * can: on SQLite it is one connection behind a queue, since two transactions that share a connection interleave
 * and one's rollback takes the other's acknowledged rows along (typeorm #1884, #3919).
 */
export interface Database {
  readonly dialect: Dialect;
  /** What may be printed of where the database is. */
  readonly shown: string;

  /** Reads outside of any transaction: each statement sees what is committed when it starts. */
  readonly reader: Queryable;

  /** Runs several reads on one snapshot of the database. Holds no lock that a writer waits for. */
  snapshot<Result>(work: (reader: Queryable) => Promise<Result>): Promise<Result>;

  /**
   * Runs `work` in a transaction that is committed, to the disk, before the promise resolves.
   *
   * Not to be called inside another one, which is passed on instead (`nesting.ts`). A failed statement dooms the transaction, caught or not: it is rolled
   * back and the promise rejects, or PostgreSQL would answer COMMIT with a silent rollback.
   * On SQLite it takes the database's write lock from start to end (BEGIN IMMEDIATE).
   */
  transaction<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result>;

  /**
   * Runs `work` on the writing connection, alone on it, outside of a transaction: for temporary tables that
   * several transactions of the same worker share. `work` opens its transactions with `session.transaction`; on
   * SQLite `Database.transaction` waits for the session to end, and would wait for ever inside of it.
   */
  session<Result>(work: (session: Session) => Promise<Result>): Promise<Result>;

  /**
   * Runs DDL as one transaction, all or nothing, one process at a time; not to be called inside a transaction.
   *
   * On SQLite it holds the write lock for as long as `work` takes. On PostgreSQL no lock of a table is waited for
   * longer than 50 ms, since later readers would queue up behind: then all of `work` is run again, after a pause.
   * @throws SegueError LOCK_TIMEOUT when a table stays locked by others.
   */
  restructure<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result>;

  /**
   * Checks that this process may read the old tables, add columns to those to be altered, and make tables.
   * @throws SegueError NOT_PERMITTED naming who lacks which right to what.
   */
  checkRights(needed: NeededRights): Promise<void>;

  /**
   * Checks that writing beside an old app is safe in the database's mode; changes nothing.
   * @throws SegueError UNSUPPORTED_DATABASE for an SQLite file that is not in WAL mode, and may not be switched.
   */
  checkMode(): Promise<void>;

  /** Bytes that the database's disk has free for this process; null: it cannot be asked. */
  freeBytes(): Promise<number | null>;

  /** The statements that `migrate` would run on the database of an old app. */
  pendingStatements(choice?: MigrationChoice): Promise<readonly string[]>;

  /** Runs the migrations that are missing, one process at a time. */
  migrate(choice?: MigrationChoice): Promise<void>;

  /** Takes back every migration, newest first, one process at a time. */
  revertAll(): Promise<void>;

  close(): Promise<void>;
}

/** The writing connection, held by one worker. */
export interface Session extends Queryable {
  /** As `Database.transaction`, on this session's connection. */
  transaction<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result>;
}

/** Tables, by what has to be done with them. */
export interface NeededRights {
  readonly read: readonly string[];
  readonly alter: readonly string[];
}

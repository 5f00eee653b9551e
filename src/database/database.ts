import type { Dialect } from './dialect.js';

/** Values for the `:name` places of a statement. Ids beyond 2^53 are given as text. */
export type Parameters = Readonly<Record<string, string | number | boolean | null>>;

/**
 * Something that runs statements: a connection for reading, or an open transaction.
 *
 * Statements name their values (`:limit`); the engine's own places are put in by TypeORM's driver.
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
   * A call inside another one joins it. A failed statement dooms the transaction, caught or not: it is rolled
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

  /** Runs the migrations that are missing, one process at a time. */
  migrate(): Promise<void>;

  /** Takes back every migration, newest first, one process at a time. */
  revertAll(): Promise<void>;

  close(): Promise<void>;
}

/** The writing connection, held by one worker. */
export interface Session extends Queryable {
  /** As `Database.transaction`, on this session's connection. */
  transaction<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result>;
}

import type { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type DataSourceOptions, type QueryRunner } from 'typeorm';
import { messageOf, SegueError } from '../../errors/segue-error.js';
import { haveSameShifts, UTC, type Zone } from '../../config/zone.js';
import type { Database, NeededRights, Parameters, Queryable, Session } from '../database.js';
import { Nesting } from '../nesting.js';
import { keptName } from '../kept-statements.js';
import { withPlaces } from '../places.js';
import { runTransaction } from '../open-transaction.js';
import { codeOf, ConnectionEnded } from '../database-errors.js';
import type { Dialect } from '../dialect.js';
import type { Schema } from '../schema.js';
import {
  type MigrationChoice,
  pendingStatements,
  revertMigrations,
  runMigrations,
} from '../migration-run.js';
import { SilentLogger } from '../silent-logger.js';
import { postgresDialect } from './postgres-dialect.js';
import { freeBytesOfServer } from './postgres-disk.js';
import { checkRoleRights } from './postgres-rights.js';
import { postgresDialectIn } from './postgres-zone.js';

/** Connections of one process: many short reads, few writers. */
const READERS = 8;
const WRITERS = 4;

/**
 * Settings of every connection of ours. Old times are answered as the column's text, which DateStyle and TimeZone
 * shape; a stopped process must not hold locks for ever.
 */
const SESSION = [
  'timezone=UTC',
  'datestyle=ISO,YMD',
  'synchronous_commit=on',
  'default_transaction_isolation=read\\ committed',
  'idle_in_transaction_session_timeout=60s',
  // Statements over ranges of rows cost enough to be compiled, and then take longer for it: 0.1 of 0.7 s seen.
  'jit=off',
  // A freshly loaded old table has no statistics: at the default of 4 the planner then sorts the rest of the table
  // for each range of ids instead of walking along the key. ANALYZE would cure it, and change the old app's plans.
  'random_page_cost=1.1',
];

/** How long an ALTER TABLE may wait, and make every later SELECT wait behind it (703 ms seen without). */
const DDL_LOCK_TIMEOUT_MS = 50;
const DDL_ATTEMPTS = 120;
const DDL_PAUSE_MS = { least: 100, spread: 400 };

/** One key for all that changes tables: "segue" in ASCII. */
const ADVISORY_KEY = '495539873125';
const ADVISORY_WAIT_MS = 60_000;

const LOCK_NOT_AVAILABLE = '55P03';

export interface PostgresOptions {
  readonly url: string;
  readonly shown: string;
  readonly schema: Schema;
  /** Of the times in the old tables. */
  readonly zone: Zone;
}

/** The options that the data source of `ormconfig.ts` and all pools here share. */
export function postgresDataSourceOptions(
  url: string,
  schema: Schema,
  settings: readonly string[] = [],
  poolSize = WRITERS,
): DataSourceOptions {
  // Left in the URL, the operator's own options would be taken instead of ours, without a word.
  const target = new URL(url);
  const own = target.searchParams.get('options') ?? '';
  target.searchParams.delete('options');
  const all = [...SESSION, ...settings].map((setting) => `-c ${setting}`);
  return {
    type: 'postgres',
    url: own === '' ? url : target.href,
    poolSize,
    applicationName: 'segue',
    connectTimeoutMS: 5_000,
    installExtensions: false,
    // Generated keys by gen_random_uuid(), which needs no extension since PostgreSQL 13.
    uuidExtension: 'pgcrypto',
    extra: { options: [own, ...all].join(' ') },
    entities: [...schema.entities],
    migrations: [...schema.migrations],
    migrationsTableName: schema.migrationsTable,
  };
}

/** A chat database on PostgreSQL: a pool that can only read, and one for transactions. */
export class PostgresDatabase implements Database {
  readonly dialect: Dialect;
  readonly reader: Queryable;
  private readonly nesting = new Nesting();

  private constructor(
    private readonly options: PostgresOptions,
    private readonly readSource: DataSource,
    private readonly writeSource: DataSource,
  ) {
    this.dialect = haveSameShifts(options.zone, UTC)
      ? postgresDialect
      : postgresDialectIn(options.zone);
    this.reader = new PooledReader(readSource);
  }

  get shown(): string {
    return this.options.shown;
  }

  /**
   * Connects.
   * @throws SegueError DATABASE_UNREACHABLE, DATABASE_NOT_FOUND.
   */
  static async open(options: PostgresOptions): Promise<PostgresDatabase> {
    const readSource = await connect(options, ['default_transaction_read_only=on'], READERS);
    try {
      const writeSource = await connect(options, [], WRITERS);
      return new PostgresDatabase(options, readSource, writeSource);
    } catch (error) {
      await readSource.destroy();
      throw error;
    }
  }

  snapshot<Result>(work: (reader: Queryable) => Promise<Result>): Promise<Result> {
    return withRunner(this.readSource, (connection) =>
      runTransaction(connection, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', work),
    );
  }

  async transaction<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result> {
    this.nesting.check();
    return withRunner(this.writeSource, (connection) => this.transactionOn(connection, work));
  }

  session<Result>(work: (session: Session) => Promise<Result>): Promise<Result> {
    return withRunner(this.writeSource, (connection) =>
      work({
        all: (sql, parameters) => connection.all(sql, parameters),
        run: (sql, parameters) => connection.run(sql, parameters),
        transaction: (inner) => this.transactionOn(connection, inner),
      }),
    );
  }

  restructure<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result> {
    return this.changeTables((source) =>
      withRunner(source, (connection) => this.transactionOn(connection, work)),
    );
  }

  checkRights(needed: NeededRights): Promise<void> {
    return checkRoleRights(this.reader, needed);
  }

  async checkMode(): Promise<void> {
    // There is but one here.
  }

  freeBytes(): Promise<number | null> {
    return freeBytesOfServer(this.reader);
  }

  pendingStatements(choice: MigrationChoice = {}): Promise<readonly string[]> {
    return pendingStatements(this.readSource, choice);
  }

  migrate(choice: MigrationChoice = {}): Promise<void> {
    return this.changeTables((source) => runMigrations(source, 'each', choice));
  }

  revertAll(): Promise<void> {
    return this.changeTables((source) => revertMigrations(source, 'each'));
  }

  async close(): Promise<void> {
    for (const source of [this.readSource, this.writeSource])
      if (source.isInitialized) await source.destroy();
  }

  /** Holds the advisory lock while `work` runs, and tries it again while a table is locked by others. */
  private changeTables<Result>(work: (source: DataSource) => Promise<Result>): Promise<Result> {
    return withRunner(this.writeSource, async (lock) => {
      await takeAdvisoryLock(lock);
      try {
        const source = await connect(
          this.options,
          [`lock_timeout=${DDL_LOCK_TIMEOUT_MS}ms`],
          WRITERS,
        );
        try {
          return await retryWhileLocked(() => work(source));
        } finally {
          await source.destroy();
        }
      } finally {
        await lock.all('SELECT pg_advisory_unlock(:key)', { key: ADVISORY_KEY });
      }
    });
  }

  private transactionOn<Result>(
    connection: Queryable,
    work: (transaction: Queryable) => Promise<Result>,
  ): Promise<Result> {
    return runTransaction(connection, 'BEGIN', (transaction) =>
      this.nesting.run(transaction, work),
    );
  }
}

/** As far as we need pg's. */
interface Client {
  query(statement: {
    name: string | undefined;
    text: string;
    values: readonly unknown[];
  }): Promise<Answer>;
}

interface Answer {
  readonly rows: object[];
  readonly rowCount: number | null;
}

/** One connection of a pool, as long as its QueryRunner lives. */
class RunnerConnection implements Queryable {
  constructor(private readonly runner: QueryRunner) {}

  async all<Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> {
    return (await this.query(sql, parameters)).rows as Row[];
  }

  async run(sql: string, parameters?: Parameters): Promise<number> {
    return (await this.query(sql, parameters)).rowCount ?? 0;
  }

  /** By the connection itself: TypeORM's `query()` knows no names, and has a cost per call. */
  private async query(sql: string, parameters?: Parameters): Promise<Answer> {
    // A connection that ends between two statements is released by TypeORM, which then speaks of a mistake of ours.
    if (this.runner.isReleased) throw new ConnectionEnded();
    const client = (await this.runner.connect()) as Client;
    const [text, values] = bind(sql, parameters);
    return client.query({ name: keptName(sql), text, values });
  }
}

class PooledReader implements Queryable {
  constructor(private readonly source: DataSource) {}

  all<Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> {
    return withRunner(this.source, (connection) => connection.all<Row>(sql, parameters));
  }

  run(sql: string, parameters?: Parameters): Promise<number> {
    return withRunner(this.source, (connection) => connection.run(sql, parameters));
  }
}

function bind(sql: string, parameters: Parameters = {}): [string, unknown[]] {
  const places = new Map<string, string>();
  const values: unknown[] = [];
  const text = withPlaces(sql, parameters, (name) => {
    const known = places.get(name);
    if (known !== undefined) return known;
    values.push(parameters[name]);
    const place = `$${values.length}`;
    places.set(name, place);
    return place;
  });
  return [text, values];
}

async function withRunner<Result>(
  source: DataSource,
  work: (connection: Queryable) => Promise<Result>,
): Promise<Result> {
  const runner = source.createQueryRunner();
  try {
    await runner.connect();
  } catch (error) {
    await runner.release();
    throw new SegueError(
      'UNAVAILABLE',
      `The database does not accept a connection at the moment (${codeOf(error) ?? messageOf(error)}): try again.`,
      { cause: error },
    );
  }
  try {
    return await work(new RunnerConnection(runner));
  } finally {
    await runner.release();
  }
}

async function connect(
  options: PostgresOptions,
  settings: readonly string[],
  poolSize: number,
): Promise<DataSource> {
  const source = new DataSource({
    ...postgresDataSourceOptions(options.url, options.schema, settings, poolSize),
    logger: new SilentLogger(),
  });
  try {
    await source.initialize();
    surviveEndings(source);
    return source;
  } catch (error) {
    const code = codeOf(error);
    if (code === '3D000')
      throw new SegueError(
        'DATABASE_NOT_FOUND',
        `The server has no database of that name: DATABASE_URL says ${options.shown}.`,
        { cause: error },
      );
    throw new SegueError(
      'DATABASE_UNREACHABLE',
      `${options.shown} cannot be reached (${code ?? messageOf(error)}): is the server running, and do host, port, user and password of DATABASE_URL fit?`,
      { cause: error },
    );
  }
}

/**
 * Has each new connection listen to its own errors from its first moment. Where the server says that it is ready and ends
 * the connection in one packet, pg tells of the end when the pool listens no more and TypeORM does not yet: an error that
 * nobody listens to ends the process. The next statement on that connection fails, and it leaves the pool.
 */
function surviveEndings({ driver }: DataSource): void {
  const { master } = driver as unknown as { master: EventEmitter };
  master.on('connect', (client: EventEmitter) => client.on('error', () => undefined));
}

async function takeAdvisoryLock(connection: Queryable): Promise<void> {
  const until = Date.now() + ADVISORY_WAIT_MS;
  for (;;) {
    const [row] = await connection.all<{ taken: boolean }>(
      'SELECT pg_try_advisory_lock(:key) AS taken',
      { key: ADVISORY_KEY },
    );
    if (row?.taken) return;
    if (Date.now() > until)
      throw new SegueError(
        'RUNNER_ACTIVE',
        `Another process has been changing the tables for ${ADVISORY_WAIT_MS / 1000} s; run this again when it is done.`,
      );
    await sleep(DDL_PAUSE_MS.least);
  }
}

async function retryWhileLocked<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (codeOf(error) !== LOCK_NOT_AVAILABLE) throw error;
      if (attempt === DDL_ATTEMPTS)
        throw new SegueError(
          'LOCK_TIMEOUT',
          `A table stayed locked by other sessions through ${DDL_ATTEMPTS} attempts; what was done so far stays, and running this again goes on. ` +
            `pg_stat_activity shows who holds it.`,
          { cause: error },
        );
      await sleep(DDL_PAUSE_MS.least + Math.random() * DDL_PAUSE_MS.spread);
    }
  }
}

import { writeSync } from 'node:fs';
import pg from 'pg';
import sqlite3 from 'sqlite3';
import { backfill } from '../../src/changeover/backfill.js';
import type { ChangeoverContext } from '../../src/changeover/context.js';
import { expand } from '../../src/changeover/expand.js';
import { replayQuarantine } from '../../src/changeover/quarantine.js';
import { rollback } from '../../src/changeover/rollback.js';
import { verify } from '../../src/changeover/verify.js';
import { parseDatabaseUrl } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { openDatabase } from '../../src/database/open-database.js';
import { schemaOf } from '../../src/schema.js';

/**
 * Runs one step of a changeover, and kills or stops itself at its n-th statement. It stands between the database's
 * driver and everything else, so that it sees each statement: those of TypeORM's migrations, BEGIN and COMMIT.
 *
 * Waits for its orders on the channel to its parent, so that the parent can have the next one ready. Prints a line of
 * JSON for each statement as it is sent.
 */

/** A step, as a test names it. */
export type Step =
  | 'expand'
  | 'expand --without-columns --wal'
  | 'backfill'
  | 'verify'
  | 'repair'
  | 'replay'
  | 'rollback'
  | 'rollback --to EXPANDED'
  | 'rollback --purge --drop-columns';

export interface Orders {
  readonly url: string;
  readonly step: Step;
  /** Which statement, from 1; 0: none, the step runs to its end. */
  readonly at: number;
  /** Count only statements that match this regular expression. */
  readonly of?: string;
  /** `sent`: it may be in force or not when the process dies. `done`: the database has acknowledged it. */
  readonly when: 'sent' | 'done';
  /** SIGSTOP: it goes on when it is told to. */
  readonly signal: 'SIGKILL' | 'SIGSTOP';
}

/** A statement as it was sent. */
export interface Sent {
  readonly sql: string;
  /** Whether a transaction was open on that connection before it. */
  readonly inTransaction: boolean;
}

const STEPS: Readonly<
  Record<Step, (context: ChangeoverContext, table: string) => Promise<unknown>>
> = {
  expand: (context, migrationsTable) => expand(context, { backup: null, migrationsTable }),
  'expand --without-columns --wal': (context, migrationsTable) =>
    expand(context, { backup: null, migrationsTable, withoutColumns: true }),
  backfill: (context) => backfill(context),
  verify: (context) => verify(context),
  repair: (context) => verify(context, { repair: true }),
  replay: (context) => replayQuarantine(context),
  rollback: (context, migrationsTable) => rollback(context, { to: 'LEGACY', migrationsTable }),
  'rollback --to EXPANDED': (context, migrationsTable) =>
    rollback(context, { to: 'EXPANDED', migrationsTable }),
  'rollback --purge --drop-columns': (context, migrationsTable) =>
    rollback(context, { to: 'LEGACY', purge: true, dropColumns: true, migrationsTable }),
};

/** How long SQLite may go on with a statement that was sent, in ms: now it is through, now it is not. */
const SPREAD_MS = 4;

let orders: Orders | undefined;
let count = 0;
const open = new Set<object>();

function die(signal: Orders['signal']): void {
  if (signal === 'SIGSTOP') say('SIGSTOP\n');
  process.kill(process.pid, signal);
  // The signal is in force when the call returns; nothing may happen should it be late.
  while (signal === 'SIGKILL') pause(1000);
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Prints all of it before it returns, also to a reader who is behind: his pipe takes a part, or nothing for now. */
function say(text: string): void {
  for (let rest = Buffer.from(text); rest.length > 0;)
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      pause(1);
    }
}

/** Says that a statement is sent; its number. */
function sent(connection: object, sql: string): number {
  if (orders === undefined) return 0;
  const counts = orders.of === undefined || new RegExp(orders.of, 's').test(sql);
  if (counts) count += 1;
  const line: Sent = { sql, inTransaction: open.has(connection) };
  // To the end before anything else: what a stream still holds dies with the process.
  say(`${JSON.stringify(line)}\n`);
  if (/^(BEGIN|START)/.test(sql)) open.add(connection);
  if (/^(COMMIT|ROLLBACK|END)/.test(sql)) open.delete(connection);
  return counts ? count : 0;
}

function dieIf(number: number, when: Orders['when']): void {
  if (orders === undefined || number === 0 || orders.at !== number || orders.when !== when) return;
  if (when === 'sent') pause(number % SPREAD_MS);
  die(orders.signal);
}

type Callback = (this: unknown, ...results: unknown[]) => void;

/** The connection of each statement that is kept compiled, which runs without it. */
const connectionOf = new WeakMap<sqlite3.Statement, object>();

const prepare = Reflect.get(sqlite3.Database.prototype, 'prepare') as (
  ...args: unknown[]
) => sqlite3.Statement;
Object.defineProperty(sqlite3.Database.prototype, 'prepare', {
  value: function (this: object, ...args: unknown[]): sqlite3.Statement {
    const statement = prepare.apply(this, args);
    connectionOf.set(statement, this);
    return statement;
  },
});

/** Whose statement a call runs; null: it is counted elsewhere. */
type Place = { readonly connection: object; readonly sql: string } | null;

/** Not `exec`: TypeORM and we have no use for it. A statement of theirs always has a callback. */
function watch(
  prototype: object,
  method: 'run' | 'all',
  placeOf: (self: object, args: unknown[]) => Place,
): void {
  const original = Reflect.get(prototype, method) as (...args: unknown[]) => unknown;
  const watched = function (this: object, ...args: unknown[]): unknown {
    const place = placeOf(this, args);
    if (place === null) return original.apply(this, args);
    const number = sent(place.connection, place.sql);
    const callback = args.pop() as Callback;
    const result = original.call(this, ...args, function (this: unknown, ...results: unknown[]) {
      dieIf(number, 'done');
      callback.apply(this, results);
    });
    dieIf(number, 'sent');
    return result;
  };
  Object.defineProperty(prototype, method, { value: watched });
}

for (const method of ['run', 'all'] as const) {
  watch(sqlite3.Database.prototype, method, (connection, [sql]) => ({
    connection,
    sql: String(sql),
  }));
  watch(sqlite3.Statement.prototype, method, (self) => {
    const statement = self as sqlite3.Statement & { readonly sql: string };
    const connection = connectionOf.get(statement);
    // One that a connection has made for itself was counted there.
    return connection === undefined ? null : { connection, sql: statement.sql };
  });
}

const query = Reflect.get(pg.Client.prototype, 'query') as (...args: unknown[]) => Promise<unknown>;
Object.defineProperty(pg.Client.prototype, 'query', {
  value: async function (
    this: object,
    statement: string | { readonly text: string },
    ...rest: unknown[]
  ): Promise<unknown> {
    const number = sent(this, typeof statement === 'string' ? statement : statement.text);
    const answer = query.call(this, statement, ...rest);
    dieIf(number, 'sent');
    try {
      return await answer;
    } finally {
      dieIf(number, 'done');
    }
  },
});

async function obey(given: Orders): Promise<void> {
  const location = parseDatabaseUrl(given.url);
  const schema = schemaOf(location.engine, DEFAULT_MAPPING);
  const switchToWal = given.step.includes('--wal');
  const database = await openDatabase(location, schema, { switchToWal });
  orders = given;
  await STEPS[given.step](
    { database, mapping: DEFAULT_MAPPING, report: () => undefined, who: 'a drill' },
    schema.migrationsTable,
  );
  orders = undefined;
  await database.close();
  process.disconnect();
}

process.once('message', (given: Orders) => {
  obey(given).catch((error: unknown) => {
    process.stderr.write(
      `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit(1);
  });
});

import sqlite3 from 'sqlite3';
import type { DataSource } from 'typeorm';
import type { SqliteDriver } from 'typeorm/driver/sqlite/SqliteDriver.js';
import type { Parameters, Queryable } from '../database.js';
import { withPlaces } from '../places.js';

/**
 * What TypeORM asks its driver package for, without `verbose()`: that records a stack trace for each statement.
 */
export const quietSqlite3: unknown = Object.create(sqlite3, {
  verbose: { value: () => sqlite3 },
});

/** The most statements that a connection keeps compiled. */
const MOST_KEPT = 100;

/** A statement that can be run again as soon as its last row was read, or it has failed. */
const CAN_BE_KEPT = /^\s*(SELECT|WITH|INSERT|UPDATE|DELETE|BEGIN|COMMIT)\b/i;

/** What runs only until its first row is then in the midst of it. */
const GIVES_ROWS = /^\s*(SELECT|WITH)\b|\bRETURNING\b/i;

/** The compiled statements of each connection: who asks for the same again saves half of the ways to the driver's threads. */
const kept = new WeakMap<sqlite3.Database, KeptStatements>();

/**
 * The connection of a DataSource, addressed directly. TypeORM's `query()` decides by a statement's first word what
 * it gives back (`WITH … INSERT` counts nothing, `INSERT … RETURNING` gives one id), and has a cost per call.
 */
export class SqliteConnection implements Queryable {
  private readonly handle: sqlite3.Database;
  private readonly statements: KeptStatements;

  constructor(dataSource: DataSource) {
    this.handle = handleOf(dataSource);
    const known = kept.get(this.handle);
    this.statements = known ?? new KeptStatements(this.handle);
    if (known === undefined) kept.set(this.handle, this.statements);
  }

  all<Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> {
    const [text, values] = bind(sql, parameters);
    const statement = this.statements.find(text);
    return new Promise((resolve, reject) => {
      const answer = (error: Error | null, rows: Row[]): void => {
        if (error) reject(error);
        else resolve(rows);
      };
      if (statement === null) this.handle.all<Row>(text, values, answer);
      else statement.all<Row>(values, answer);
    });
  }

  run(sql: string, parameters?: Parameters): Promise<number> {
    const [text, values] = bind(sql, parameters);
    const statement = GIVES_ROWS.test(text) ? null : this.statements.find(text);
    return new Promise((resolve, reject) => {
      const answer = function (this: sqlite3.RunResult, error: Error | null): void {
        if (error) reject(error);
        else resolve(this.changes);
      };
      if (statement === null) this.handle.run(text, values, answer);
      else statement.run(values, answer);
    });
  }
}

/** Closes a DataSource: SQLite closes no connection that has compiled statements. */
export async function closeSource(dataSource: DataSource): Promise<void> {
  await kept.get(handleOf(dataSource))?.end();
  await dataSource.destroy();
}

function handleOf({ driver }: DataSource): sqlite3.Database {
  return (driver as SqliteDriver).databaseConnection as sqlite3.Database;
}

/** Numbers stand in the statement, since sqlite3 gives all that pass 32 bits as floating ones. */
function bind(sql: string, parameters: Parameters = {}): [string, unknown[]] {
  const values: unknown[] = [];
  const text = withPlaces(sql, parameters, (name) => {
    const value = parameters[name];
    if (typeof value === 'number') return String(value);
    values.push(typeof value === 'boolean' ? Number(value) : value);
    return '?';
  });
  return [text, values];
}

interface Kept {
  /** Null until it is asked for a second time, and while it is compiled. */
  statement: sqlite3.Statement | null;
  compiling: Promise<void> | null;
}

/** The statements that a connection was asked for last, compiled when they are asked for a second time. */
class KeptStatements {
  private readonly kept = new Map<string, Kept>();

  constructor(private readonly handle: sqlite3.Database) {}

  /** Null for one that is to be compiled for this time only. */
  find(text: string): sqlite3.Statement | null {
    const known = this.kept.get(text);
    if (known === undefined) {
      if (CAN_BE_KEPT.test(text)) this.keep(text, { statement: null, compiling: null });
      return null;
    }
    this.kept.delete(text);
    this.kept.set(text, known);
    // One that cannot be compiled is never run: sqlite3 would tell nobody.
    known.compiling ??= this.compile(text, known);
    return known.statement;
  }

  private compile(text: string, entry: Kept): Promise<void> {
    return new Promise((resolve) => {
      const statement = this.handle.prepare(text, (error: Error | null) => {
        if (error === null) entry.statement = statement;
        else this.kept.delete(text);
        resolve();
      });
    });
  }

  private keep(text: string, entry: Kept): void {
    this.kept.set(text, entry);
    const [oldest] = this.kept;
    if (this.kept.size <= MOST_KEPT || oldest === undefined) return;
    this.kept.delete(oldest[0]);
    void release(oldest[1]);
  }

  async end(): Promise<void> {
    const entries = [...this.kept.values()];
    this.kept.clear();
    await Promise.all(entries.map((entry) => release(entry)));
  }
}

async function release(entry: Kept): Promise<void> {
  await entry.compiling;
  const { statement } = entry;
  if (statement === null) return;
  await new Promise<void>((resolve) => {
    statement.finalize(() => {
      resolve();
    });
  });
}

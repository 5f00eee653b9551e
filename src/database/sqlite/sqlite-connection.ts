import sqlite3 from 'sqlite3';
import type { DataSource } from 'typeorm';
import type { SqliteDriver } from 'typeorm/driver/sqlite/SqliteDriver.js';
import type { Parameters, Queryable } from '../database.js';

/**
 * What TypeORM asks its driver package for, without `verbose()`: that records a stack trace for each statement.
 */
export const quietSqlite3: unknown = Object.create(sqlite3, {
  verbose: { value: () => sqlite3 },
});

/**
 * The connection of a DataSource, addressed directly. TypeORM's `query()` decides by a statement's first word what
 * it gives back (`WITH … INSERT` counts nothing, `INSERT … RETURNING` gives one id), and has a cost per call.
 */
export class SqliteConnection implements Queryable {
  private readonly handle: sqlite3.Database;

  constructor(private readonly dataSource: DataSource) {
    this.handle = (dataSource.driver as SqliteDriver).databaseConnection as sqlite3.Database;
  }

  all<Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> {
    const [text, values] = this.bind(sql, parameters);
    return new Promise((resolve, reject) => {
      this.handle.all<Row>(text, values, (error, rows) => {
        if (error) reject(error);
        else resolve(rows);
      });
    });
  }

  run(sql: string, parameters?: Parameters): Promise<number> {
    const [text, values] = this.bind(sql, parameters);
    return new Promise((resolve, reject) => {
      this.handle.run(text, values, function (error) {
        if (error) reject(error);
        else resolve(this.changes);
      });
    });
  }

  private bind(sql: string, parameters: Parameters = {}): [string, unknown[]] {
    return this.dataSource.driver.escapeQueryWithParameters(sql, { ...parameters }, {});
  }
}

import { DataSource } from 'typeorm';
import type { DatabaseLocation } from '../config/config.js';
import type { Database } from './database.js';
import { PostgresDatabase, postgresDataSourceOptions } from './postgres/postgres-database.js';
import type { Schema } from './schema.js';
import { SqliteDatabase, sqliteDataSourceOptions } from './sqlite/sqlite-database.js';

export interface OpenOptions {
  /** Make an SQLite file that is missing. PostgreSQL's databases are always made by their owner. */
  readonly create?: boolean;
  /** Switch an SQLite file to WAL mode when something has to be written to it. */
  readonly switchToWal?: boolean;
}

/**
 * Opens the database that the configuration names; nothing is written by opening.
 * @throws SegueError DATABASE_NOT_FOUND, DATABASE_UNREACHABLE, UNSUPPORTED_DATABASE.
 */
export function openDatabase(
  location: DatabaseLocation,
  schema: Schema,
  { create = false, switchToWal = false }: OpenOptions = {},
): Promise<Database> {
  const { shown } = location;
  return location.engine === 'sqlite'
    ? SqliteDatabase.open({ path: location.path, shown, schema, create, switchToWal })
    : PostgresDatabase.open({ url: location.url, shown, schema });
}

/** A plain TypeORM data source on the same database, for TypeORM's command line and for tests. */
export function dataSourceOf(location: DatabaseLocation, schema: Schema): DataSource {
  return new DataSource(
    location.engine === 'sqlite'
      ? sqliteDataSourceOptions(location.path, schema)
      : postgresDataSourceOptions(location.url, schema),
  );
}

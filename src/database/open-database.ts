import { DataSource } from 'typeorm';
import type { DatabaseLocation } from '../config/config.js';
import { haveSameShifts, UTC, type Zone } from '../config/zone.js';
import type { Database } from './database.js';
import { checkMayRun } from './versions.js';
import { PostgresDatabase, postgresDataSourceOptions } from './postgres/postgres-database.js';
import type { Schema } from './schema.js';
import { checkZoneIs, findSettledZone } from './settled-zone.js';
import { SqliteDatabase, sqliteDataSourceOptions } from './sqlite/sqlite-database.js';

export interface OpenOptions {
  /** Make an SQLite file that is missing. PostgreSQL's databases are always made by their owner. */
  readonly create?: boolean;
  /** Switch an SQLite file to WAL mode when something has to be written to it. */
  readonly switchToWal?: boolean;
  /** The zone of the times in the old tables; UTC when none is given. */
  readonly zone?: Zone;
}

/**
 * Opens the database that the configuration names; nothing is written by opening.
 * @throws SegueError DATABASE_NOT_FOUND, DATABASE_UNREACHABLE, UNSUPPORTED_DATABASE, NOT_PERMITTED; NEWER_DATABASE when
 *   another version wrote it that does not let this one go on; BAD_CONFIG when old times were copied in another zone.
 */
export async function openDatabase(
  location: DatabaseLocation,
  schema: Schema,
  options: OpenOptions = {},
): Promise<Database> {
  const { zone = UTC } = options;
  const database = await connect(location, schema, { ...options, zone });
  try {
    await checkMayRun(database, schema);
    const settled = await findSettledZone(database, schema);
    if (settled === null || (settled.name === zone.name && haveSameShifts(settled, zone)))
      return database;
    checkZoneIs(settled, zone, location.shown);
    // The same clocks under another name; or this version of Node knows other shifts of the zone than the one that
    // copied the rows, and theirs go on.
    await database.close();
    return await connect(location, schema, { ...options, zone: settled });
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function connect(
  location: DatabaseLocation,
  schema: Schema,
  { create = false, switchToWal = false, zone }: OpenOptions & { readonly zone: Zone },
): Promise<Database> {
  const { shown } = location;
  return location.engine === 'sqlite'
    ? SqliteDatabase.open({ path: location.path, shown, schema, zone, create, switchToWal })
    : PostgresDatabase.open({ url: location.url, shown, schema, zone });
}

/** A plain TypeORM data source on the same database, for TypeORM's command line and for tests. */
export function dataSourceOf(location: DatabaseLocation, schema: Schema): DataSource {
  return new DataSource(
    location.engine === 'sqlite'
      ? sqliteDataSourceOptions(location.path, schema)
      : postgresDataSourceOptions(location.url, schema),
  );
}

import { join } from 'node:path';
import pg from 'pg';
import { parseDatabaseUrl } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { openDatabase } from '../../src/database/open-database.js';
import { schemaOf } from '../../src/schema.js';

/** Where the database is, for us and for the old apps. */
export interface Place {
  readonly url: string;
  readonly oldAppUrl: string;
  /** Lets the old app's role at the tables that are there. */
  letIn(): Promise<void>;
  drop(): Promise<void>;
}

/**
 * Makes an empty database.
 * @param name of the database and of the old app's role on PostgreSQL, where nothing of that name is
 */
export async function makePlace(
  { engine, postgresUrl }: { readonly engine: EngineName; readonly postgresUrl: string },
  name: string,
  folder: string,
): Promise<Place> {
  if (engine === 'sqlite') {
    const url = `sqlite:${join(folder, 'chat.sqlite')}`;
    return { url, oldAppUrl: url, letIn: () => Promise.resolve(), drop: () => Promise.resolve() };
  }
  const as = (database: string): URL => {
    const url = new URL(postgresUrl);
    url.pathname = `/${database}`;
    return url;
  };
  const on = async (url: URL, ...statements: string[]): Promise<void> => {
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    try {
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.end();
    }
  };
  const server = new URL(postgresUrl);
  await on(server, `CREATE DATABASE ${name}`, `CREATE ROLE ${name} LOGIN PASSWORD '${name}'`);
  const oldApp = as(name);
  oldApp.username = name;
  oldApp.password = name;
  return {
    url: as(name).href,
    oldAppUrl: oldApp.href,
    letIn: () =>
      on(
        as(name),
        `GRANT SELECT, INSERT, UPDATE, DELETE ON users, messages TO ${name}`,
        `GRANT USAGE ON SEQUENCE messages_id_seq TO ${name}`,
      ),
    drop: () => on(server, `DROP DATABASE ${name} WITH (FORCE)`, `DROP ROLE ${name}`),
  };
}

/** Opens a database for `work`, and closes it. */
export async function withDatabase<Result>(
  url: string,
  work: (database: Database) => Promise<Result>,
): Promise<Result> {
  const location = parseDatabaseUrl(url);
  const database = await openDatabase(location, schemaOf(location.engine, DEFAULT_MAPPING), {
    create: true,
  });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

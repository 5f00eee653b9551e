import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type DatabaseLocation, parseDatabaseUrl } from '../src/config/config.js';
import { DEFAULT_MAPPING } from '../src/config/legacy-mapping.js';
import type { Database } from '../src/database/database.js';
import type { EngineName } from '../src/database/dialect.js';
import { openDatabase } from '../src/database/open-database.js';
import { generateLegacy } from '../src/demo/legacy-generator.js';
import { schemaOf } from '../src/schema.js';
import { makePlace, type Place } from '../test/drills/place.js';

/** Where databases of benchmarks are made. */
const SERVER = process.env.TEST_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres';

/** Runs `work` on a generated old database of each engine, which is dropped afterwards. */
export async function onBothEngines(
  messages: number,
  work: (database: Database) => Promise<void>,
): Promise<void> {
  for (const make of [sqlite, postgres]) {
    const { location, drop } = await make();
    const schema = schemaOf(location.engine, DEFAULT_MAPPING);
    const database = await openDatabase(location, schema, { create: true });
    try {
      await generateLegacy(database, DEFAULT_MAPPING, { messages, seed: 1 });
      await work(database);
    } finally {
      await database.close();
      await drop();
    }
  }
}

interface Made {
  readonly location: DatabaseLocation;
  readonly drop: () => Promise<void>;
}

async function sqlite(): Promise<Made> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-bench-'));
  return {
    location: parseDatabaseUrl(`sqlite:${join(folder, 'chat.sqlite')}`),
    drop: () => rm(folder, { recursive: true }),
  };
}

async function postgres(): Promise<Made> {
  const name = `segue_bench_${randomBytes(4).toString('hex')}`;
  await onServer(`CREATE DATABASE ${name}`);
  const url = new URL(SERVER);
  url.pathname = `/${name}`;
  return {
    location: parseDatabaseUrl(url.href),
    drop: () => onServer(`DROP DATABASE ${name} WITH (FORCE)`),
  };
}

async function onServer(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: SERVER });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** An empty database and a folder, for processes of their own. */
export async function placeOn(
  engine: EngineName,
): Promise<{ place: Place; folder: string; drop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-bench-'));
  const place = await makePlace(
    { engine, postgresUrl: SERVER },
    `segue_bench_${process.pid}`,
    folder,
  );
  return {
    place,
    folder,
    drop: async () => {
      await place.drop();
      await rm(folder, { recursive: true });
    },
  };
}

/** Milliseconds that something took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** The median of the milliseconds that something takes, after it was done once. */
export async function median(times: number, query: () => Promise<unknown>): Promise<number> {
  await query();
  const taken: number[] = [];
  for (let i = 0; i < times; i += 1) taken.push(await timed(query));
  return taken.sort((a, b) => a - b)[times >> 1] ?? 0;
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import pg from 'pg';
import { whyNoTmpfs } from './find-tmpfs.js';

/** Where tests may make databases, unless TEST_POSTGRES_URL says otherwise. */
const DEFAULT_URL = 'postgres://postgres@127.0.0.1:5432/postgres';

const leaveOut = (sentence) => {
  process.env.SEGUE_TEST_LEFT_OUT = [process.env.SEGUE_TEST_LEFT_OUT, sentence]
    .filter((known) => known !== undefined)
    .join('\n');
};

/**
 * Looks for PostgreSQL once, before all tests. Without it the tests run on SQLite alone and say so, unless
 * SEGUE_TEST_REQUIRE=postgres asks for it. Looks too for Redis, of which tests start
 * servers of their own, and for the right to mount a small file system.
 */
export default async function findDatabases() {
  const url = process.env.TEST_POSTGRES_URL ?? DEFAULT_URL;
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  try {
    await client.connect();
    await client.end();
    process.env.SEGUE_TEST_POSTGRES = url;
  } catch (error) {
    if (process.env.SEGUE_TEST_REQUIRE === 'postgres') throw error;
    leaveOut(
      `PostgreSQL was left out (${error.code ?? error.message}): start one and set TEST_POSTGRES_URL=postgres://USER@HOST:PORT/DATABASE to include it.`,
    );
  }
  try {
    await promisify(execFile)('redis-server', ['--version']);
    process.env.SEGUE_TEST_REDIS = 'yes';
  } catch (error) {
    if (process.env.SEGUE_TEST_REQUIRE === 'postgres') throw error;
    leaveOut(
      `Redis was left out (${error.code ?? error.message}): install redis-server to include it.`,
    );
  }
  const why = await whyNoTmpfs();
  if (why === null) process.env.SEGUE_TEST_TMPFS = 'yes';
  else
    leaveOut(
      `A full disk was left out (${why}): run the tests as root, where mounting a tmpfs is allowed, to include it.`,
    );
}

import { spawn } from 'node:child_process';
import { chown, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { freePort } from '../drills/processes.js';
import { atTheEnd, onServer, useServer } from './databases.js';

/** How long a new server may take until it accepts connections, in ms. */
const PATIENCE_MS = 60_000;

/**
 * Starts a PostgreSQL server of this file's own, from the programs and as the user of the shared one, on which the rest
 * of the file makes its databases. For what harms a whole server: where one tablespace is full, no checkpoint succeeds,
 * and CREATE and DROP DATABASE of everybody else fail.
 * @returns a file whose owner the server runs as
 */
export async function startOwnPostgres(): Promise<string> {
  const [shared] = await onServer<{ programs: string; data: string }>(
    `SELECT (SELECT setting FROM pg_config WHERE name = 'BINDIR') AS programs, current_setting('data_directory') AS data`,
  );
  if (shared === undefined) throw new Error('The server does not say where its programs are');
  const { uid, gid } = await stat(shared.data);
  const folder = await mkdtemp(join(tmpdir(), 'segue-test-'));
  atTheEnd(() => rm(folder, { recursive: true, force: true }));
  await chown(folder, uid, gid);
  const data = join(folder, 'data');
  const run = (program: string, ...args: string[]): ReturnType<typeof spawn> =>
    spawn(join(shared.programs, program), args, { uid, gid, cwd: folder, stdio: 'ignore' });
  const ended = (child: ReturnType<typeof spawn>): Promise<number | null> =>
    new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
  const code = await ended(run('initdb', '-D', data, '-U', 'postgres', '-A', 'trust'));
  if (code !== 0) throw new Error(`initdb ended with ${String(code)}`);

  const port = await freePort();
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=`];
  const server = run('postgres', '-D', data, ...settings.flatMap((setting) => ['-c', setting]));
  const gone = ended(server);
  atTheEnd(async () => {
    // At once: its data are thrown away.
    server.kill('SIGQUIT');
    await gone;
  });
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  await untilItAnswers(url, () => server.exitCode);
  useServer(url);
  return data;
}

async function untilItAnswers(url: string, exitCode: () => number | null): Promise<void> {
  for (const until = Date.now() + PATIENCE_MS; ;) {
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (exitCode() !== null || Date.now() > until) throw error;
      await sleep(100);
    }
  }
}

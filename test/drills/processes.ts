import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { OldAppOrders, OldAppReport } from './old-app.js';
import type { Place } from './place.js';

export const CLI = fileURLToPath(new URL('../../src/cli.js', import.meta.url));

/** The built program of this folder. */
export function program(name: string): string {
  return fileURLToPath(new URL(`./${name}.js`, import.meta.url));
}

/** Nothing of the developer's own settings. */
export function environmentOf(place: Place, home: string): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: home, NO_COLOR: '1', DATABASE_URL: place.url };
}

/** Runs the command line to its end; what it said when it failed, null when it did not. */
export async function runCli(
  environment: NodeJS.ProcessEnv,
  ...args: string[]
): Promise<string | null> {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child);
  const { code } = await exited(child);
  return code === 0
    ? null
    : `segue ${args.join(' ')} ended with ${code}: ${(await output).trim().slice(-500)}`;
}

/**
 * Starts `segue serve`; resolves when it listens.
 * @param script that runs the command line
 */
export async function startServer(
  environment: NodeJS.ProcessEnv,
  script = CLI,
  nodeOptions: readonly string[] = [],
): Promise<ChildProcess> {
  const child = spawn(process.execPath, [...nodeOptions, script, 'serve'], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stderr.resume();
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      if (String(chunk).includes('answers for')) resolve();
    });
    child.once('exit', (code) => {
      reject(new Error(`The server ended with ${code}`));
    });
  });
  return child;
}

export interface RunningOldApp {
  readonly child: ChildProcess;
  readonly report: Promise<OldAppReport>;
}

/** Starts old apps, which write when all of them have taken the rows that are their own. */
export async function startOldApps(orders: readonly OldAppOrders[]): Promise<RunningOldApp[]> {
  const apps = await Promise.all(orders.map((each) => prepareOldApp(each)));
  for (const { child } of apps) child.send('begin');
  return apps;
}

async function prepareOldApp(orders: OldAppOrders): Promise<RunningOldApp> {
  const child = fork(program('old-app'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ready = new Promise<void>((resolve, reject) => {
    child.once('message', () => {
      resolve();
    });
    child.once('exit', (code) => {
      reject(new Error(`An old app ended with ${code}`));
    });
  });
  child.send(orders);
  await ready;
  const report = new Promise<OldAppReport>((resolve) => {
    child.once('message', (message) => {
      resolve(message as OldAppReport);
    });
  });
  return { child, report };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('There is no free port');
  return address.port;
}

export function exited(
  child: ChildProcess,
): Promise<{ code: number | null; signal: string | null }> {
  if (child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ code, signal });
    });
  });
}

/** All that a child prints, when it has closed both of its ends. */
export function collect(child: ChildProcess): Promise<string> {
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      text += String(chunk);
    });
  return new Promise((resolve) => {
    child.once('close', () => {
      resolve(text);
    });
  });
}

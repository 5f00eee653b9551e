import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ChaosReport } from '../drills/chaos.js';
import type { DrillReport } from '../drills/drill.js';
import { atTheEnd } from './databases.js';

export const CLI = fileURLToPath(new URL('../../dist/src/cli.js', import.meta.url));
const DRILLS = fileURLToPath(new URL('../../dist/test/drills/', import.meta.url));
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Ended {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type Environment = Readonly<Record<string, string>>;

/** Runs the built command line to its end. */
export function segue(environment: Environment, ...args: string[]): Promise<Ended> {
  return finished(start(environment, CLI, ...args));
}

/** Starts a built program of ours, which is killed at the end of the tests if it still runs. */
export function start(environment: Environment, script: string, ...args: string[]): ChildProcess {
  return launch(environment, [process.execPath, script, ...args], ['ignore', 'pipe', 'pipe']);
}

/** Starts a program of `test/drills`, with a channel for messages. */
export function startDrill(name: string): ChildProcess {
  const command = [process.execPath, `${DRILLS}${name}.js`];
  return launch({}, command, ['ignore', 'pipe', 'pipe', 'ipc']);
}

/** Seed of drills: the same one gives the same writes and kills, as far as the machine is as fast. */
export const SEED = process.env.SEGUE_TEST_SEED ?? String(Date.now() % 1_000_000);

interface Reports {
  readonly run: DrillReport;
  readonly 'run-chaos': ChaosReport;
}

/** Runs a drill to its end. */
export async function drill<Program extends keyof Reports>(
  program: Program,
  ...args: string[]
): Promise<{ code: number | null; report: Reports[Program] }> {
  const { TEST_POSTGRES_URL } = process.env;
  const environment = TEST_POSTGRES_URL === undefined ? {} : { TEST_POSTGRES_URL };
  const { code, stdout, stderr } = await finished(
    start(environment, `${DRILLS}${program}.js`, '--json', '--seed', SEED, ...args),
  );
  if (stderr !== '') throw new Error(`${program} --seed ${SEED} ${args.join(' ')}: ${stderr}`);
  return { code, report: JSON.parse(stdout) as Reports[Program] };
}

function launch(
  environment: Environment,
  [program = '', ...args]: readonly string[],
  stdio: StdioOptions,
): ChildProcess {
  const child = spawn(program, args, {
    cwd: environment.CWD ?? ROOT,
    // Nothing of the developer's own settings decides how a test ends.
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: '1', ...environment },
    stdio,
  });
  atTheEnd(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    }
  }, 'closes');
  return child;
}

export function startCli(environment: Environment, ...args: string[]): ChildProcess {
  return start(environment, CLI, ...args);
}

export function finished(child: ChildProcess): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}

/** What a program prints, on both channels: to wait for a word in it. */
export function outputOf(child: ChildProcess): { until: (word: string) => Promise<void> } {
  let printed = '';
  let wake = (): void => undefined;
  let ended = false;
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      printed += chunk.toString();
      wake();
    });
  child.once('close', () => {
    ended = true;
    wake();
  });
  return {
    until: async (word) => {
      while (!printed.includes(word)) {
        if (ended) throw new Error(`The program ended before it said ${word}:\n${printed}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** Starts a server on a free port; resolves with its address once it listens. */
export async function serve(
  environment: Environment,
): Promise<{ url: string; child: ChildProcess }> {
  const child = startCli({ PORT: '0', ...environment }, 'serve');
  return { url: await addressIn(child), child };
}

/** The first address that a program prints. */
export function addressIn(child: ChildProcess): Promise<string> {
  let printed = '';
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      printed += chunk.toString();
      const url = /http:\/\/[\w.]+:\d+/.exec(printed)?.[0];
      if (url !== undefined) resolve(url);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('exit', (code) => {
      reject(new Error(`The program ended with ${String(code)} before it listened:\n${printed}`));
    });
  });
}

export interface Answer {
  readonly status: number;
  readonly data?: Record<string, unknown> | null;
  readonly errors?: { message: string; extensions: { code: string } }[];
}

/** Asks a server, as an HTTP client does. */
export async function ask(
  url: string,
  token: string | null,
  query: string,
  variables: Record<string, unknown> = {},
): Promise<Answer> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query, variables }),
  });
  return { status: response.status, ...((await response.json()) as object) };
}

import { execFileSync } from 'node:child_process';
import type { EngineName } from '../../src/database/dialect.js';

/** What the programs of this folder take from their command lines. */

const ENGINES = ['sqlite', 'postgres'] as const;

type Flags = Readonly<Record<string, string | boolean | undefined>>;

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

export function numberFlag(values: Flags, name: string): number {
  const value = Number(values[name]);
  if (!Number.isFinite(value) || value < 0)
    fail(`--${name} is ${JSON.stringify(values[name])}: it takes a number`);
  return value;
}

export function engineFlag({ engine }: Flags): EngineName {
  return (
    ENGINES.find((name) => name === engine) ??
    fail(`--engine is ${JSON.stringify(engine)}: it takes ${ENGINES.join(' or ')}`)
  );
}

export function plantFlag<Fault extends string>(
  { plant }: Flags,
  faults: Readonly<Record<Fault, string>>,
): Fault | undefined {
  if (plant === undefined) return undefined;
  const names = Object.keys(faults) as Fault[];
  return (
    names.find((name) => name === plant) ??
    fail(`--plant is ${JSON.stringify(plant)}: it takes ${names.join(', ')}`)
  );
}

export const postgresUrl =
  process.env.TEST_POSTGRES_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres';

export function commit(): string {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
}

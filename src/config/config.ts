import { isAbsolute, resolve } from 'node:path';
import { SegueError } from '../errors/segue-error.js';
import { DEFAULT_MAPPING, type LegacyMapping } from './legacy-mapping.js';

/** Where the chat database is. `shown` is what may be printed: it never holds a password. */
export type DatabaseLocation =
  | { readonly engine: 'sqlite'; readonly path: string; readonly shown: string }
  | { readonly engine: 'postgres'; readonly url: string; readonly shown: string };

/** Which side answers the old API's queries. */
export type LegacySide = 'old' | 'new';

/** All settings, read once from the environment; a wrong value stops the program before it does anything. */
export interface Config {
  readonly database: DatabaseLocation;
  readonly mapping: LegacyMapping;
  readonly legacyReads: LegacySide;
  readonly jwtSecret: string | undefined;
  readonly legacyJwtSecret: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly production: boolean;
}

/** The shortest secret that HS256 gains anything from: RFC 7518, 3.2 asks for 256 bits. */
const SECRET_BYTES = 32;

/**
 * Reads the settings.
 * @throws SegueError BAD_CONFIG naming the variable, what it was, and what it may be.
 */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  checkTimezone(env.LEGACY_TIMEZONE);
  return {
    database: parseDatabaseUrl(env.DATABASE_URL ?? 'sqlite:data/segue.sqlite'),
    mapping: DEFAULT_MAPPING,
    legacyReads: oneOf('LEGACY_READS', env.LEGACY_READS, ['old', 'new'], 'old'),
    jwtSecret: secret('JWT_SECRET', env.JWT_SECRET, SECRET_BYTES),
    // Old apps signed with what they had: any length is taken here, or their sessions would end.
    legacyJwtSecret: secret('LEGACY_JWT_SECRET', env.LEGACY_JWT_SECRET, 1),
    host: env.HOST === undefined || env.HOST === '' ? '127.0.0.1' : env.HOST,
    port: parsePort(env.PORT),
    production: env.NODE_ENV === 'production',
  };
}

/**
 * Reads `sqlite:PATH` or `postgres://…`; a relative path counts from the working directory.
 * @throws SegueError BAD_CONFIG for anything else.
 */
export function parseDatabaseUrl(value: string): DatabaseLocation {
  if (value.startsWith('sqlite:')) {
    const path = value.slice('sqlite:'.length);
    if (path === '' || path === ':memory:')
      throw wrong('DATABASE_URL', value, 'sqlite:PATH with the path of a file');
    return {
      engine: 'sqlite',
      path: isAbsolute(path) ? path : resolve(path),
      shown: `sqlite:${path}`,
    };
  }
  if (/^postgres(ql)?:\/\//.test(value)) {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    // An @ behind the host is the end of a password with a / in it: the rest of it must not be shown.
    const isWhole = url !== undefined && url.pathname.length > 1 && !url.pathname.includes('@');
    if (!isWhole || !isDecodable(url.href))
      throw wrong(
        'DATABASE_URL',
        'postgres://…',
        'postgres://USER:PASSWORD@HOST:PORT/DATABASE, with /, %, ? and # of a password written as %2F, %25, %3F and %23',
      );
    return { engine: 'postgres', url: value, shown: `postgres://${url.host}${url.pathname}` };
  }
  // Whatever it is, it may hold a password: only its beginning is shown.
  throw wrong(
    'DATABASE_URL',
    `${/^\w{1,20}:/.exec(value)?.[0] ?? ''}…`,
    'sqlite:PATH or postgres://USER@HOST:PORT/DATABASE',
  );
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function checkTimezone(value: string | undefined): void {
  if (value !== undefined && value !== '' && value !== 'UTC')
    throw wrong('LEGACY_TIMEZONE', value, 'UTC; other zones are not supported yet');
}

function parsePort(value: string | undefined): number {
  if (value === undefined || value === '') return 3000;
  const port = Number(value);
  if (!/^\d+$/.test(value) || port > 65_535)
    throw wrong('PORT', value, 'a whole number from 0 (any free port) to 65535');
  return port;
}

function oneOf<Choice extends string>(
  name: string,
  value: string | undefined,
  choices: readonly Choice[],
  fallback: Choice,
): Choice {
  if (value === undefined || value === '') return fallback;
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) throw wrong(name, value, choices.join(' or '));
  return choice;
}

function secret(name: string, value: string | undefined, least: number): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (Buffer.byteLength(value) < least)
    throw wrong(name, `a text of ${Buffer.byteLength(value)} bytes`, `at least ${least} bytes`);
  return value;
}

function wrong(name: string, was: string, may: string): SegueError {
  return new SegueError('BAD_CONFIG', `${name} is ${JSON.stringify(was)}: it takes ${may}`);
}

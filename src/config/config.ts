import { isAbsolute, resolve } from 'node:path';
import { type CountryCode, isSupportedCountry } from 'libphonenumber-js/min';
import { SegueError } from '../errors/segue-error.js';
import { DEFAULT_MAPPING, type LegacyMapping } from './legacy-mapping.js';
import { findZone, UTC, type Zone } from './zone.js';

/** Where the chat database is. `shown` is what may be printed: it never holds a password. */
export type DatabaseLocation =
  | { readonly engine: 'sqlite'; readonly path: string; readonly shown: string }
  | { readonly engine: 'postgres'; readonly url: string; readonly shown: string };

/** Which side answers the old API's queries. */
/** Which side answers old queries: whichever the cutover says, or one of them for everybody. */
export type LegacyReads = 'cutover' | 'old' | 'new';

/** All settings, read once from the environment; a wrong value stops the program before it does anything. */
export interface Config {
  readonly database: DatabaseLocation;
  readonly mapping: LegacyMapping;
  readonly legacyReads: LegacyReads;
  /** The zone of times in the old tables. */
  readonly legacyZone: Zone;
  readonly jwtSecret: string | undefined;
  readonly legacyJwtSecret: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly production: boolean;
  /** Of the server's log: lines for people, or JSON for what collects it. */
  readonly logFormat: 'text' | 'json';
  /** Where the processes on one database wake each other; undefined: there is one process. It may hold a password. */
  readonly redisUrl: string | undefined;
  /** The country of phone numbers that are written without one. */
  readonly defaultCountry: CountryCode | undefined;
  /** Where sign-in codes are posted to; in development they may be printed instead. */
  readonly codeWebhookUrl: string | undefined;
  /** Whether anybody may write into any old group, as the old table let him. */
  readonly hasOpenGroups: boolean;
  /** For how long events are kept, in seconds. */
  readonly eventRetention: number;
  /** Until when the old API is answered; null: nobody has said. */
  readonly sunset: Date | null;
  /** For how long nobody may have called the old API or written to the old table before the contract step, in seconds. */
  readonly quietTime: number;
  /** Whether tries and codes are limited. */
  readonly isRateLimited: boolean;
  /** Bytes that a copy leaves free on the database's disk; 0: it does not look. */
  readonly diskReserve: number;
}

/** The shortest secret that HS256 gains anything from: RFC 7518, 3.2 asks for 256 bits. */
const SECRET_BYTES = 32;

/** What an old app can go on with for a while: 1 GiB. */
const DISK_RESERVE = 1_073_741_824;

/**
 * Reads the settings.
 * @throws SegueError BAD_CONFIG naming the variable, what it was, and what it may be.
 */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  return {
    database: parseDatabaseUrl(env.DATABASE_URL ?? 'sqlite:data/segue.sqlite'),
    mapping: DEFAULT_MAPPING,
    legacyReads: oneOf('LEGACY_READS', env.LEGACY_READS, ['cutover', 'old', 'new'], 'cutover'),
    legacyZone: parseTimezone(env.LEGACY_TIMEZONE),
    jwtSecret: secret('JWT_SECRET', env.JWT_SECRET, SECRET_BYTES),
    // Old apps signed with what they had: any length is taken here, or their sessions would end.
    legacyJwtSecret: secret('LEGACY_JWT_SECRET', env.LEGACY_JWT_SECRET, 1),
    host: env.HOST === undefined || env.HOST === '' ? '127.0.0.1' : env.HOST,
    port: parsePort(env.PORT),
    diskReserve: parseReserve(env.DISK_RESERVE),
    production: env.NODE_ENV === 'production',
    logFormat: oneOf(
      'LOG_FORMAT',
      env.LOG_FORMAT,
      ['text', 'json'],
      env.NODE_ENV === 'production' ? 'json' : 'text',
    ),
    redisUrl: parseRedisUrl(env.REDIS_URL),
    defaultCountry: parseCountry(env.DEFAULT_COUNTRY),
    codeWebhookUrl: parseWebhookUrl(env.CODE_WEBHOOK_URL),
    hasOpenGroups:
      oneOf('LEGACY_GROUPS', env.LEGACY_GROUPS, ['members', 'open'], 'members') === 'open',
    eventRetention: parseDays('EVENT_RETENTION', env.EVENT_RETENTION, 30) * 86_400,
    sunset: parseDate('SUNSET', env.SUNSET),
    quietTime: parseDays('CONTRACT_QUIET_DAYS', env.CONTRACT_QUIET_DAYS, 14) * 86_400,
    isRateLimited: oneOf('RATE_LIMIT', env.RATE_LIMIT, ['on', 'off'], 'on') === 'on',
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

function parseTimezone(value: string | undefined): Zone {
  if (value === undefined || value === '') return UTC;
  const zone = findZone(value);
  if (zone === undefined)
    throw wrong(
      'LEGACY_TIMEZONE',
      value,
      'the name of a time zone, as Europe/Berlin, or what it is ahead of UTC, as +02:00',
    );
  return zone;
}

function parseCountry(value: string | undefined): CountryCode | undefined {
  if (value === undefined || value === '') return undefined;
  const country = value.toUpperCase();
  if (!isSupportedCountry(country))
    throw wrong('DEFAULT_COUNTRY', value, 'the two letters of a country, as NG or DE');
  return country;
}

function parseWebhookUrl(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  // It may hold a secret: nothing of it is shown.
  if (!/^https?:\/\//i.test(value) || !URL.canParse(value))
    throw wrong('CODE_WEBHOOK_URL', '…', 'an address that begins with https:// or http://');
  return value;
}

function parseRedisUrl(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  // It may hold a password: nothing of it is shown.
  const url = /^rediss?:\/\//i.test(value) && URL.canParse(value) ? new URL(value) : undefined;
  // What follows the host is the number of a database, or the end of a password with a / in it.
  if (url === undefined || url.hostname === '' || !/^\/?\d*$/.test(url.pathname))
    throw wrong(
      'REDIS_URL',
      '…',
      'redis://USER:PASSWORD@HOST:PORT, or rediss:// with TLS, with /, %, ? and # of a password written as %2F, %25, %3F and %23',
    );
  return value;
}

function parsePort(value: string | undefined): number {
  if (value === undefined || value === '') return 3000;
  const port = Number(value);
  if (!/^\d+$/.test(value) || port > 65_535)
    throw wrong('PORT', value, 'a whole number from 0 (any free port) to 65535');
  return port;
}

/** Days, as a number, which may have a fraction. */
function parseDays(name: string, value: string | undefined, fallback: number): number {
  if (value === undefined || value === '') return fallback;
  const days = Number(value);
  if (!/^\d+(\.\d+)?$/.test(value) || days <= 0 || days > 36_500)
    throw wrong(name, value, 'a number of days, more than 0');
  return days;
}

function parseDate(name: string, value: string | undefined): Date | null {
  if (value === undefined || value === '') return null;
  const date = new Date(value);
  if (!/^\d{4}-\d{2}-\d{2}/.test(value) || Number.isNaN(date.getTime()))
    throw wrong(name, value, 'a date, as 2027-06-30');
  return date;
}

function parseReserve(value: string | undefined): number {
  if (value === undefined || value === '') return DISK_RESERVE;
  if (!/^\d{1,15}$/.test(value))
    throw wrong('DISK_RESERVE', value, 'a number of bytes; 0: the copy does not look at the disk');
  return Number(value);
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

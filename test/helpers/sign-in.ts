import { setTimeout as sleep } from 'node:timers/promises';
import type { CountryCode } from 'libphonenumber-js/min';
import type { IssuedCode } from '../../src/auth/code-sender.js';
import { CodesService } from '../../src/auth/codes.service.js';
import { OldCodes } from '../../src/auth/old-codes.js';
import { SessionsService } from '../../src/auth/sessions.service.js';
import { SignInService } from '../../src/auth/sign-in.service.js';
import { TokensService } from '../../src/auth/tokens.service.js';
import { expand } from '../../src/changeover/expand.js';
import { hasReached, readState } from '../../src/changeover/stage.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { DevicesService } from '../../src/users/devices.service.js';
import { PhoneNumbers } from '../../src/users/phone-numbers.js';
import { UsersService } from '../../src/users/users.service.js';
import { withParts } from './databases.js';
import { contextOf, EXPAND, legacyDatabase } from './legacy.js';

export const SECRET = 'own secret, and long enough for HS256';

/** Signing in, on a database of the test's own. */
export interface SignIn {
  readonly database: Database;
  readonly signIn: SignInService;
  readonly sessions: SessionsService;
  readonly tokens: TokensService;
  readonly devices: DevicesService;
  readonly users: UsersService;
  /** What was sent, newest last. */
  readonly sent: IssuedCode[];
  /** Makes sending fail, until it is set back. */
  failWith: Error | undefined;
}

/** The parts of signing in, with a sender that keeps what it is given. */
export function signInOn(
  database: Database,
  { country, isLimited = true }: { country?: CountryCode; isLimited?: boolean } = {},
): SignIn {
  const phones = new PhoneNumbers(country);
  const users = new UsersService(database, DEFAULT_MAPPING, phones);
  const devices = new DevicesService(database, DEFAULT_MAPPING);
  const sessions = new SessionsService(database, users, async () =>
    hasReached((await readState(database)).stage, 'EXPANDED'),
  );
  const tokens = new TokensService(users, sessions, { own: SECRET, legacy: undefined });
  const sent: IssuedCode[] = [];
  const parts: SignIn = {
    database,
    users,
    devices,
    sessions,
    tokens,
    sent,
    failWith: undefined,
    signIn: new SignInService({
      database,
      users,
      devices,
      phones,
      codes: new CodesService(database, { secret: SECRET, isLimited }),
      oldCodes: new OldCodes(database, DEFAULT_MAPPING),
      sessions,
      sender: {
        send: (code) => {
          if (parts.failWith !== undefined) return Promise.reject(parts.failWith);
          sent.push(code);
          return Promise.resolve();
        },
      },
    }),
  };
  return parts;
}

/** An expanded old database of twelve people, `08000000001` to `08000000012`. */
export async function expandedDatabase(engine: EngineName): Promise<Database> {
  const { database } = await legacyDatabase(engine, { messages: 0 });
  await expand(contextOf(database), EXPAND);
  return database;
}

/** Has a phone number sent a code. */
export async function codeFor({ signIn, sent }: SignIn, phone: string): Promise<string> {
  await signIn.requestVerification(phone);
  const code = sent.at(-1)?.code;
  if (code === undefined) throw new Error(`${phone} was sent nothing`);
  return code;
}

/** Another code of six digits than this one. */
export function otherThan(code: string): string {
  return code === '000000' ? '111111' : '000000';
}

/** Puts a database back to where nobody has signed in: sign-ins, devices, and people beyond the first ones. */
export async function forgetSignIns(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    for (const table of ['sign_in_phones', 'sign_in_codes', 'sign_in_sessions', 'devices'])
      await transaction.run(`DELETE FROM ${table}`);
    await transaction.run('DELETE FROM users WHERE id > 12');
    // In two steps, since the numbers are unique.
    await transaction.run(`UPDATE users SET phone = 'none of ' || id`);
    for (let id = 1; id <= 12; id += 1)
      await transaction.run('UPDATE users SET phone = :phone WHERE id = :id', {
        id,
        phone: `080${String(id).padStart(8, '0')}`,
      });
  });
}

/**
 * A database whose transactions rest after each statement, so that several that begin at once are all under way when
 * the first one ends: what they do not lock shows.
 */
export function slowly(database: Database): Database {
  const rested = async <Result>(statement: Promise<Result>): Promise<Result> => {
    const result = await statement;
    await sleep(30);
    return result;
  };
  return withParts(database, {
    transaction: (work) =>
      database.transaction((transaction) =>
        work({
          all: (sql, parameters) => rested(transaction.all(sql, parameters)),
          run: (sql, parameters) => rested(transaction.run(sql, parameters)),
        }),
      ),
  });
}

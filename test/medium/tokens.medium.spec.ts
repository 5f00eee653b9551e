import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { SignJWT, UnsecuredJWT } from 'jose';
import { SessionsService } from '../../src/auth/sessions.service.js';
import { issueToken, TokensService } from '../../src/auth/tokens.service.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { PhoneNumbers } from '../../src/users/phone-numbers.js';
import { UsersService } from '../../src/users/users.service.js';
import { ENGINES } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';

const OWN = 'own secret, and long enough for HS256';
const OLD = 'old secret';

describe.each(ENGINES)('tokens on %s', (engine) => {
  let database: Database;
  let users: UsersService;
  let sessions: SessionsService;
  let tokens: TokensService;

  beforeAll(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 0 }));
    users = new UsersService(database, DEFAULT_MAPPING, new PhoneNumbers(undefined));
    sessions = new SessionsService(database, users, () => Promise.resolve(false));
    tokens = new TokensService(users, sessions, { own: OWN, legacy: OLD });
  });

  const signed = (
    claims: Record<string, unknown>,
    secret: string,
    expires?: string,
  ): Promise<string> => {
    const jwt = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' });
    return (expires === undefined ? jwt : jwt.setExpirationTime(expires)).sign(Buffer.from(secret));
  };
  const PHONE_OF_3 = '08000000003';

  it('takes its own, and the old app’s', async () => {
    const account = await users.get('usr_3');
    expect(account).toEqual({ id: '3', phone: PHONE_OF_3 });
    const viewer = { ...account, sessionId: null, expiresAt: expect.any(Number) };
    expect(await tokens.check(await issueToken(account, OWN))).toEqual(viewer);
    for (const id of [3, '3'])
      expect(await tokens.check(await signed({ id, phone: PHONE_OF_3 }, OLD, '1h'))).toEqual(
        viewer,
      );
  });

  it('refuses every other one', async () => {
    const claims = { id: 3, phone: PHONE_OF_3 };
    const bad = [
      'nonsense',
      '',
      await signed(claims, 'another secret', '1h'),
      await signed(claims, OLD), // no expiry
      await signed(claims, OLD, '-1s'),
      await signed({ id: 3 }, OLD, '1h'),
      await signed({ phone: PHONE_OF_3 }, OLD, '1h'),
      await signed({ id: 3, phone: '08000000004' }, OLD, '1h'),
      await signed({ id: 999, phone: PHONE_OF_3 }, OLD, '1h'),
      await signed({ id: '3; DROP TABLE users', phone: PHONE_OF_3 }, OLD, '1h'),
      await signed({ id: '99999999999999999999', phone: PHONE_OF_3 }, OLD, '1h'),
      await signed({ id: 1.5, phone: PHONE_OF_3 }, OLD, '1h'),
      await signed({ sub: 'usr_3', phone: PHONE_OF_3 }, OWN, '1h'), // not issued by us
      await signed({ sub: 'usr_3', phone: PHONE_OF_3, iss: 'segue' }, OLD, '1h'),
      new UnsecuredJWT({ ...claims, sub: 'usr_3', iss: 'segue' }).setExpirationTime('1h').encode(),
    ];
    for (const token of bad)
      await expect(tokens.check(token)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('refuses one that it took before, when it has run out since', async () => {
    const account = await users.get('usr_3');
    const open: unknown = Object.create(sessions, {
      isOpen: { value: () => Promise.resolve(true) },
    });
    const checks = new TokensService(users, open as SessionsService, { own: OWN, legacy: OLD });
    const all = [
      await issueToken(account, OWN),
      await checks.issueFor(account, 'a session that goes on'),
      await signed({ id: 3, phone: PHONE_OF_3 }, OLD, '1h'),
    ];
    for (const token of all) {
      expect(await checks.check(token)).toMatchObject(account);
      expect(await checks.check(token)).toMatchObject(account);
    }
    const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 13 * 3_600_000);
    try {
      for (const token of all)
        await expect(checks.check(token)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    } finally {
      clock.mockRestore();
    }
  });

  it('refuses the old app’s without its secret, and any after the phone number changed', async () => {
    const strict = new TokensService(users, sessions, { own: OWN, legacy: undefined });
    const old = await signed({ id: 3, phone: PHONE_OF_3 }, OLD, '1h');
    await expect(strict.check(old)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });

    const token = await issueToken(await users.get('5'), OWN);
    await database.transaction((transaction) =>
      transaction.run(`UPDATE users SET phone = '0999' WHERE id = 5`),
    );
    await expect(tokens.check(token)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('finds people by id, phone number and username, and says when it cannot', async () => {
    expect((await users.get('7')).id).toBe('7');
    expect((await users.get('08000000007')).id).toBe('7');
    expect((await users.get('person7')).id).toBe('7');
    await expect(users.get('nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await database.transaction((transaction) =>
      transaction.run(`UPDATE users SET username = '8' WHERE id = 9`),
    );
    await expect(users.get('8')).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      message: expect.stringContaining('usr_8, usr_9'),
    });
  });

  it('makes an account once for a phone number, and for nothing else', async () => {
    const [first, second] = await Promise.all([
      users.getOrCreateByPhone('+2348012345678'),
      users.getOrCreateByPhone('+2348012345678'),
    ]);
    expect(second).toEqual(first);
    await expect(users.getOrCreateByPhone('Eve')).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });
});

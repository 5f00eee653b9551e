import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { SegueError } from '../../src/errors/segue-error.js';
import type { Database } from '../../src/database/database.js';
import { ENGINES } from '../helpers/databases.js';
import {
  codeFor,
  expandedDatabase,
  forgetSignIns,
  otherThan,
  type SignIn,
  signInOn,
  slowly,
} from '../helpers/sign-in.js';
import { legacyDatabase } from '../helpers/legacy.js';

const PHONE_OF_3 = '08000000003';
const NEW_PHONE = '+2348012345678';

const change = async ({ database }: SignIn, ...statements: string[]): Promise<void> => {
  await database.transaction(async (transaction) => {
    for (const statement of statements) await transaction.run(statement);
  });
};

const countOf = async ({ database }: SignIn, what: string): Promise<number> => {
  const [row] = await database.reader.all<{ count: number | string }>(
    `SELECT count(*) AS count FROM ${what}`,
  );
  return Number(row?.count);
};

const failureOf = async (promise: Promise<unknown>): Promise<unknown> => {
  const failure: unknown = await promise.then(
    () => null,
    (error: unknown) => error,
  );
  return failure instanceof SegueError ? { code: failure.code, message: failure.message } : failure;
};

describe.each(ENGINES)('signing in on %s', (engine) => {
  let database: Database;
  let parts: SignIn;
  let racing: SignIn;

  beforeAll(async () => {
    database = await expandedDatabase(engine);
  });
  beforeEach(async () => {
    await forgetSignIns(database);
    parts = signInOn(database, { country: 'NG' });
    racing = signInOn(slowly(database), { country: 'NG' });
  });

  const verify = (phone: string, code: string): ReturnType<SignIn['signIn']['verify']> =>
    parts.signIn.verify(phone, code, null);

  it('sends six digits and says until when they are good', async () => {
    const before = Date.now();
    const request = await parts.signIn.requestVerification('0800 000-0003');
    expect(request.phone).toBe('+2348000000003');
    expect(request.expiresAt.getTime()).toBeGreaterThan(before + 590_000);
    expect(request.expiresAt.getTime()).toBeLessThan(Date.now() + 610_000);
    expect(request.resendAfter.getTime()).toBeLessThan(request.expiresAt.getTime());
    expect(parts.sent).toEqual([
      expect.objectContaining({ phone: '+2348000000003', code: expect.stringMatching(/^\d{6}$/) }),
    ]);
    const code = parts.sent[0]?.code ?? '';
    const [row] = await parts.database.reader.all('SELECT * FROM sign_in_codes');
    expect(JSON.stringify(row)).not.toContain(`"${code}"`);
  });

  it('opens the account of a known number, in any form, with the right code, once', async () => {
    const code = await codeFor(parts, '+2348000000003');
    const { account, refresh } = await verify(PHONE_OF_3, code);
    expect(account).toEqual({ id: '3', phone: PHONE_OF_3 });
    const token = await parts.tokens.issueFor(account, refresh.sessionId);
    expect(await parts.tokens.check(token)).toMatchObject({
      id: '3',
      sessionId: refresh.sessionId,
    });
    await expect(verify(PHONE_OF_3, code)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await countOf(parts, 'users WHERE id = 3 AND is_verified')).toBe(1);
  });

  it('makes an account for a new number only once its code is right, in E.164', async () => {
    const people = await countOf(parts, 'users');
    const code = await codeFor(parts, '0801 234 5678');
    await expect(verify('08012345678', otherThan(code))).rejects.toThrow();
    expect(await countOf(parts, 'users')).toBe(people);
    const { account } = await verify('08012345678', code);
    expect(account.phone).toBe(NEW_PHONE);
    expect(await countOf(parts, 'users')).toBe(people + 1);
    // Within a minute: not a zone's worth off.
    const { dialect } = parts.database;
    const recent = `${dialect.instantOf('created_at')} BETWEEN ${dialect.now} - 60000000 AND ${dialect.now}`;
    expect(await countOf(parts, `users WHERE id = ${account.id} AND ${recent}`)).toBe(1);
  });

  it('stores a number that is of no country as it was typed', async () => {
    const { account } = await verify('+15550100', await codeFor(parts, '+1 555 0100'));
    expect(account.phone).toBe('+15550100');
  });

  it('never takes the same national digits of another country for the same person', async () => {
    await change(parts, `UPDATE users SET phone = '08012345678' WHERE id = 4`);
    const german = await verify('+498012345678', await codeFor(parts, '+498012345678'));
    expect(german.account).toMatchObject({ phone: '+498012345678' });
    expect(german.account.id).not.toBe('4');
    const own = await verify(NEW_PHONE, await codeFor(parts, NEW_PHONE));
    expect(own.account.id).toBe('4');
  });

  it('prefers the form typed, then E.164, then the lowest id', async () => {
    const find = async (typed: string): Promise<string | undefined> =>
      (await parts.users.getOrCreateByPhone(typed)).id;
    await change(
      parts,
      `UPDATE users SET phone = '2348012345678' WHERE id = 5`,
      `UPDATE users SET phone = '08012345678' WHERE id = 6`,
    );
    expect(await find(NEW_PHONE)).toBe('5');
    expect(await find('08012345678')).toBe('6');
    await change(parts, `UPDATE users SET phone = '${NEW_PHONE}' WHERE id = 7`);
    expect(await find('8012345678')).toBe('7');
    expect(await find('2348012345678')).toBe('5');
  });

  it('answers alike for numbers that it knows and numbers that it does not', async () => {
    const asked = await Promise.all(
      [PHONE_OF_3, NEW_PHONE].map((phone) => parts.signIn.requestVerification(phone)),
    );
    expect(asked.map((answer) => Object.keys(answer))).toEqual([
      Object.keys(asked[0] ?? {}),
      Object.keys(asked[0] ?? {}),
    ]);
    const answers: unknown[] = [];
    for (const { code, phone } of asked)
      for (let tries = 0; tries < 7; tries += 1)
        answers.push(
          JSON.stringify(await failureOf(verify(phone, otherThan(code)))).replace(phone, 'PHONE'),
        );
    // Nothing was ever asked for this one.
    answers.push(
      JSON.stringify(await failureOf(verify('+2348011111111', '123456'))).replace(
        '+2348011111111',
        'PHONE',
      ),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('BAD_USER_INPUT');
  });

  it.each(['', 'Eve', '123', '+', '+1 555 CALL-NOW', '1234567890123456', '0801\u0000', "' OR 1"])(
    'says that %j is no phone number, and what is one',
    async (typed) => {
      for (const attempt of [
        () => parts.signIn.requestVerification(typed),
        () => verify(typed, '123456'),
      ])
        expect(await failureOf(attempt())).toEqual({
          code: 'BAD_USER_INPUT',
          message: expect.stringContaining('it takes 4 to 15 digits'),
        });
      expect(parts.sent).toEqual([]);
    },
  );

  it('takes a code for ten minutes, and only the last one', async () => {
    const first = await codeFor(parts, NEW_PHONE);
    let second = await codeFor(parts, NEW_PHONE);
    while (second === first) second = await codeFor(parts, NEW_PHONE);
    await expect(verify(NEW_PHONE, first)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    const { now } = parts.database.dialect;
    await change(parts, `UPDATE sign_in_codes SET expires_at = ${now} - 1`);
    await expect(verify(NEW_PHONE, second)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    await change(parts, `UPDATE sign_in_codes SET expires_at = ${now} + 60000000`);
    await verify(NEW_PHONE, second);
    // The one before does not come back when the last one is used.
    await expect(verify(NEW_PHONE, first)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  it('lets one of two verifies with the same code win', async () => {
    const code = await codeFor(parts, NEW_PHONE);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 6 }, () => racing.signIn.verify(NEW_PHONE, code, null)),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await countOf(parts, 'sign_in_sessions')).toBe(1);
    expect(await countOf(parts, `users WHERE phone = '${NEW_PHONE}'`)).toBe(1);
  });

  it('counts five tries of a code, at once or one by one', async () => {
    const code = await codeFor(parts, NEW_PHONE);
    await Promise.allSettled(
      Array.from({ length: 5 }, () => racing.signIn.verify(NEW_PHONE, otherThan(code), null)),
    );
    await expect(verify(NEW_PHONE, code)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    const next = await codeFor(parts, NEW_PHONE);
    for (let tries = 0; tries < 4; tries += 1)
      await expect(verify(NEW_PHONE, otherThan(next))).rejects.toThrow();
    await verify(NEW_PHONE, next);
  });

  it('sends five codes an hour, asked for at once or one by one', async () => {
    for (let codes = 0; codes < 4; codes += 1) await parts.signIn.requestVerification(NEW_PHONE);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 4 }, () => racing.signIn.requestVerification(NEW_PHONE)),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'RATE_LIMITED', message: expect.stringMatching(/after \d{4}-.*Z/) },
    });
    expect(racing.sent).toHaveLength(1);
    await parts.signIn.requestVerification(PHONE_OF_3);
    await change(parts, 'UPDATE sign_in_codes SET issued_at = issued_at - 3600000000');
    await parts.signIn.requestVerification(NEW_PHONE);
  });

  it('limits nothing when it is told so', async () => {
    const free = signInOn(parts.database, { isLimited: false });
    for (let codes = 0; codes < 7; codes += 1) await free.signIn.requestVerification(NEW_PHONE);
    const code = free.sent.at(-1)?.code ?? '';
    for (let tries = 0; tries < 7; tries += 1)
      await expect(free.signIn.verify(NEW_PHONE, otherThan(code), null)).rejects.toThrow();
    await free.signIn.verify(NEW_PHONE, code, null);
  });

  it('does not count a code that could not be sent', async () => {
    const code = await codeFor(parts, NEW_PHONE);
    parts.failWith = new SegueError('UNAVAILABLE', 'no answer');
    for (let tries = 0; tries < 6; tries += 1)
      await expect(parts.signIn.requestVerification(NEW_PHONE)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
    parts.failWith = undefined;
    expect(await countOf(parts, 'sign_in_codes')).toBe(1);
    await verify(NEW_PHONE, code);
  });

  it('sweeps codes and numbers that are a day old', async () => {
    await parts.signIn.requestVerification(PHONE_OF_3);
    await change(
      parts,
      'UPDATE sign_in_codes SET expires_at = expires_at - 90000000000',
      'UPDATE sign_in_phones SET touched_at = touched_at - 90000000000',
    );
    await parts.signIn.requestVerification(NEW_PHONE);
    expect(await countOf(parts, 'sign_in_codes')).toBe(1);
    expect(await countOf(parts, 'sign_in_phones')).toBe(1);
  });
});

describe.each(ENGINES)('devices on %s', (engine) => {
  let database: Database;
  let parts: SignIn;
  const phone = { deviceId: 'phone', deviceType: 'ios', pushToken: 'push' };

  beforeAll(async () => {
    database = await expandedDatabase(engine);
  });
  beforeEach(async () => {
    await forgetSignIns(database);
    parts = signInOn(database);
  });

  const enter = async (device = phone): ReturnType<SignIn['signIn']['verify']> =>
    parts.signIn.verify(PHONE_OF_3, await codeFor(parts, PHONE_OF_3), device);

  it('are kept in the old table, one row each, with what their clients say', async () => {
    await enter();
    await enter({ ...phone, deviceType: 'ipad' });
    await enter({ deviceId: 'laptop' } as typeof phone);
    expect(await parts.devices.list('4')).toEqual([]);
    const listed = await parts.devices.list('3');
    expect(listed).toEqual([
      expect.objectContaining({ deviceId: 'phone', deviceType: 'ipad' }),
      expect.objectContaining({ deviceId: 'laptop', deviceType: null }),
    ]);
    expect(Math.abs(Number(listed[0]?.lastActiveAt) - Date.now())).toBeLessThan(60_000);
    expect(await countOf(parts, `devices WHERE push_token = 'push'`)).toBe(1);
  });

  it('have one session each, and note when it goes on', async () => {
    const first = await enter();
    const second = await enter();
    await expect(parts.signIn.refresh(first.refresh.token)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    await change(parts, 'UPDATE devices SET last_active = NULL');
    await parts.signIn.refresh(second.refresh.token);
    expect(await parts.devices.list('3')).toEqual([
      expect.objectContaining({ lastActiveAt: expect.any(Date) }),
    ]);
    expect(await countOf(parts, `devices WHERE push_token = 'push'`)).toBe(1);
  });

  it('are refused where no column can hold them, before the code is used', async () => {
    const code = await codeFor(parts, PHONE_OF_3);
    for (const device of [
      { deviceId: ' ' },
      { deviceId: 'a\0b' },
      { deviceId: 'a', pushToken: 'x'.repeat(5_000) },
    ])
      await expect(parts.signIn.verify(PHONE_OF_3, code, device)).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
        message: expect.stringContaining('device.'),
      });
    await parts.signIn.verify(PHONE_OF_3, code, phone);
  });
});

describe.each(ENGINES)('signing in at LEGACY on %s', (engine) => {
  it('says what has to be done first, and touches nothing', async () => {
    const { database } = await legacyDatabase(engine, { messages: 0 });
    const { signIn, sessions } = signInOn(database);
    for (const attempt of [
      () => signIn.requestVerification(PHONE_OF_3),
      () => signIn.verify(PHONE_OF_3, '123456', null),
      () => signIn.refresh('a.b'),
      () => sessions.end('a'),
      () => sessions.checkExpanded(),
    ])
      await expect(attempt()).rejects.toMatchObject({ code: 'NOT_EXPANDED' });
    expect(await sessions.isOpen('a', '3')).toBe(false);
  });
});

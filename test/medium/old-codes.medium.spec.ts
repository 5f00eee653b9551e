import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { findZone, UTC } from '../../src/config/zone.js';
import { expand } from '../../src/changeover/expand.js';
import type { Database } from '../../src/database/database.js';
import { emptyDatabase, ENGINES, open } from '../helpers/databases.js';
import { contextOf, EXPAND } from '../helpers/legacy.js';
import {
  codeFor,
  forgetSignIns,
  otherThan,
  slowly,
  type SignIn,
  signInOn,
} from '../helpers/sign-in.js';
import { generateLegacy } from '../../src/demo/legacy-generator.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';

const PHONE_OF_3 = '08000000003';

describe.each(ENGINES)('codes that the old app issued, on %s', (engine) => {
  let database: Database;
  let parts: SignIn;

  // Its clocks are ten hours ahead: taken for UTC, a code would be good for ten hours too long.
  beforeAll(async () => {
    const zone = findZone('+10:00') ?? UTC;
    database = await open(await emptyDatabase(engine), { create: true, zone });
    await generateLegacy(database, DEFAULT_MAPPING, { messages: 0, seed: 1 });
    await expand(contextOf(database), EXPAND);
    parts = signInOn(database, { country: 'NG' });
  });
  beforeEach(async () => {
    await forgetSignIns(database);
    await change('DELETE FROM verification_codes');
  });

  const change = (statement: string, values = {}): Promise<number> =>
    database.transaction((transaction) => transaction.run(statement, values));
  /** As the old app writes it, with its clock. */
  const issue = async (code: string, secondsLeft: number, userId = 3): Promise<void> => {
    const expiry = new Date(Date.now() + 36_000_000 + secondsLeft * 1_000);
    await change(
      `INSERT INTO verification_codes (user_id, code, expires_at) VALUES (${String(userId)}, :code, :expiry)`,
      { code, expiry: expiry.toISOString().slice(0, 19).replace('T', ' ') },
    );
  };
  const verify = (code: string, phone = PHONE_OF_3): ReturnType<SignIn['signIn']['verify']> =>
    parts.signIn.verify(phone, code, null);
  const refused = { code: 'BAD_USER_INPUT' };

  it('are taken once, and their table stays as it was', async () => {
    await issue('4711', 300);
    const before = await database.reader.all('SELECT * FROM verification_codes');
    expect((await verify('4711', '+2348000000003')).account.id).toBe('3');
    await expect(verify('4711')).rejects.toMatchObject(refused);
    expect(await database.reader.all('SELECT * FROM verification_codes')).toEqual(before);
  });

  it('are taken by one of several at once', async () => {
    await issue('4711', 300);
    const { signIn: racing } = signInOn(slowly(database));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 4 }, () => racing.verify(PHONE_OF_3, '4711', null)),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('are not taken when their time in the zone is over, or is missing', async () => {
    await issue('4711', -60);
    await expect(verify('4711')).rejects.toMatchObject(refused);
    await change(
      `INSERT INTO verification_codes (user_id, code, expires_at) VALUES (3, '4712', NULL)`,
    );
    await expect(verify('4712')).rejects.toMatchObject(refused);
    await issue(' ', 300);
    await expect(verify('')).rejects.toMatchObject(refused);
  });

  it('are not taken for anybody else, nor once the old app took them away', async () => {
    await issue('4711', 300);
    await expect(verify('4711', '08000000004')).rejects.toMatchObject(refused);
    await expect(verify('9999')).rejects.toMatchObject(refused);
    await change('DELETE FROM verification_codes');
    await expect(verify('4711')).rejects.toMatchObject(refused);
  });

  it('have five tries each, beside those of ours', async () => {
    await issue('4711', 300);
    const code = await codeFor(parts, PHONE_OF_3);
    for (let tries = 0; tries < 5; tries += 1)
      await expect(verify(otherThan(code))).rejects.toMatchObject(refused);
    for (const spent of ['4711', code]) await expect(verify(spent)).rejects.toMatchObject(refused);
    await issue('4712', 300);
    await verify('4712');
  });

  it('leave ours good, and do not count among the codes of an hour', async () => {
    const code = await codeFor(parts, PHONE_OF_3);
    for (const old of ['4711', '4712', '4713', '4714', '4715']) await issue(old, 300);
    await verify('4713');
    await verify(code);
    await verify(await codeFor(parts, PHONE_OF_3));
  });
});

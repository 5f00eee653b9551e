import { beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { rollback } from '../../src/changeover/rollback.js';
import type { OpenSession } from '../../src/auth/sessions.service.js';
import { ENGINES } from '../helpers/databases.js';
import { contextOf, EXPAND } from '../helpers/legacy.js';
import {
  codeFor,
  expandedDatabase,
  forgetSignIns,
  type SignIn,
  signInOn,
  slowly,
} from '../helpers/sign-in.js';

const PHONE_OF_3 = '08000000003';

describe.each(ENGINES)('sessions on %s', (engine) => {
  let parts: SignIn;
  let opened: OpenSession;

  beforeAll(async () => {
    parts = signInOn(await expandedDatabase(engine));
  });
  beforeEach(async () => {
    await forgetSignIns(parts.database);
    opened = await parts.signIn.verify(PHONE_OF_3, await codeFor(parts, PHONE_OF_3), null);
  });

  const change = (statement: string): Promise<number> =>
    parts.database.transaction((transaction) => transaction.run(statement));
  const refresh = async ({ refresh: { token } }: OpenSession): Promise<OpenSession> =>
    parts.signIn.refresh(token);
  const check = async ({ account, refresh: { sessionId } }: OpenSession): Promise<unknown> =>
    parts.tokens.check(await parts.tokens.issueFor(account, sessionId));
  const ended = { code: 'UNAUTHENTICATED' };

  it('go on with a new token at each refresh, of which only the hash is kept', async () => {
    const second = await refresh(opened);
    const third = await refresh(second);
    expect(new Set([opened, second, third].map(({ refresh: { token } }) => token)).size).toBe(3);
    expect(await check(third)).toMatchObject({ id: '3', phone: PHONE_OF_3 });
    const rows = JSON.stringify(await parts.database.reader.all('SELECT * FROM sign_in_sessions'));
    for (const half of third.refresh.token.split('.')) expect(rows).not.toContain(half);
  });

  it('end when an old token is shown again', async () => {
    const second = await refresh(opened);
    const third = await refresh(second);
    await expect(refresh(opened)).rejects.toMatchObject(ended);
    await expect(refresh(third)).rejects.toMatchObject(ended);
    await expect(check(third)).rejects.toMatchObject(ended);
  });

  it('go on for a client whose answer was lost, for 30 s', async () => {
    const lost = await refresh(opened);
    const again = await refresh(opened);
    const third = await refresh(again);
    await check(third);
    // What was lost did not come from that client, when it comes now.
    await expect(refresh(lost)).rejects.toMatchObject(ended);
    await expect(check(third)).rejects.toMatchObject(ended);
  });

  it('do not go on for it after that, however often it asked before', async () => {
    await refresh(opened);
    await change('UPDATE sign_in_sessions SET rotated_at = rotated_at - 20000000');
    await refresh(opened);
    await change('UPDATE sign_in_sessions SET rotated_at = rotated_at - 11000000');
    await expect(refresh(opened)).rejects.toMatchObject(ended);
    await expect(check(opened)).rejects.toMatchObject(ended);
  });

  it('do not go on for it once the new token was used', async () => {
    await refresh(await refresh(opened));
    await expect(refresh(opened)).rejects.toMatchObject(ended);
  });

  it('have one good token after several refreshes at once', async () => {
    const { signIn } = signInOn(slowly(parts.database));
    const both = await Promise.all(
      Array.from({ length: 4 }, () => signIn.refresh(opened.refresh.token)),
    );
    const rows = await parts.database.reader.all<{ hash: string; previous: string }>(
      'SELECT refresh_hash AS hash, previous_hash AS previous FROM sign_in_sessions',
    );
    expect(rows).toHaveLength(1);
    // Not a token that another one of them was just given.
    expect(rows[0]?.previous).toBe(opened.refresh.hash);
    expect(both.filter(({ refresh: { hash } }) => hash === rows[0]?.hash)).toHaveLength(1);
  });

  it('end after 90 days without a refresh', async () => {
    const left = `expires_at - ${parts.database.dialect.now}`;
    const [row] = await parts.database.reader.all<{ left: number | string }>(
      `SELECT ${left} AS "left" FROM sign_in_sessions`,
    );
    expect(Math.round(Number(row?.left) / 86_400_000_000)).toBe(90);
    await change(`UPDATE sign_in_sessions SET expires_at = ${parts.database.dialect.now} - 1`);
    await expect(check(opened)).rejects.toMatchObject(ended);
    await expect(refresh(opened)).rejects.toMatchObject(ended);
  });

  it('end at once by signing out, each for itself', async () => {
    const other = await parts.signIn.verify(PHONE_OF_3, await codeFor(parts, PHONE_OF_3), null);
    expect(await parts.sessions.end(opened.refresh.sessionId)).toBe(true);
    expect(await parts.sessions.end(opened.refresh.sessionId)).toBe(false);
    await expect(check(opened)).rejects.toMatchObject(ended);
    await expect(refresh(opened)).rejects.toMatchObject(ended);
    await check(other);
  });

  it('can be asked for again by what outlives a token', async () => {
    const { account, refresh: last } = opened;
    const viewer = { ...account, sessionId: last.sessionId, expiresAt: null };
    await parts.tokens.checkViewer(viewer);
    await parts.sessions.end(last.sessionId);
    await expect(parts.tokens.checkViewer(viewer)).rejects.toMatchObject(ended);
    const printed = { ...account, sessionId: null };
    await parts.tokens.checkViewer({ ...printed, expiresAt: Date.now() / 1_000 + 9 });
    await expect(
      parts.tokens.checkViewer({ ...printed, expiresAt: Date.now() / 1_000 - 1 }),
    ).rejects.toMatchObject(ended);
  });

  it('end with the account, and when its number changes', async () => {
    await change(`UPDATE users SET phone = '0999' WHERE id = 3`);
    await expect(check(opened)).rejects.toMatchObject(ended);
    await expect(refresh(opened)).rejects.toMatchObject(ended);
  });

  it.each(['', '.', 'x', 'a.b', 'a.b.c', '\0', '\ud800', 'é'.repeat(9_999)])(
    'are opened by no token like %j',
    async (token) => {
      await expect(parts.signIn.refresh(token)).rejects.toMatchObject(ended);
    },
  );

  it('do not stand in the way back, outlive it, and go with a purge', async () => {
    const context = contextOf(parts.database);
    const { migrationsTable } = EXPAND;
    await rollback(context, { to: 'LEGACY', migrationsTable });
    await check(opened);
    await expect(refresh(opened)).rejects.toMatchObject({ code: 'NOT_EXPANDED' });
    await rollback(context, { to: 'LEGACY', purge: true, migrationsTable });
    await expect(check(opened)).rejects.toMatchObject(ended);
  });
});

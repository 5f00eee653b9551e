import { describe, expect, it } from '@jest/globals';
import { asOldApp, ENGINES, open, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { oldSideOf, oursIn } from '../helpers/old-side.js';
import { ask, finished, segue, serve, startCli } from '../helpers/programs.js';

const MESSAGES = 2_500;

describe.each(ENGINES)('the way back at the command line on %s', (engine) => {
  it('leads to each earlier stage and forward again, beside a running server', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: MESSAGES });
    const before = await oldSideOf(database);
    await database.close();
    const environment = { DATABASE_URL: urlOf(location) };
    const json = async (...args: string[]): Promise<unknown> => {
      const { code, stdout, stderr } = await segue(environment, ...args, '--json');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return JSON.parse(stdout);
    };
    const refusal = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await segue(environment, 'rollback', ...args);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      return stderr;
    };

    expect(await refusal()).toMatch(/^WRONG_STAGE: The stage is LEGACY/);
    await json('migrate', '--no-backup');
    expect(await refusal('--to', 'NOWHERE')).toBe(
      'BAD_USER_INPUT: --to is "NOWHERE": it takes LEGACY, EXPANDED, BACKFILLED, VERIFIED, COMPLETE.\n',
    );
    expect(await refusal('--drop-columns')).toMatch(/^BAD_USER_INPUT: --drop-columns goes with/);

    const token = (await segue(environment, 'token', 'person1')).stdout.trim().split('\n').at(-1);
    const { url, child } = await serve({ ...environment, LEGACY_READS: 'new' });
    // But for what it says of deprecated fields, where there is something to call instead.
    const answer = async (): Promise<unknown> => {
      const { status, data, errors } = await ask(
        url,
        token ?? '',
        `{ recentMessages(userId: 1) { id content status created_at }
           messages(userId: 1, peerId: 2, limit: 100) { id content } unreadCount(userId: 1) }`,
      );
      return { status, data, errors };
    };
    const expected = await answer();
    expect(expected).toMatchObject({ status: 200, data: { unreadCount: expect.any(Number) } });

    await asOldApp(
      location,
      `INSERT INTO enhanced_messages (id, conversation_id, kind, text, sent_at, position, status) VALUES (1099511627776, 1, 'text', 'only here', 1, 1, 1)`,
    );
    expect(await refusal('--purge')).toMatch(/^WOULD_LOSE_ROWS: 1 messages that never had/m);
    await asOldApp(location, 'DELETE FROM enhanced_messages WHERE legacy_message_id IS NULL');

    expect(await json('rollback', '--to', 'BACKFILLED')).toMatchObject({ stage: 'BACKFILLED' });
    expect(await answer()).toEqual(expected);
    expect(await json('rollback', '--to', 'expanded')).toMatchObject({
      from: 'BACKFILLED',
      stage: 'EXPANDED',
      messages: MESSAGES,
      links: MESSAGES,
    });
    expect(await answer()).toEqual(expected);
    expect(await json('migrate', '--no-backup')).toMatchObject({
      migratedMessages: MESSAGES,
      mismatches: 0,
    });

    const { code, stdout } = await segue(environment, 'rollback', '--purge', '--drop-columns');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^The stage is LEGACY; it was VERIFIED\.\nTaken away: 2,500 copied/);
    expect(stdout).toContain('Our tables are dropped.');
    expect(await answer()).toEqual(expected);
    expect(await json('status')).toMatchObject({ stage: 'LEGACY', legacyMessages: MESSAGES });
    child.kill('SIGTERM');
    expect((await finished(child)).code).toBe(0);

    const after = await open(location);
    expect(await oldSideOf(after)).toEqual(before);
    expect(await oursIn(after)).toEqual([]);
    expect(await json('migrate', '--no-backup')).toMatchObject({
      migratedMessages: MESSAGES,
      mismatches: 0,
    });
  }, 120_000);

  it('is gone to its end after SIGKILL, again and again', async () => {
    const rows = 15_000;
    const { location, database } = await legacyDatabase(engine, { messages: rows, seed: 9 });
    const environment = { DATABASE_URL: urlOf(location) };
    expect((await segue(environment, 'migrate', '--no-backup')).code).toBe(0);
    let kills = 0;
    for (let wait = 0; ; wait += engine === 'sqlite' ? 10 : 60) {
      const child = startCli(environment, 'rollback', '--to', 'EXPANDED');
      const ending = finished(child);
      await new Promise<void>((resolve) => {
        // From the moment on in which it has begun, later and later.
        child.stderr?.once('data', () => setTimeout(resolve, wait));
        void ending.then(() => {
          resolve();
        });
      });
      if (child.exitCode === null) {
        child.kill('SIGKILL');
        kills += 1;
      }
      const { code, stderr } = await ending;
      if (code === 0) break;
      // Killed after its last commit, it was done.
      if (/^WRONG_STAGE: The stage is EXPANDED/m.test(stderr)) break;
      expect(stderr.replaceAll(/^\w+: [\d,]+ of .*\n/gm, '')).toBe('');
    }
    expect(kills).toBeGreaterThan(0);
    expect((await oldSideOf(database)).added['messages.conversation_id']).toBe(0);
    const { code, stdout } = await segue(environment, 'migrate', '--no-backup');
    expect(code).toBe(0);
    expect(stdout).toContain('15,000 legacy = 15,000 migrated + 0 quarantined, 0 mismatches');
  }, 180_000);
});

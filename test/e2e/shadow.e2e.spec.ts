import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { issueToken } from '../../src/auth/tokens.service.js';
import type { ShadowReport } from '../../src/changeover/shadow.js';
import { asOldApp, ENGINES, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { ask, segue, serve } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

describe.each(ENGINES)('the shadow at the command line, on %s', (engine) => {
  it('compares what servers answer, and tells operators of what differs', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 600 });
    await database.close();
    const environment = { DATABASE_URL: urlOf(location), JWT_SECRET: SECRET };
    const report = async (...args: string[]): Promise<ShadowReport> => {
      const { code, stdout, stderr } = await segue(environment, 'shadow', ...args, '--json');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return JSON.parse(stdout) as ShadowReport;
    };
    const refusal = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await segue(environment, 'shadow', ...args);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      return stderr;
    };
    const { url } = await serve(environment);
    expect(await refusal('--sample', '5')).toMatch(/^WRONG_STAGE: The stage is LEGACY/);
    expect(await refusal()).toMatch(/^BAD_USER_INPUT: Say --sample PERCENT/);
    expect(await refusal('--sample', 'some')).toMatch(/^BAD_USER_INPUT: --sample is "some"/);
    expect((await segue(environment, 'migrate', '--no-backup')).code).toBe(0);
    expect(await report('--sample', '100')).toMatchObject({ sample: 100, compared: 0 });

    const token = await issueToken({ id: '1', phone: '08000000001' }, SECRET);
    const unread = async (): Promise<unknown> => {
      const { data, errors } = await ask(url, token, '{ unreadCount(userId: 1) }');
      expect(errors).toBeUndefined();
      return (data as { unreadCount: unknown }).unreadCount;
    };
    const before = await unread();
    const untilCompared = async (count: number): Promise<ShadowReport> => {
      for (;;) {
        expect(await unread()).toBe(before);
        const found = await report('report');
        if (found.compared >= count) return found;
        await sleep(100);
      }
    };
    expect(await untilCompared(1)).toMatchObject({ mismatches: 0, differences: [] });

    // The raw status of a row, in a way that neither apply nor the rolling compare would put right before it is seen.
    const stop = setInterval(() => {
      asOldApp(location, 'UPDATE enhanced_messages SET status = 3 WHERE status < 3').catch(
        () => undefined,
      );
    }, 100);
    let found: ShadowReport;
    do found = await untilCompared(1);
    while (found.differences.length === 0);
    clearInterval(stop);
    expect(found.differences).toMatchObject([
      {
        operation: 'unreadCount()',
        userId: '1',
        reason: null,
        newAnswer: expect.stringContaining('0'),
      },
    ]);
    const text = (await segue(environment, 'shadow', 'report')).stdout;
    expect(text).toMatch(/unreadCount\(\) of user 1, [\d,]+ times/);
    expect(text).toMatch(/ {2}old: .*\n {2}new: /);

    expect((await segue(environment, 'operator', 'grant', '1')).code).toBe(0);
    const { data, errors } = await ask(
      url,
      token,
      '{ changeover { shadowCompared shadowMismatches shadowDifferences(first: 5) { edges { node { operation userId at oldAnswer newAnswer reason } } pageInfo { hasNextPage } } } }',
    );
    expect(errors).toBeUndefined();
    expect(data).toMatchObject({
      changeover: {
        shadowMismatches: expect.any(Number),
        shadowDifferences: {
          edges: [{ node: { operation: 'unreadCount()', userId: 'usr_1', reason: null } }],
          pageInfo: { hasNextPage: false },
        },
      },
    });
    const explained = await report('explain', found.differences[0]?.id ?? '', 'it was planted');
    expect(explained.differences).toMatchObject([{ reason: 'it was planted' }]);
    expect(await report('--sample', '0')).toMatchObject({ sample: 0 });
    expect((await segue(environment, 'shadow', 'report')).stdout).toContain(
      'is right so: it was planted',
    );
  }, 120_000);
});

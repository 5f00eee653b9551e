import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { issueToken } from '../../src/auth/tokens.service.js';
import { hundredthOf } from '../../src/changeover/cutover.js';
import { asOldApp, ENGINES, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { ask, segue, serve } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

const PEOPLE = Array.from({ length: 12 }, (_, n) => n + 1);

describe.each(ENGINES)('the cutover at the command line, on %s', (engine) => {
  it('moves old clients over and back while servers run, which were there before the changeover began', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 600 });
    await database.close();
    const environment = { DATABASE_URL: urlOf(location), JWT_SECRET: SECRET };
    const json = async (...args: string[]): Promise<unknown> => {
      const { code, stdout, stderr } = await segue(environment, ...args, '--json');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return JSON.parse(stdout);
    };
    const refusal = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await segue(environment, 'cutover', ...args);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      return stderr;
    };
    // More than one process on a database is for PostgreSQL.
    const urls = [(await serve(environment)).url];
    if (engine === 'postgres') urls.push((await serve(environment)).url);

    expect(await refusal('--percent', '5')).toMatch(/^WRONG_STAGE: The stage is LEGACY/);
    await json('migrate', '--no-backup');
    for (const args of [
      [],
      ['--percent', '5', '--user', '1'],
      ['--off'],
      ['--percent', '5', '--off'],
      ['--percent', '101'],
      ['--percent', '-1'],
      ['--percent', 'many'],
      ['--percent', '1e1'],
    ])
      expect(await refusal(...args)).toMatch(/^BAD_USER_INPUT: /);
    expect(await refusal('--user', 'nobody at all')).toMatch(/^NOT_FOUND: /);

    const tokens = await Promise.all(
      PEOPLE.map((id) =>
        issueToken({ id: String(id), phone: `080${String(id).padStart(8, '0')}` }, SECRET),
      ),
    );
    const answered = async (url: string): Promise<number> => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      return Number(/^segue_old_queries_total\{side="new"\} (\d+)$/m.exec(metrics)?.[1]);
    };
    const onNewSide = async (url: string): Promise<number[]> => {
      const found: number[] = [];
      for (const [n, id] of PEOPLE.entries()) {
        const before = await answered(url);
        const { data, errors } = await ask(
          url,
          tokens[n] ?? '',
          `{ recentMessages(userId: ${id}) { content } }`,
        );
        expect(errors).toBeUndefined();
        expect((data as { recentMessages: unknown[] }).recentMessages.length).toBeGreaterThan(0);
        if ((await answered(url)) > before) found.push(id);
      }
      return found;
    };
    const untilOnNewSide = async (expected: readonly number[]): Promise<void> => {
      for (const url of urls)
        while (String(await onNewSide(url)) !== String(expected)) await sleep(50);
    };
    const below = (percent: number): number[] =>
      PEOPLE.filter((id) => hundredthOf(String(id)) < percent);

    for (const percent of [60, 30, 100, 0]) {
      expect(await json('cutover', '--percent', String(percent))).toMatchObject({ percent });
      await untilOnNewSide(below(percent));
    }
    await json('cutover', '--percent', '30');
    const [named = 0] = PEOPLE.filter((id) => hundredthOf(String(id)) >= 30);
    expect(await json('cutover', '--user', `usr_${named}`)).toMatchObject({ users: 1 });
    await untilOnNewSide(PEOPLE.filter((id) => id === named || below(30).includes(id)));
    expect((await segue(environment, 'status')).stdout).toContain(
      'Old clients on the new side: 30 % of all people, and 1 by name.',
    );
    await json('cutover', '--user', `usr_${named}`, '--off');
    await untilOnNewSide(below(30));

    // The servers find a difference by themselves, mend it, and void the verification: nobody else is moved over it.
    await asOldApp(location, `UPDATE enhanced_messages SET text = 'altered' WHERE id = 7`);
    while (!((await json('status')) as { certificate: string }).certificate.includes('VOID'))
      await sleep(200);
    expect(await refusal('--percent', '40')).toMatch(
      /^NOT_VERIFIED: Nobody was moved: something passed capture by/,
    );
    const forced = await segue(environment, 'cutover', '--percent', '40', '--force');
    expect(forced.stdout).toMatch(
      /Ignored: something passed capture by since the last verification\./,
    );
    expect(await json('verify')).toMatchObject({ mismatches: 0 });
    expect(await json('rollback', '--to', 'VERIFIED')).toMatchObject({
      from: 'CUTTING_OVER',
      stage: 'VERIFIED',
    });
    expect(await json('status')).toMatchObject({ stage: 'VERIFIED', cutoverPercent: 0 });
    await untilOnNewSide([]);

    // By the API, for whom the command line names.
    const [url = ''] = urls;
    const changeover = (): ReturnType<typeof ask> =>
      ask(url, tokens[0] ?? '', 'mutation { setCutover(percent: 7) { stage cutoverPercent } }');
    expect((await changeover()).errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    expect(await json('operator', 'grant', '1')).toEqual({ userId: '1', isOperator: true });
    expect(await changeover()).toMatchObject({
      data: { setCutover: { stage: 'CUTTING_OVER', cutoverPercent: 7 } },
    });
    expect(await json('operator', 'revoke', '1')).toEqual({ userId: '1', isOperator: false });
    expect((await changeover()).errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
    expect((await segue(environment, 'operator', 'revoke', '1')).stderr).toMatch(
      /^NOT_FOUND: User 1 is no operator/,
    );
  });
});

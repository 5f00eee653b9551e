import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { type ChangeoverState, readState } from '../../src/changeover/stage.js';
import { ENGINES, open, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { finished, segue, startCli } from '../helpers/programs.js';

const MESSAGES = 5_000;

describe.each(ENGINES)('an operator’s command line on %s', (engine) => {
  it('has a backfill of another process rest, go on, and go as fast as it says', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: MESSAGES });
    await database.close();
    const environment = { DATABASE_URL: urlOf(location) };
    const run = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await segue(environment, ...args);
      expect({ args, code, stderr: code === 0 ? '' : stderr }).toEqual({
        args,
        code: 0,
        stderr: '',
      });
    };
    await run('expand', '--no-backup');
    await run('pause');
    const child = startCli(environment, 'backfill');
    const backfill = finished(child);
    const looking = await open(location);
    const until = async (holds: (state: ChangeoverState) => boolean): Promise<ChangeoverState> => {
      for (;;) {
        const state = await readState(looking);
        if (holds(state)) return state;
        expect(child.exitCode).toBeNull();
        await sleep(20);
      }
    };
    await until(({ stage }) => stage === 'BACKFILLING');
    await sleep(1_000);
    expect(await readState(looking)).toMatchObject({ hasThreads: false, migrated: 0 });

    // Slow enough to be met in the middle.
    await run('rate', '200');
    await run('resume');
    expect(await until(({ migrated }) => migrated > 1)).toMatchObject({ stage: 'BACKFILLING' });
    await run('pause');
    // The batch that was under way ends; then no other one begins, however long one looks.
    for (let before = -1, now = 0; before !== now;) {
      before = now;
      await sleep(2_500);
      now = (await readState(looking)).migrated;
    }
    expect(await readState(looking)).toMatchObject({ stage: 'BACKFILLING', isPaused: true });
    await run('resume');
    await run('rate', 'off');
    expect((await backfill).code).toBe(0);
    expect(await readState(looking)).toMatchObject({ stage: 'BACKFILLED', migrated: MESSAGES });
  });
});

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import type { Progress } from '../../src/changeover/progress.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import { parseRate, setPaused, setRateLimit } from '../../src/changeover/wishes.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { asOldApp, ENGINES, open } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, makeOnlyThreads } from '../helpers/legacy.js';

async function copies(database: Database): Promise<number> {
  const [row] = await database.reader.all<{ count: number | string }>(
    'SELECT count(*) AS count FROM enhanced_messages',
  );
  return Number(row?.count);
}

describe.each(ENGINES)('an operator on %s', (engine) => {
  it('has the copy rest and go on, from another process; what the old app writes is applied meanwhile', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 300 });
    // A process of its own has connections of its own.
    const operator = contextOf(await open(location));
    await expand(contextOf(database), EXPAND);
    await makeOnlyThreads(database);
    await setPaused(operator, true);
    const copying = backfill(contextOf(database));
    await asOldApp(location, `UPDATE messages SET content = 'edited' WHERE id = 7`);
    while ((await copies(operator.database)) === 0) await sleep(20);
    // The one row that was written, and no other.
    expect(await copies(operator.database)).toBe(1);
    expect(await status(operator.database, DEFAULT_MAPPING)).toMatchObject({
      stage: 'BACKFILLING',
      paused: true,
    });
    await setPaused(operator, false);
    expect(await copying).toEqual({ migrated: 300, quarantined: 0 });
    expect(await verify(contextOf(database))).toMatchObject({
      migratedMessages: 300,
      mismatches: 0,
    });
  });

  it('limits its rate: no batch is worth more than a quarter of a second', async () => {
    const { database } = await legacyDatabase(engine, { messages: 300 });
    await expand(contextOf(database), EXPAND);
    await setRateLimit(contextOf(database), 400);
    const batches: number[] = [];
    let before = 0;
    await backfill({
      ...contextOf(database),
      report: ({ step, done }: Progress) => {
        if (step !== 'messages') return;
        batches.push(done - before);
        before = done;
      },
    });
    expect(Math.max(...batches)).toBe(100);
    expect(before).toBe(300);
  });

  it('is told when there is no copy that could rest or hurry', async () => {
    const { database } = await legacyDatabase(engine, { messages: 5 });
    const context = contextOf(database);
    await expect(setPaused(context, true)).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    await expand(context, EXPAND);
    await setRateLimit(context, 7);
    expect((await readState(database)).rateLimit).toBe(7);
    await setRateLimit(context, null);
    expect((await readState(database)).rateLimit).toBeNull();
    await backfill(context);
    await expect(setRateLimit(context, 7)).rejects.toMatchObject({
      code: 'WRONG_STAGE',
      message: expect.stringContaining('BACKFILLED'),
    });
  });

  it.each(['0', '-1', '1.5', 'fast', '', '1e3', '9999999999'])('is refused the rate %j', (text) => {
    expect(() => parseRate(text)).toThrow(expect.objectContaining({ code: 'BAD_USER_INPUT' }));
  });
});

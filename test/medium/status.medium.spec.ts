import { spawnSync } from 'node:child_process';
import { hostname } from 'node:os';
import { describe, expect, it } from '@jest/globals';
import { compareConversations } from '../../src/changeover/conversation-checks.js';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import type { Progress } from '../../src/changeover/progress.js';
import { status } from '../../src/changeover/status.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import * as print from '../../src/cli/print.js';
import { asOldApp, ENGINES } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase } from '../helpers/legacy.js';

describe.each(ENGINES)('the status on %s', (engine) => {
  it('tells a rate only while its runner lives, whatever its lease says', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    await expand(contextOf(database), EXPAND);
    const runBy = (pid: number): Promise<void> =>
      asOldApp(
        location,
        'DELETE FROM changeover_lease',
        `INSERT INTO changeover_lease (name, holder, expires_at)
           VALUES ('runner', '${hostname()}/${pid}/a', ${database.dialect.now} + 30000000)`,
        `UPDATE changeover_state SET rows_per_second = 500, rows_to_copy = 1000, throttled_by = 'replica lag', lock_hold = 7000`,
      );
    await runBy(process.pid);
    expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
      rowsPerSecond: 500,
      etaSeconds: 2,
      throttledBy: 'replica lag',
      lockWaitMs: 7,
    });
    const { pid } = spawnSync(process.execPath, ['--version']);
    await runBy(pid);
    expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
      rowsPerSecond: 0,
      etaSeconds: null,
      throttledBy: null,
      lockWaitMs: null,
    });
  });

  it('names what the operator would restore', async () => {
    const { database } = await legacyDatabase(engine, { messages: 5 });
    expect((await status(database, DEFAULT_MAPPING)).backup).toBeNull();
    await expand(contextOf(database), { ...EXPAND, backup: 'friday.dump' });
    const now = await status(database, DEFAULT_MAPPING);
    expect(now.backup).toBe('friday.dump');
    expect(print.status(now)).toContain('backup       friday.dump');
  });

  it('is never told of more conversations than there are', async () => {
    const { database } = await legacyDatabase(engine, { messages: 200 });
    await expand(contextOf(database), EXPAND);
    await backfill(contextOf(database));
    const told: Progress[] = [];
    await compareConversations({ ...contextOf(database), report: (each) => told.push(each) });
    expect(told.at(-1)?.done).toBe(told.at(-1)?.total);
    expect(told.at(-1)?.total).toBeGreaterThan(0);
  });
});

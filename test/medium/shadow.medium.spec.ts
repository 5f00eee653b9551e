import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { applyQueued } from '../../src/changeover/apply.js';
import { rollback } from '../../src/changeover/rollback.js';
import {
  explainDifference,
  forgetDifferences,
  parseSample,
  setSample,
  Shadow,
  shadowReport,
  type ShadowReport,
} from '../../src/changeover/shadow.js';
import { status } from '../../src/changeover/status.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

const PEOPLE = Array.from({ length: 12 }, (_, n) => n + 1);

describe('the share that is compared', () => {
  it('is percent, to the hundredth', () => {
    expect(['0', '100', '5', '0.5', '12.25'].map(parseSample)).toEqual([0, 100, 5, 0.5, 12.25]);
    for (const text of ['', '101', '-1', '5%', '0.125', 'all', '1e1'])
      expect(() => parseSample(text)).toThrow('--sample is');
  });
});

describe.each(ENGINES)('the shadow, on %s', (engine) => {
  let database: Database;

  const write = (...statements: string[]): Promise<void> =>
    database.transaction(async (transaction) => {
      for (const statement of statements) await transaction.run(statement);
    });

  /** A server's old queries on the old side, each shadowed as the books say; and the shadow. */
  function serving(on = database, warnings: string[] = []): { ask: LegacyService; shadow: Shadow } {
    const sides = {
      old: oldSideSql(database.dialect, DEFAULT_MAPPING),
      new: newSideSql(database.dialect, DEFAULT_MAPPING, true),
    };
    const shadow = new Shadow(on, sides, (message) => warnings.push(message));
    const ask = new LegacyService(
      database,
      () => sides.old,
      (asked) => {
        shadow.note(asked);
      },
    );
    return { ask, shadow };
  }

  /** What one person asks. */
  async function everything(ask: LegacyService, id: number): Promise<unknown[]> {
    const viewer = { id: String(id), phone: '' };
    const recent = await ask.recentMessages(viewer, id).catch(() => []);
    const answers: unknown[] = [recent, await ask.unreadCount(viewer, id)];
    for (const peer of PEOPLE)
      answers.push(await ask.messages(viewer, id, peer, 5, 1).catch(() => null));
    for (const group of [1, 2, 3])
      answers.push(await ask.groupMessages(viewer, group, null, null).catch(() => null));
    for (const row of recent) answers.push(await ask.message(viewer, row.id));
    return answers;
  }

  const report = (): Promise<ShadowReport> => shadowReport(contextOf(database));

  /** Asks until so many calls were compared, or more. */
  async function untilCompared(count: number, ask: () => Promise<unknown>): Promise<ShadowReport> {
    for (;;) {
      await ask();
      const now = await report();
      if (now.compared >= count) return now;
      await sleep(50);
    }
  }

  beforeEach(async () => {
    ({ database } = await legacyDatabase(engine, {
      messages: 400,
      irregular: { share: 0.3 },
    }));
    await migrate(database);
  });

  it('finds that both sides answer every call alike, irregular rows and all', async () => {
    await setSample(contextOf(database), 100);
    const { ask, shadow } = serving();
    let id = 0;
    const found = await untilCompared(150, () => {
      id = (id % PEOPLE.length) + 1;
      return everything(ask, id);
    });
    await shadow.stop();
    expect(found).toMatchObject({ sample: 100, mismatches: 0, noise: 0, undecided: 0 });
    expect(found.differences).toEqual([]);
    expect(await status(database, DEFAULT_MAPPING)).toMatchObject({ shadowMismatches: 0 });
  }, 60_000);

  it('keeps what differs, with both answers, and gives the caller the old one', async () => {
    await setSample(contextOf(database), 100);
    const { ask, shadow } = serving();
    const viewer = { id: '2', phone: '' };
    const before = await ask.unreadCount(viewer, 2);
    await write(`UPDATE enhanced_messages SET status = 3 WHERE status < 3`);
    const begun = Date.now();
    const first = await untilCompared(1, async () => {
      expect(await ask.unreadCount(viewer, 2)).toBe(before);
    });
    expect(first.differences).toEqual([
      {
        id: expect.stringMatching(/^\d+$/),
        operation: 'unreadCount()',
        userId: '2',
        at: expect.stringMatching(/Z$/),
        times: expect.any(Number),
        oldAnswer: expect.stringContaining(String(before)),
        newAnswer: expect.stringMatching(/count.*0/),
        reason: null,
      },
    ]);
    const [difference] = first.differences;
    expect(Math.abs(Date.parse(difference?.at ?? '') - begun)).toBeLessThan(60_000);

    // Known by now; it is shown as such until it is another one.
    await explainDifference(contextOf(database), difference?.id ?? '', 'a planted one');
    const again = await untilCompared(first.compared + 1, () => ask.unreadCount(viewer, 2));
    expect(again.differences).toMatchObject([{ id: difference?.id, reason: 'a planted one' }]);
    await write(
      `UPDATE enhanced_messages SET status = 1 WHERE id IN (SELECT max(id) FROM enhanced_messages WHERE sender_id <> 2 AND conversation_id IN (SELECT id FROM conversations WHERE pair_low = 2 OR pair_high = 2))`,
    );
    const other = await untilCompared(again.compared + 1, () => ask.unreadCount(viewer, 2));
    expect(other.differences).toMatchObject([{ id: difference?.id, reason: null }]);

    await shadow.stop();
    await forgetDifferences(contextOf(database));
    expect(await report()).toMatchObject({
      sample: 100,
      compared: 0,
      mismatches: 0,
      differences: [],
    });
    for (const [id, reason, code] of [
      ['4711', 'why not', 'NOT_FOUND'],
      ['x', 'why not', 'NOT_FOUND'],
      [difference?.id ?? '', ' ', 'BAD_USER_INPUT'],
    ] as const)
      await expect(explainDifference(contextOf(database), id, reason)).rejects.toMatchObject({
        code,
      });
  }, 60_000);

  it('lets the other side fail without anybody noticing but the operator', async () => {
    await setSample(contextOf(database), 100);
    const { ask, shadow } = serving();
    const viewer = { id: '2', phone: '' };
    const before = await ask.messages(viewer, 2, 1, 50, 0);
    await write('ALTER TABLE legacy_raw_values RENAME TO legacy_raw_values_elsewhere');
    // Another connection may have read the tables' names before.
    const { differences } = await untilCompared(1, async () => {
      expect(await ask.messages(viewer, 2, 1, 50, 0)).toEqual(before);
    });
    await shadow.stop();
    await write('ALTER TABLE legacy_raw_values_elsewhere RENAME TO legacy_raw_values');
    expect(differences).toMatchObject([
      {
        operation: 'messages(peer: 1, limit: 50, offset: 0)',
        newAnswer: expect.stringMatching(/^failed: .*legacy_raw_values/),
      },
    ]);
  }, 60_000);

  it('lets the other side hang: answers go on, few calls wait, and it ends', async () => {
    await setSample(contextOf(database), 100);
    let [hanging, snapshots] = [true, 0];
    const slow = withParts(database, {
      snapshot: async (work) => {
        snapshots += 1;
        while (hanging) await sleep(10);
        return database.snapshot(work);
      },
    });
    const { ask, shadow } = serving(slow);
    while (snapshots === 0) {
      await everything(ask, 1);
      await sleep(20);
    }
    for (let n = 0; n < 10; n += 1) await everything(ask, 1);
    expect(snapshots).toBe(1);
    hanging = false;
    const { compared, mismatches } = await untilCompared(20, () => sleep(20));
    // One at a time, and no more than may wait.
    expect(compared).toBeLessThan(80);
    expect(mismatches).toBe(0);
    await shadow.stop();
  }, 60_000);

  it('takes nothing for a difference that only waits to be applied', async () => {
    await setSample(contextOf(database), 100);
    const { ask, shadow } = serving();
    const viewer = { id: '2', phone: '' };
    await untilCompared(1, () => ask.unreadCount(viewer, 2));
    const before = await report();
    await write(`UPDATE messages SET status = 'read' WHERE recipient_id = 2`);
    expect(await ask.unreadCount(viewer, 2)).toBeLessThan(400);
    await ask.recentMessages(viewer, 2);
    await sleep(400);
    expect((await report()).mismatches).toBe(0);
    await applyQueued(contextOf(database));
    const after = await untilCompared(before.compared + 1, () => sleep(50));
    await shadow.stop();
    expect(after).toMatchObject({ mismatches: 0, undecided: 0, differences: [] });
  }, 60_000);

  it('tells apart what the old side says twice', async () => {
    await setSample(contextOf(database), 100);
    const { ask, shadow } = serving(
      withParts(database, {
        snapshot: async (work) => {
          // Between the answer and the comparison, on both sides.
          await write(`UPDATE messages SET content = content || '.' WHERE recipient_id = 2`);
          await applyQueued(contextOf(database));
          return database.snapshot(work);
        },
      }),
    );
    const found = await untilCompared(2, () => ask.messages({ id: '2', phone: '' }, 2, 1, 50, 0));
    await shadow.stop();
    expect(found.noise).toBe(found.compared);
    expect(found).toMatchObject({ mismatches: 0, differences: [] });
  }, 60_000);

  it('takes the share that is asked for, in every server, and none before there are two sides', async () => {
    const warnings: string[] = [];
    const { ask, shadow } = serving(database, warnings);
    const viewer = { id: '3', phone: '' };
    for (let n = 0; n < 50; n += 1) await ask.unreadCount(viewer, 3);
    await sleep(700);
    for (let n = 0; n < 50; n += 1) await ask.unreadCount(viewer, 3);
    expect((await report()).compared).toBe(0);
    await setSample(contextOf(database), 100);
    await untilCompared(1, () => ask.unreadCount(viewer, 3));
    await rollback(contextOf(database), {
      to: 'EXPANDED',
      migrationsTable: EXPAND.migrationsTable,
    });
    expect(await report()).toEqual({
      sample: 0,
      compared: 0,
      mismatches: 0,
      noise: 0,
      undecided: 0,
      differences: [],
    });
    for (let n = 0; n < 50; n += 1) await ask.unreadCount(viewer, 3);
    await shadow.stop();
    expect(warnings).toEqual([]);
    for (const refused of [
      () => setSample(contextOf(database), 5),
      () => forgetDifferences(contextOf(database)),
      () => explainDifference(contextOf(database), '1', 'so'),
    ])
      await expect(refused()).rejects.toMatchObject({ code: 'WRONG_STAGE' });
  }, 60_000);

  it('compares as many as the share says', async () => {
    await setSample(contextOf(database), 12.5);
    let [asked, sampled] = [0, 0];
    const sides = {
      old: oldSideSql(database.dialect, DEFAULT_MAPPING),
      new: newSideSql(database.dialect, DEFAULT_MAPPING, true),
    };
    const shadow = new Shadow(
      withParts(database, {
        snapshot: () => {
          sampled += 1;
          return Promise.resolve(null as never);
        },
      }),
      sides,
      () => undefined,
      // Evenly, so that the test says the same each time.
      () => ((asked * 7_919) % 1_000) / 1_000,
    );
    const note = (): void => {
      asked += 1;
      shadow.note({
        userId: '1',
        operation: 'unreadCount',
        parameters: { me: '1' },
        sql: sides.old,
        rows: [],
      });
    };
    note();
    await sleep(200);
    asked = 0;
    for (let n = 0; n < 1_000; n += 1) {
      note();
      await sleep(1);
    }
    await sleep(200);
    await shadow.stop();
    // One at a time with a rest: none was left out, since each took no time.
    expect(sampled).toBeGreaterThanOrEqual(124);
    expect(sampled).toBeLessThanOrEqual(126);
  }, 60_000);
});

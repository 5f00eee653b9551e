import { beforeEach, describe, expect, it } from '@jest/globals';
import { CutoverSides } from '../../src/changeover/cutover-sides.js';
import {
  type CutoverOptions,
  type CutoverResult,
  type CutoverWish,
  hundredthOf,
  setCutover,
} from '../../src/changeover/cutover.js';
import { expand } from '../../src/changeover/expand.js';
import { fallingBack } from '../../src/changeover/falling-back.js';
import { rollback, type RollbackTarget } from '../../src/changeover/rollback.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { ENGINES } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

describe('the hundredth that somebody falls into', () => {
  it('is the same for ever: a release that gives another one moves people between the sides', () => {
    expect(['1', '2', '3', '4', '7', '42', '9007199254740993', '-5'].map(hundredthOf)).toEqual([
      19, 52, 29, 57, 54, 99, 28, 63,
    ]);
  });

  it('is spread evenly, over ids in a row and over ids far apart', () => {
    for (const step of [1, 100, 1_000_003]) {
      const counts = new Map<number, number>();
      for (let n = 1; n <= 20_000; n += 1) {
        const hundredth = hundredthOf(String(n * step));
        counts.set(hundredth, (counts.get(hundredth) ?? 0) + 1);
      }
      expect(counts.size).toBe(100);
      for (const count of counts.values()) {
        expect(count).toBeGreaterThan(130);
        expect(count).toBeLessThan(280);
      }
    }
  });
});

describe.each(ENGINES)('the cutover, on %s', (engine) => {
  let database: Database;

  beforeEach(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 300 }));
  });

  const set = (wish: CutoverWish, options?: CutoverOptions): Promise<CutoverResult> =>
    setCutover(contextOf(database), wish, options);
  const back = (to: RollbackTarget): Promise<unknown> =>
    rollback(contextOf(database), { to, migrationsTable: EXPAND.migrationsTable });
  const write = (...statements: string[]): Promise<void> =>
    database.transaction(async (transaction) => {
      for (const statement of statements) await transaction.run(statement);
    });
  const stage = async (): Promise<string> => (await readState(database)).stage;

  /** A fault that is on the new side alone, by which it can be told who is answered from there. */
  const plant = (): Promise<void> => write(`UPDATE enhanced_messages SET text = 'of the new side'`);

  /** Those of some people whom a server that begins now answers from the new side. */
  async function onNewSide(people: readonly number[]): Promise<number[]> {
    const sides = {
      old: oldSideSql(database.dialect, DEFAULT_MAPPING),
      new: newSideSql(database.dialect, DEFAULT_MAPPING, true),
    };
    const cutover = new CutoverSides(database);
    const service = new LegacyService(
      fallingBack(database, { ...sides, alone: sides.new }),
      async (userId) => sides[await cutover.sideFor(userId)],
    );
    const found: number[] = [];
    for (const id of people) {
      const rows = await service.recentMessages({ id: String(id), phone: '' }, id);
      expect(rows.length).toBeGreaterThan(0);
      const contents = new Set(rows.map(({ content }) => content === 'of the new side'));
      // One side for all of an answer.
      expect(contents.size).toBe(1);
      if (contents.has(true)) found.push(id);
    }
    return found;
  }

  const below = (percent: number, people: readonly number[]): number[] =>
    people.filter((id) => hundredthOf(String(id)) < percent);

  async function writers(): Promise<number[]> {
    const rows = await database.reader.all<{ id: number | string }>(
      'SELECT DISTINCT sender_id AS id FROM messages WHERE sender_id IS NOT NULL ORDER BY 1',
    );
    return rows.map(({ id }) => Number(id));
  }

  it('answers so many percent of all people from the new side, the same ones each time, and takes them back at once', async () => {
    await migrate(database);
    const people = await writers();
    for (const [percent, becomes] of [
      [0, 'VERIFIED'],
      [1, 'CUTTING_OVER'],
      [30, 'CUTTING_OVER'],
      [60, 'CUTTING_OVER'],
      [100, 'COMPLETE'],
      [30, 'CUTTING_OVER'],
      [0, 'VERIFIED'],
    ] as const) {
      expect(await set({ percent })).toEqual({ stage: becomes, percent, users: 0, ignored: [] });
      expect(await stage()).toBe(becomes);
    }
    await plant();
    for (const percent of [30, 60, 100, 0]) {
      await set({ percent });
      expect({ percent, people: await onNewSide(people) }).toEqual({
        percent,
        people: below(percent, people),
      });
    }
    expect(below(60, people).length).toBeGreaterThan(below(30, people).length);
    expect(below(30, people).length).toBeGreaterThan(0);
  });

  it('answers single people from the new side, whatever the percentage', async () => {
    await migrate(database);
    const people = await writers();
    const [one = 0] = people.filter((id) => hundredthOf(String(id)) >= 10);
    await plant();
    const user = { userId: String(one) };
    expect(await set({ ...user, isOn: true })).toMatchObject({
      stage: 'CUTTING_OVER',
      percent: 0,
      users: 1,
    });
    expect(await onNewSide(people)).toEqual([one]);
    expect(await set({ ...user, isOn: true })).toMatchObject({ users: 1 });
    await set({ percent: 10 });
    expect(await onNewSide(people)).toEqual(
      people.filter((id) => id === one || hundredthOf(String(id)) < 10),
    );
    await set({ percent: 0 });
    // He was named: that is taken back by name.
    expect(await onNewSide(people)).toEqual([one]);
    expect(await set({ ...user, isOn: false })).toMatchObject({ stage: 'VERIFIED', users: 0 });
    expect(await onNewSide(people)).toEqual([]);
  });

  it('needs rows that were copied', async () => {
    await expect(set({ percent: 10 })).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    await expand(contextOf(database), EXPAND);
    await expect(set({ percent: 10 }, { force: true })).rejects.toMatchObject({
      code: 'WRONG_STAGE',
      message: expect.stringContaining('EXPANDED'),
    });
    for (const percent of [-1, 101, 0.5, NaN])
      await expect(set({ percent })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
  });

  const DAY = 86_400_000_000;
  it.each([
    [
      'was never made',
      ['DELETE FROM changeover_mismatches', 'DELETE FROM changeover_certificates'],
      /never compared/,
    ],
    [
      'is older than a day',
      [`UPDATE changeover_certificates SET verified_at = verified_at - ${DAY + 1_000_000}`],
      /more than 24 hours ago/,
    ],
    [
      'found mismatches',
      ['UPDATE changeover_certificates SET mismatches = 3'],
      /found 3 mismatches/,
    ],
    [
      'is void',
      [
        `UPDATE changeover_state SET voided_at = (SELECT max(verified_at) FROM changeover_certificates) + 1, voided_by = 'a test'`,
      ],
      /passed capture by/,
    ],
  ])(
    'is refused where the verification %s, unless it is forced, which is written down',
    async (_, faults, why) => {
      await migrate(database);
      await write(...faults);
      for (const wish of [{ percent: 5 }, { userId: '1', isOn: true }]) {
        await expect(set(wish)).rejects.toMatchObject({ code: 'NOT_VERIFIED' });
        await expect(set(wish)).rejects.toThrow(why);
      }
      expect(await stage()).toBe('VERIFIED');
      expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
        cutoverPercent: 0,
        cutoverUsers: 0,
      });
      const { ignored } = await set({ percent: 5 }, { force: true });
      expect(ignored).toEqual([expect.stringMatching(why)]);
      expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
        stage: 'CUTTING_OVER',
        cutoverPercent: 5,
      });
      // Back is never refused, and no stage says then that the sides were compared.
      expect(await set({ percent: 0 })).toEqual({
        stage: 'BACKFILLED',
        percent: 0,
        users: 0,
        ignored: [],
      });
      const log = await database.reader.all<{ who: string; did: string }>(
        'SELECT who, did FROM changeover_log ORDER BY id',
      );
      expect(log).toEqual([
        { who: 'a test', did: expect.stringMatching(why) },
        { who: 'a test', did: 'cutover: 5 to 0 percent' },
      ]);
    },
  );

  it.each(['VERIFIED', 'BACKFILLED', 'EXPANDED', 'LEGACY'] as const)(
    'ends with a rollback to %s, also for who was named',
    async (to) => {
      await migrate(database);
      const people = await writers();
      await plant();
      await set({ percent: 50 });
      await set({ userId: '1', isOn: true });
      expect((await onNewSide(people)).length).toBeGreaterThan(1);
      // What was planted is no row of anybody's.
      if (to === 'EXPANDED' || to === 'LEGACY') await verify(contextOf(database), { repair: true });
      await back(to);
      expect(await stage()).toBe(to);
      expect(await onNewSide(people)).toEqual([]);
      if (to === 'LEGACY') return;
      expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
        cutoverPercent: 0,
        cutoverUsers: 0,
      });
      const [last] = await database.reader.all<{ did: string }>(
        'SELECT did FROM changeover_log ORDER BY id DESC LIMIT 1',
      );
      expect(last?.did).toBe(`rollback: CUTTING_OVER to ${to}`);
    },
  );

  it('stays where it is while the sides are compared, repaired and compared again', async () => {
    await migrate(database);
    await set({ percent: 50 });
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
    expect(await stage()).toBe('CUTTING_OVER');
    await write(`UPDATE enhanced_messages SET text = 'altered' WHERE id = 7`);
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 1 });
    expect(await stage()).toBe('CUTTING_OVER');
    await expect(set({ percent: 60 })).rejects.toMatchObject({ code: 'NOT_VERIFIED' });
    expect(await verify(contextOf(database), { repair: true })).toMatchObject({
      mismatches: 0,
      repaired: 1,
    });
    expect(await set({ percent: 60 })).toMatchObject({ stage: 'CUTTING_OVER', percent: 60 });
  });
});

import { describe, expect, it } from '@jest/globals';
import { type Clock, Turns } from '../../src/changeover/turns.js';
import { sqliteDialect } from '../../src/database/sqlite/sqlite-dialect.js';
import { postgresDialect } from '../../src/database/postgres/postgres-dialect.js';

/** Between these moments locks are held, in ms. */
type Hold = readonly [from: number, upTo: number];

/** What transactions that take so long, one after the other, do in a time that passes by itself. */
async function holds(
  durations: readonly number[],
  { manners } = sqliteDialect,
): Promise<readonly Hold[]> {
  let time = 0;
  const clock: Clock = {
    now: () => time,
    sleep: (ms) => {
      time += ms;
      return Promise.resolve();
    },
  };
  const turns = new Turns(manners, clock);
  const found: Hold[] = [];
  for (const duration of durations) {
    await turns.wait();
    found.push([time, time + duration]);
    time += duration;
    turns.noteHeld(duration);
  }
  return found;
}

/** SQLite's own busy handler: its sleeps, and then 100 ms each, until the timeout is reached. */
const SLEEPS = [1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50];

function getsLock(all: readonly Hold[], arrival: number, timeout: number): boolean {
  let waited = 0;
  for (let look = 0; ; look += 1) {
    const now = arrival + waited;
    if (!all.some(([from, upTo]) => from <= now && now < upTo)) return true;
    if (waited >= timeout) return false;
    waited = Math.min(waited + (SLEEPS[look] ?? 100), timeout);
  }
}

const steady = (ms: number): number[] => Array.from({ length: Math.ceil(6_000 / ms) }, () => ms);

describe('transactions that follow each other on SQLite', () => {
  it.each([7, 25, 33, 50, 53, 100, 150])(
    'let in whoever looks again as seldom as its busy handler does, within 1 s (%d ms each)',
    async (ms) => {
      const all = await holds(steady(ms));
      const end = all.at(-1)?.[0] ?? 0;
      const starved = [];
      for (let arrival = 0; arrival < end - 1_000; arrival += 1)
        if (!getsLock(all, arrival, 999)) starved.push(arrival);
      expect(starved).toEqual([]);
    },
  );

  it('hold the lock for no more than half of the time', async () => {
    const all = await holds(steady(25));
    const held = all.reduce((sum, [from, upTo]) => sum + upTo - from, 0);
    expect(held * 2).toBeLessThanOrEqual((all.at(-1)?.[1] ?? 0) + 25);
  });

  it('count what is done in between for the rest, and wait for nothing when it was long enough', async () => {
    const slept: number[] = [];
    let time = 0;
    const turns = new Turns(sqliteDialect.manners, {
      now: () => time,
      sleep: (ms) => Promise.resolve(slept.push(ms)),
    });
    turns.noteHeld(50);
    time += 500;
    await turns.wait();
    turns.noteHeld(50);
    time += 20;
    await turns.wait();
    expect(slept).toEqual([30]);
  });

  it('end at once when they are stopped', async () => {
    const turns = new Turns(sqliteDialect.manners);
    turns.noteHeld(100_000);
    const stopping = new AbortController();
    const waiting = turns.wait(stopping.signal);
    stopping.abort();
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    await expect(turns.wait(stopping.signal)).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('transactions that follow each other on PostgreSQL', () => {
  it('rest for a quarter of what they took, and no longer', async () => {
    expect(await holds([100, 50, 100], postgresDialect)).toEqual([
      [0, 100],
      [125, 175],
      [187.5, 287.5],
    ]);
  });
});

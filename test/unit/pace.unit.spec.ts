import { describe, expect, it } from '@jest/globals';
import { IDLE_TARGET_MS } from '../../src/changeover/batch-size.js';
import { Pace } from '../../src/changeover/pace.js';
import type { Queryable } from '../../src/database/database.js';
import type { Manners } from '../../src/database/dialect.js';

const MANNERS: Manners = {
  busyTargetMs: 25,
  restShare: 1,
  gapMs: 1,
  gapEveryMs: 850,
  foreignMark: 'mark',
  throttles: 'throttles',
  waiters: 'waiters',
  longWaitMs: 50,
};

const FREE = { isPaused: false, rateLimit: null };

/** A database that answers with these marks, one after the other, and suffers from this. */
function answering(marks: number[], reason?: string): Queryable {
  return {
    all: <Row extends object>(sql: string) =>
      Promise.resolve(
        (sql === 'mark'
          ? [{ mark: marks.shift() }]
          : reason === undefined
            ? []
            : [{ reason }]) as unknown as Row[],
      ),
    run: () => Promise.resolve(0),
  };
}

describe('the pace of a copy', () => {
  it('lets batches hold their locks for long while nobody else writes', async () => {
    const pace = new Pace(MANNERS);
    const connection = answering([1, 1, 1]);
    for (let look = 0; look < 3; look += 1) await pace.lookAround(connection);
    expect(pace.targetMs).toBe(IDLE_TARGET_MS);
    expect(pace.batchSize(FREE)).toBe(5_000);
  });

  it('is brought back by the first foreign write', async () => {
    const pace = new Pace(MANNERS);
    const connection = answering([1, 2]);
    await pace.lookAround(connection);
    await pace.lookAround(connection);
    expect(pace.targetMs).toBe(25);
    expect(pace.batchSize(FREE)).toBe(500);
  });

  it('makes the next batch as large as what the last one took allows', async () => {
    const pace = new Pace(MANNERS);
    pace.noteForeignWrite();
    await pace.rest({ rows: 500, tookMs: 50, freeMs: 0 }, FREE, () => Promise.resolve());
    expect(pace.batchSize(FREE)).toBe(250);
    pace.halve();
    expect(pace.batchSize(FREE)).toBe(125);
    expect(pace.batchSize({ isPaused: false, rateLimit: 40 })).toBe(10);
    expect(pace.batchSize({ isPaused: false, rateLimit: 1 })).toBe(1);
  });

  it('makes way for who waits for a batch: half the rows, and longer rests until nobody does', async () => {
    const pace = new Pace(MANNERS);
    pace.noteForeignWrite();
    await pace.lookForWaiters(answering([], 'any row'));
    expect(pace.throttledBy).toBe('lock wait');
    await pace.rest({ rows: 500, tookMs: 25, freeMs: 0 }, FREE, () => Promise.resolve());
    expect(pace.batchSize(FREE)).toBe(250);
    await pace.lookForWaiters(answering([]));
    expect(pace.throttledBy).toBeNull();
  });

  it('takes a long wait for its own beginning for a sign of others', () => {
    const pace = new Pace(MANNERS);
    pace.noteWait(50);
    expect(pace.targetMs).toBe(IDLE_TARGET_MS);
    pace.noteWait(51);
    expect(pace.targetMs).toBe(25);
    expect(pace.batchSize(FREE)).toBe(500);
  });

  it('says what it rests longer for', async () => {
    const pace = new Pace(MANNERS);
    await pace.lookAround(answering([1], 'replica lag'));
    expect(pace.throttledBy).toBe('replica lag');
  });

  it('does what is due in a long rest', async () => {
    const pace = new Pace(MANNERS);
    let due = 0;
    await pace.rest({ rows: 1, tookMs: 1, freeMs: 0 }, { isPaused: false, rateLimit: 2 }, () => {
      due += 1;
      return Promise.resolve();
    });
    expect(due).toBe(2);
  });

  it('counts for a gap what was done since the batch held anything', async () => {
    // A rest longer than 200 ms has a look around in it.
    const pace = new Pace({ ...MANNERS, gapMs: 250, gapEveryMs: 0 });
    for (const [freeMs, looks] of [
      [0, 1],
      [100, 0],
      [250, 0],
    ] as const) {
      let due = 0;
      await pace.rest({ rows: 1, tookMs: 1, freeMs }, FREE, () => {
        due += 1;
        return Promise.resolve();
      });
      expect({ freeMs, due }).toEqual({ freeMs, due: looks });
    }
  });
});

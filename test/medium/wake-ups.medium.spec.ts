import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { WakeUps } from '../../src/events/wake-ups.js';
import { atTheEnd } from '../helpers/databases.js';
import { HAS_REDIS, OwnRedis } from '../helpers/own-redis.js';

/** A process, as others see it over Redis. */
class Node {
  woken = 0;
  readonly warnings: string[] = [];
  readonly wakeUps: WakeUps;

  constructor(url: string, channel: string) {
    this.wakeUps = new WakeUps(url, channel, (message) => {
      this.warnings.push(message);
    });
    atTheEnd(() => {
      this.wakeUps.stop();
      return Promise.resolve();
    }, 'closes');
    this.wakeUps.follow(() => {
      this.woken += 1;
    });
  }

  /** Tells the other one until he has heard of it: what is told before he listens is lost, as it may be. */
  async wakes(other: Node): Promise<void> {
    for (const before = other.woken; other.woken === before;) {
      this.wakeUps.tell();
      await sleep(10);
    }
  }
}

(HAS_REDIS ? describe : describe.skip)('wake-ups over Redis', () => {
  let redis: OwnRedis;

  beforeAll(async () => {
    redis = await OwnRedis.start();
  });

  it('reach the processes of a database, and of no other one', async () => {
    const [here, there, elsewhere] = ['chat', 'chat', 'other'].map(
      (channel) => new Node(redis.url, channel),
    ) as [Node, Node, Node];
    await here.wakes(there);
    await there.wakes(here);
    // It is woken by its own beginning, and by nothing after that: nobody tells anything there.
    await redis.untilListenedTo('other');
    while (elsewhere.woken === 0) await sleep(10);
    const before = elsewhere.woken;
    const mine = there.woken;
    await here.wakes(there);
    expect(there.woken).toBeGreaterThan(mine);
    expect(elsewhere.woken).toBe(before);
    expect(here.warnings).toEqual([]);
  });

  it('say once that Redis is away, and come again by themselves when it is back', async () => {
    const here = new Node(redis.url, 'chat');
    const there = new Node(redis.url, 'chat');
    await here.wakes(there);
    await redis.stop();
    while (here.warnings.length === 0) await sleep(10);
    for (let n = 0; n < 100; n += 1) here.wakeUps.tell();
    expect(here.warnings[0]).toMatch(/^Redis cannot be reached \(.+\): events of other processes/);
    const before = there.woken;
    await redis.start();
    // It is woken by that alone: something may have been written meanwhile.
    while (there.woken === before) await sleep(10);
    await here.wakes(there);
    expect(new Set(here.warnings).size).toBe(here.warnings.length);
  });

  it('begin by themselves where Redis was away at the start, and end at once while it is', async () => {
    await redis.stop();
    const here = new Node(redis.url, 'chat');
    const there = new Node(redis.url, 'chat');
    const never = new Node(redis.url, 'chat');
    while (here.warnings.length === 0 || never.warnings.length === 0) await sleep(10);
    never.wakeUps.stop();
    never.wakeUps.stop();
    const { length } = never.warnings;
    await redis.start();
    await here.wakes(there);
    expect(never.woken).toBe(0);
    expect(never.warnings).toHaveLength(length);
  });
});

import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { Bus } from '../../src/events/bus.js';
import { WakeUps } from '../../src/events/wake-ups.js';
import { atTheEnd } from '../helpers/databases.js';
import { HAS_REDIS, OwnRedis } from '../helpers/own-redis.js';

/** A process, as others see it over Redis. */
class Node {
  woken = 0;
  readonly warnings: string[] = [];
  readonly bus: Bus;
  readonly wakeUps: WakeUps;

  constructor(url: string, name: string) {
    this.bus = new Bus(url, name, (message) => {
      this.warnings.push(message);
    });
    this.wakeUps = new WakeUps(this.bus.topic('wake'));
    atTheEnd(() => {
      this.bus.stop();
      return Promise.resolve();
    }, 'closes');
    this.wakeUps.follow(() => {
      this.woken += 1;
    });
    this.bus.start();
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
      (name) => new Node(redis.url, name),
    ) as [Node, Node, Node];
    await here.wakes(there);
    await there.wakes(here);
    // It is woken by its own beginning, and by nothing after that: nobody tells anything there.
    await redis.untilListenedTo('segue:wake:other');
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

  it('are nothing that somebody else says on their channel, and he is named', async () => {
    const node = new Node(redis.url, 'chat');
    await redis.untilListenedTo('segue:wake:chat');
    while (node.woken === 0) await sleep(10);
    const before = node.woken;
    for (const text of ['', 'null', '{"message":null}', '[1]', 'hello'])
      await redis.publish('segue:wake:chat', text);
    while (node.warnings.length < 5) await sleep(10);
    expect(node.woken).toBe(before);
    expect(node.warnings.at(-1)).toBe('Somebody else speaks on segue:wake:chat in Redis: hello');
  });

  it('begin by themselves where Redis was away at the start, and end at once while it is', async () => {
    await redis.stop();
    const here = new Node(redis.url, 'chat');
    const there = new Node(redis.url, 'chat');
    const never = new Node(redis.url, 'chat');
    while (here.warnings.length === 0 || never.warnings.length === 0) await sleep(10);
    never.bus.stop();
    never.bus.stop();
    const { length } = never.warnings;
    await redis.start();
    await here.wakes(there);
    expect(never.woken).toBe(0);
    expect(never.warnings).toHaveLength(length);
  });
});

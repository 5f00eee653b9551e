import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { GRACE_MS, SAID_MS } from '../../src/presence/attendance.js';
import { randomFrom } from '../../src/demo/legacy-generator.js';
import type { Topic } from '../../src/events/bus.js';
import { PresenceStatus } from '../../src/presence/presence.types.js';
import {
  BEAT_MS,
  type Change,
  GATHER_MS,
  Roster,
  type RosterMessage,
  SILENCE_MS,
} from '../../src/presence/roster.js';

const { ONLINE, AWAY, BUSY, OFFLINE } = PresenceStatus;

describe('who is there', () => {
  let told: [string, PresenceStatus][];
  let roster: Roster;

  beforeEach(() => {
    jest.useFakeTimers();
    told = [];
    roster = new Roster(({ userId, status }) => {
      told.push([userId, status]);
    });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('is whoever has a connection, on any of his devices', () => {
    const leaves = [roster.arrive('7'), roster.arrive('7')];
    expect(told).toEqual([['7', ONLINE]]);
    leaves[0]?.();
    // Twice the same end is one.
    leaves[0]?.();
    jest.advanceTimersByTime(GRACE_MS);
    expect(roster.statusOf('7')).toBe(ONLINE);
    leaves[1]?.();
    jest.advanceTimersByTime(GRACE_MS);
    expect(roster.statusOf('7')).toBe(OFFLINE);
    expect(told).toEqual([
      ['7', ONLINE],
      ['7', OFFLINE],
    ]);
    expect(roster.size).toBe(0);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('is not told of a connection that is cut and comes back at once', () => {
    roster.arrive('7')();
    jest.advanceTimersByTime(GRACE_MS - 1);
    const leave = roster.arrive('7');
    jest.advanceTimersByTime(GRACE_MS);
    expect(told).toEqual([['7', ONLINE]]);
    leave();
  });

  it('is whoever said so, for a minute, where he has no connection', () => {
    roster.say('7', BUSY);
    jest.advanceTimersByTime(SAID_MS - 1);
    roster.say('7', BUSY);
    jest.advanceTimersByTime(SAID_MS - 1);
    expect(told).toEqual([['7', BUSY]]);
    jest.advanceTimersByTime(1);
    expect(told).toEqual([
      ['7', BUSY],
      ['7', OFFLINE],
    ]);
  });

  it('stays what he said for as long as he is there, and begins anew when he comes back', () => {
    const leave = roster.arrive('7');
    roster.say('7', BUSY);
    jest.advanceTimersByTime(SAID_MS * 2);
    expect(roster.statusOf('7')).toBe(BUSY);
    leave();
    jest.advanceTimersByTime(GRACE_MS);
    roster.arrive('7');
    expect(told.map(([, status]) => status)).toEqual([ONLINE, BUSY, OFFLINE, ONLINE]);
  });

  it('is nobody to others who wants to be shown as offline, and is not told again when he goes', () => {
    const leave = roster.arrive('7');
    roster.say('7', OFFLINE);
    leave();
    jest.advanceTimersByTime(GRACE_MS);
    expect(told.map(([, status]) => status)).toEqual([ONLINE, OFFLINE]);
  });

  it('is nobody when the server ends', () => {
    roster.arrive('7');
    roster.say('8', BUSY);
    roster.leaveAll();
    expect(told.slice(2)).toEqual([
      ['7', OFFLINE],
      ['8', OFFLINE],
    ]);
    expect(jest.getTimerCount()).toBe(0);
  });
});

/** Redis, as far as processes talk over it: in order, a moment later, and not at all while it is away. */
class FakeRedis {
  isAway = false;
  /** Loses what is said of changes, and nobody notices. */
  losesChanges = false;
  /** Those whose messages are lost, and who hear nothing. */
  readonly dead = new Set<string>();
  readonly said: { readonly node: string; readonly message: RosterMessage }[] = [];
  private readonly followers: {
    readonly node: string;
    hear: (message: RosterMessage, node: string) => void;
    ready: () => void;
  }[] = [];

  topic(node: string): Topic<RosterMessage> {
    return {
      node,
      say: (message) => {
        if (this.isAway || this.dead.has(node)) return Promise.resolve(false);
        this.said.push({ node, message });
        setTimeout(() => {
          if (this.isAway || (this.losesChanges && message.kind === 'changes')) return;
          for (const follower of this.followers)
            if (!this.dead.has(follower.node)) follower.hear(message, node);
        }, 1);
        return Promise.resolve(true);
      },
      follow: (hear, ready = () => undefined) => {
        this.followers.push({ node, hear, ready });
        if (!this.isAway) setTimeout(ready, 1);
      },
    };
  }

  comeBack(): void {
    this.isAway = false;
    for (const { node, ready } of this.followers) if (!this.dead.has(node)) ready();
  }
}

describe('who is there in several processes', () => {
  let redis: FakeRedis;
  let nodes: { readonly name: string; readonly roster: Roster; readonly told: Change[] }[];

  const at = (n: number): Roster => {
    const node = nodes[n];
    if (node === undefined) throw new Error(`There is no process ${n}`);
    return node.roster;
  };
  const toldAt = (n: number): Change[] => nodes[n]?.told.splice(0) ?? [];

  function begin(name: string): void {
    const told: Change[] = [];
    const roster = new Roster((change) => told.push(change), { topic: redis.topic(name) });
    roster.start();
    nodes.push({ name, roster, told });
  }

  /** As the chore does it in each process that lives. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      for (const { name, roster } of nodes)
        if (!redis.dead.has(name)) await roster.tell(() => Promise.resolve());
      await jest.advanceTimersByTimeAsync(Math.min(left, 250));
    }
  }

  function kill(n: number): void {
    redis.dead.add(nodes[n]?.name ?? '');
    at(n).stop();
  }

  beforeEach(() => {
    jest.useFakeTimers();
    redis = new FakeRedis();
    nodes = [];
    for (const name of ['a', 'b', 'c']) begin(name);
  });

  afterEach(() => {
    for (const { roster } of nodes) roster.stop();
    jest.useRealTimers();
  });

  it('is told to each of them, and to the first by himself', async () => {
    await pass(BEAT_MS);
    const leave = at(0).arrive('7');
    await pass(500);
    expect([at(0), at(1), at(2)].map((roster) => roster.statusOf('7'))).toEqual([
      ONLINE,
      ONLINE,
      ONLINE,
    ]);
    expect(toldAt(0)).toEqual([{ userId: '7', status: ONLINE, by: 'here' }]);
    expect(toldAt(1)).toEqual([{ userId: '7', status: ONLINE, by: 'elsewhere' }]);
    leave();
    await pass(GRACE_MS + 500);
    expect(at(1).statusOf('7')).toBe(OFFLINE);
    expect(toldAt(1)).toEqual([{ userId: '7', status: OFFLINE, by: 'elsewhere' }]);
  });

  it('is whoever has a connection to any of them, shown as what he said last on any of them', async () => {
    const leaves = [at(0).arrive('7'), at(1).arrive('7')];
    await pass(BEAT_MS * 2);
    at(0).say('7', BUSY);
    await pass(500);
    expect(at(1).statusOf('7')).toBe(BUSY);
    // He is still there, and still shown as he said.
    leaves[0]?.();
    await pass(GRACE_MS + 500);
    expect([at(0), at(1), at(2)].map((roster) => roster.statusOf('7'))).toEqual([BUSY, BUSY, BUSY]);
    // Who comes where he was not is shown as he said, too.
    at(2).arrive('7');
    at(2).say('7', AWAY);
    await pass(500);
    expect(at(1).statusOf('7')).toBe(AWAY);
    expect(toldAt(2).map(({ status }) => status)).toEqual([ONLINE, BUSY, AWAY]);
    leaves[1]?.();
    await pass(GRACE_MS + 500);
    expect(at(0).statusOf('7')).toBe(AWAY);
    expect(toldAt(0).map(({ status }) => status)).toEqual([ONLINE, BUSY, AWAY]);
  });

  it('agrees where he says two things at once', async () => {
    at(0).arrive('7');
    at(1).arrive('7');
    await pass(BEAT_MS * 2);
    at(0).say('7', BUSY);
    at(1).say('7', AWAY);
    await pass(1_000);
    const [shown] = [at(2).statusOf('7')];
    expect([BUSY, AWAY]).toContain(shown);
    expect([at(0).statusOf('7'), at(1).statusOf('7')]).toEqual([shown, shown]);
  });

  it('is told again where only something else about him is new', async () => {
    at(0).arrive('7');
    await pass(BEAT_MS * 2);
    toldAt(1);
    at(0).say('7', ONLINE);
    await pass(500);
    expect(toldAt(1)).toEqual([]);
    at(0).say('7', ONLINE, true);
    await pass(500);
    expect(toldAt(1)).toEqual([{ userId: '7', status: ONLINE, by: 'elsewhere' }]);
  });

  it('is not told to others before it is written down, and told when it is', async () => {
    await pass(BEAT_MS * 2);
    at(0).arrive('7');
    await expect(at(0).tell(() => Promise.reject(new Error('away')))).rejects.toThrow('away');
    await jest.advanceTimersByTimeAsync(250);
    expect(at(1).statusOf('7')).toBe(OFFLINE);
    await pass(500);
    expect(at(1).statusOf('7')).toBe(ONLINE);
  });

  it.each([
    ['with the next change', 250],
    ['with the next beat', BEAT_MS],
  ])('is asked for where a change was lost, which is noticed %s', async (_, ms) => {
    await pass(BEAT_MS * 2);
    redis.losesChanges = true;
    at(0).arrive('7');
    await pass(250);
    redis.losesChanges = false;
    expect(at(1).statusOf('7')).toBe(OFFLINE);
    if (ms < BEAT_MS) at(0).arrive('8');
    await pass(ms + 250);
    expect(at(1).statusOf('7')).toBe(ONLINE);
  });

  it('is known to a process that begins later, which waits until it knows it', async () => {
    at(0).arrive('7');
    at(1).say('8', OFFLINE);
    await pass(BEAT_MS);
    begin('d');
    expect(at(3).hasGathered).toBe(false);
    await pass(GATHER_MS + 250);
    expect(at(3).hasGathered).toBe(true);
    // Who does not want to be seen is there all the same.
    expect(new Set(at(3).userIds)).toEqual(new Set(['7', '8']));
    expect(toldAt(3)).toEqual([{ userId: '7', status: ONLINE, by: 'elsewhere' }]);
  });

  it('is nobody of a process that died, and those who live write that down', async () => {
    at(0).arrive('7');
    at(0).arrive('8');
    at(0).say('8', OFFLINE);
    at(0).arrive('9');
    at(1).arrive('9');
    await pass(BEAT_MS * 2);
    toldAt(1);
    kill(0);
    await pass(SILENCE_MS + BEAT_MS);
    expect(toldAt(1)).toEqual([
      { userId: '7', status: OFFLINE, by: 'nobody' },
      { userId: '8', status: OFFLINE, by: 'nobody' },
    ]);
    expect(at(1).userIds).toEqual(['9']);
    expect(at(2).userIds).toEqual(['9']);
  });

  it('is not known while Redis is away, and nobody writes down that he went; when it is back, it is', async () => {
    at(0).arrive('7');
    await pass(BEAT_MS * 2);
    toldAt(1);
    redis.isAway = true;
    await pass(SILENCE_MS / 2);
    expect(at(1).statusOf('7')).toBe(ONLINE);
    at(0).arrive('8');
    await pass(SILENCE_MS);
    expect(at(1).statusOf('7')).toBe(OFFLINE);
    expect(toldAt(1)).toEqual([{ userId: '7', status: OFFLINE, by: 'elsewhere' }]);
    redis.comeBack();
    await pass(BEAT_MS * 2);
    expect(new Set(at(1).userIds)).toEqual(new Set(['7', '8']));
    expect(toldAt(1).map(({ by }) => by)).toEqual(['elsewhere', 'elsewhere']);
    // Others may have heard each other meanwhile, and taken it for dead.
    expect(toldAt(0).filter(({ by }) => by === 'again')).toEqual([
      { userId: '7', status: ONLINE, by: 'again' },
      { userId: '8', status: ONLINE, by: 'again' },
    ]);
  });

  it('does not go because a process stood still, as long as the others do not take it for dead', async () => {
    at(0).arrive('7');
    await pass(BEAT_MS * 2 + 250);
    toldAt(1);
    // Its clock goes on, and its timers do not run: the others are heard again before they are missed.
    jest.setSystemTime(Date.now() + SILENCE_MS * 3);
    await pass(BEAT_MS * 2);
    expect(toldAt(1)).toEqual([]);
    expect(at(1).statusOf('7')).toBe(ONLINE);
  });

  it('is the same everywhere in the end, whatever was lost on the way', async () => {
    const random = randomFrom(7);
    const people = ['1', '2', '3', '4'];
    const leaves: (() => void)[] = [];
    for (let round = 0; round < 300; round += 1) {
      const roster = at(Math.floor(random() * 3));
      const userId = people[Math.floor(random() * people.length)] ?? '';
      const what = random();
      if (what < 0.35) leaves.push(roster.arrive(userId));
      else if (what < 0.65) leaves.splice(Math.floor(random() * leaves.length), 1)[0]?.();
      else if (what < 0.85) roster.say(userId, [ONLINE, AWAY, BUSY, OFFLINE][round % 4] ?? ONLINE);
      else if (what < 0.95) redis.isAway = !redis.isAway;
      await pass(250 + Math.floor(random() * 2_000));
      if (!redis.isAway && random() < 0.5) redis.comeBack();
    }
    redis.comeBack();
    await pass(SAID_MS + BEAT_MS * 3);
    const shown = nodes.map(({ roster }) => people.map((userId) => roster.statusOf(userId)));
    expect(shown[1]).toEqual(shown[0]);
    expect(shown[2]).toEqual(shown[0]);
    const present = new Set(nodes.flatMap(({ roster }) => roster.userIds));
    expect(present.size).toBeGreaterThan(0);
    for (const leave of leaves) leave();
    await pass(GRACE_MS + 1_000);
    for (const { roster } of nodes) expect(roster.userIds).toEqual([]);
  });

  it('costs one message for what changes together, and one for all who ask', async () => {
    await pass(BEAT_MS * 2);
    redis.said.length = 0;
    for (let n = 0; n < 500; n += 1) at(0).arrive(String(n));
    await pass(250);
    expect(redis.said.filter(({ message }) => message.kind === 'changes')).toHaveLength(1);
    begin('d');
    begin('e');
    await pass(GATHER_MS);
    const answers = redis.said.filter(
      ({ node, message }) => node === 'a' && message.kind === 'everybody',
    );
    expect(answers.length).toBeLessThanOrEqual(2);
    expect(at(4).userIds).toHaveLength(500);
  });
});

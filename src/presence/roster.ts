import type { Topic } from '../events/bus.js';
import { ARRIVED, Attendance, GRACE_MS, SAID_MS, type Shown } from './attendance.js';
import { PresenceStatus } from './presence.types.js';

/** How often a process says that it is there, in ms. */
export const BEAT_MS = 2_000;

/** After how long a process that says nothing is taken for dead, and its people for gone, in ms. */
export const SILENCE_MS = 10_000;

/** For how long a process listens until it knows who is there elsewhere, in ms: somebody's beat, and his answer. */
export const GATHER_MS = BEAT_MS + 1_000;

/** For how long those who ask are waited for, to answer all of them at once, in ms. */
const ANSWER_MS = 50;

/** Somebody and what he is shown as, and since when; without a status: he is gone. */
type Said = readonly [userId: string, status: PresenceStatus | null, saidAt: number];

/**
 * What processes tell each other of presence. `count` is how many changes the speaker has told so far: who hears another
 * one than he expects has missed something, and asks for everybody.
 */
export type RosterMessage =
  | { readonly kind: 'beat'; readonly count: number }
  | { readonly kind: 'changes'; readonly count: number; readonly people: readonly Said[] }
  | { readonly kind: 'everybody'; readonly count: number; readonly people: readonly Said[] }
  /** Without a node, of all of them. */
  | { readonly kind: 'ask'; readonly node: string | null };

/** Another process, as far as it was heard. */
interface Other {
  /** Null where something of it was missed. */
  count: number | null;
  people: Map<string, Shown>;
  heardAt: number;
}

/** From when on somebody is shown as what. */
export interface Change {
  readonly userId: string;
  readonly status: PresenceStatus;
  /**
   * Where it was seen first: in this process, by another one, or by nobody, since the process where he was has died; or
   * nothing has changed, and others may have taken this process for dead.
   */
  readonly by: 'here' | 'elsewhere' | 'nobody' | 'again';
}

export interface RosterOptions {
  /** Null where there is one process. */
  readonly topic?: Topic<RosterMessage> | null;
  readonly graceMs?: number;
  readonly saidMs?: number;
}

/**
 * Who is there, in all processes on the database. Each says what changes for its people, and every 2 s that it lives;
 * nobody keeps that for them: who has missed something asks for it, and who says nothing for 10 s has died, and his people
 * are gone. While Redis is away, those who are there elsewhere are not known.
 */
export class Roster {
  private readonly here: Attendance;
  private readonly others = new Map<string, Other>();
  /** Of who is there, what he was told to be shown as. */
  private readonly shown = new Map<string, Shown>();
  private readonly topic: Topic<RosterMessage> | null;
  private changes = new Set<string>();
  private count = 0;
  /** Why something changes that happens now. */
  private cause: Change['by'] = 'here';
  private heardSelfAt: number | null = null;
  private lookedAt = Date.now();
  private readyAt: number | null = null;
  private beats: NodeJS.Timeout | undefined;
  private answer: NodeJS.Timeout | undefined;

  /** @param changed told of each change that people can see */
  constructor(
    private readonly changed: (change: Change) => void,
    { topic = null, graceMs = GRACE_MS, saidMs = SAID_MS }: RosterOptions = {},
  ) {
    this.topic = topic;
    this.here = new Attendance(
      (userId) => {
        if (this.topic !== null) this.changes.add(userId);
        this.update(userId);
      },
      graceMs,
      saidMs,
    );
  }

  /** Listens to the others, and begins to say who is here. */
  start(): void {
    const { topic } = this;
    if (topic === null) return;
    topic.follow(
      (message, speaker) => {
        this.hear(topic, message, speaker);
      },
      () => {
        this.readyAt ??= Date.now();
        // What they said while nothing could be heard is no sign of death.
        for (const other of this.others.values()) other.heardAt = Date.now();
        void topic.say({ kind: 'ask', node: null });
      },
    );
    this.beats = setInterval(() => {
      void topic.say({ kind: 'beat', count: this.count });
      this.forgetTheSilent();
    }, BEAT_MS);
    this.beats.unref();
  }

  stop(): void {
    clearInterval(this.beats);
    clearTimeout(this.answer);
  }

  /** Whether there is no other process. */
  get isAlone(): boolean {
    return this.topic === null;
  }

  /** Whether it is known by now who is there in other processes; for as long as Redis was never there, it is not. */
  get hasGathered(): boolean {
    return this.topic === null || (this.readyAt !== null && Date.now() - this.readyAt >= GATHER_MS);
  }

  /** Whoever is there, in all processes, shown or not. */
  get userIds(): readonly string[] {
    return [...this.shown.keys()];
  }

  /** How many people are there in this process. */
  get size(): number {
    return this.here.size;
  }

  statusOf(userId: string): PresenceStatus {
    return this.shown.get(userId)?.status ?? PresenceStatus.OFFLINE;
  }

  /** A connection of his began in this process. @returns to be called once when it has ended */
  arrive(userId: string): () => void {
    return this.here.arrive(userId, this.shown.get(userId) ?? ARRIVED);
  }

  /**
   * He says what he wants to be shown as, until he says otherwise or goes from everywhere.
   * @param isNew whether others have to be told, though it may be the same as before
   */
  say(userId: string, status: PresenceStatus, isNew = false): void {
    const before = this.here.find(userId) ?? this.shown.get(userId);
    // By the clock of this process, and behind what was said before by another one's.
    const said = { status, saidAt: Math.max(Date.now(), (before?.saidAt ?? 0) + 1) };
    this.here.say(userId, before?.status === status && !isNew ? before : said);
  }

  /** Everybody goes, since the server ends. */
  leaveAll(): void {
    this.here.leaveAll();
  }

  /**
   * Tells the others what has changed here, once that is written down, since they read it from there.
   * @throws whatever `write` throws; it is told the next time then.
   */
  async tell(write: () => Promise<void>): Promise<void> {
    const { changes } = this;
    this.changes = new Set();
    try {
      await write();
    } catch (error) {
      for (const userId of changes) this.changes.add(userId);
      throw error;
    }
    if (changes.size === 0) return;
    this.count += 1;
    // What is not said is missed by them, and asked for.
    await this.topic?.say({
      kind: 'changes',
      count: this.count,
      people: [...changes].map((userId) => this.saidOf(userId)),
    });
  }

  private saidOf(userId: string): Said {
    const shown = this.here.find(userId);
    return [userId, shown?.status ?? null, shown?.saidAt ?? 0];
  }

  private hear(topic: Topic<RosterMessage>, message: RosterMessage, node: string): void {
    if (node === topic.node) {
      if (message.kind === 'beat') this.hearSelf();
      return;
    }
    switch (message.kind) {
      case 'ask':
        if (message.node === null || message.node === topic.node) this.answerSoon(topic);
        return;
      case 'beat':
      case 'changes':
      case 'everybody':
        this.because('elsewhere', () => {
          if (!this.hasUnderstood(this.otherOf(node), message))
            void topic.say({ kind: 'ask', node });
        });
    }
  }

  /** False where something was missed. */
  private hasUnderstood(
    other: Other,
    message: Exclude<RosterMessage, { readonly kind: 'ask' }>,
  ): boolean {
    other.heardAt = Date.now();
    if (message.kind === 'beat') return other.count === message.count;
    if (message.kind === 'changes') {
      const isNext = other.count === message.count - 1;
      other.count = isNext ? message.count : null;
      if (isNext) this.take(other.people, message.people);
      return isNext;
    }
    other.count = message.count;
    const named = new Set(message.people.map(([userId]) => userId));
    const gone = [...other.people.keys()].filter((userId) => !named.has(userId));
    this.take(other.people, [...gone.map((userId): Said => [userId, null, 0]), ...message.people]);
    return true;
  }

  private take(people: Map<string, Shown>, said: readonly Said[]): void {
    for (const [userId, status, saidAt] of said) {
      if (status === null) people.delete(userId);
      else {
        const shown = { status, saidAt };
        people.set(userId, shown);
        const here = this.here.find(userId);
        if (here !== null && isLater(shown, here)) this.here.show(userId, shown);
      }
      this.update(userId);
    }
  }

  private otherOf(node: string): Other {
    const known = this.others.get(node);
    if (known !== undefined) return known;
    const other = { count: null, people: new Map<string, Shown>(), heardAt: Date.now() };
    this.others.set(node, other);
    return other;
  }

  private answerSoon(topic: Topic<RosterMessage>): void {
    this.answer ??= setTimeout(() => {
      this.answer = undefined;
      const people = this.here.userIds.map((userId) => this.saidOf(userId));
      void topic.say({ kind: 'everybody', count: this.count, people });
    }, ANSWER_MS).unref();
  }

  private hearSelf(): void {
    const { heardSelfAt } = this;
    this.heardSelfAt = Date.now();
    if (heardSelfAt === null || Date.now() - heardSelfAt < SILENCE_MS) return;
    for (const userId of this.here.userIds)
      this.changed({ userId, status: this.statusOf(userId), by: 'again' });
  }

  private forgetTheSilent(): void {
    const now = Date.now();
    const rest = now - this.lookedAt;
    this.lookedAt = now;
    if (rest > 2 * BEAT_MS) {
      // This process stood still: what the others said meanwhile is still to be heard.
      for (const other of this.others.values()) other.heardAt = now;
      return;
    }
    const hearsSelf = this.heardSelfAt !== null && now - this.heardSelfAt <= 2 * BEAT_MS;
    for (const [node, { heardAt, people }] of this.others) {
      if (now - heardAt < SILENCE_MS) continue;
      this.others.delete(node);
      // Where this process does not hear itself, it is Redis that is away, and nobody has died.
      this.because(hearsSelf ? 'nobody' : 'elsewhere', () => {
        for (const userId of people.keys()) this.update(userId);
      });
    }
  }

  private because(cause: Change['by'], happens: () => void): void {
    this.cause = cause;
    try {
      happens();
    } finally {
      this.cause = 'here';
    }
  }

  /** Tells what others see of somebody, where it is something else now. */
  private update(userId: string): void {
    const before = this.shown.get(userId) ?? GONE;
    let now = this.here.find(userId);
    for (const { people } of this.others.values()) {
      const there = people.get(userId);
      if (there !== undefined && (now === null || isLater(there, now))) now = there;
    }
    if (now === null) this.shown.delete(userId);
    else this.shown.set(userId, now);
    const { status, saidAt } = now ?? GONE;
    // Of one whose process has died it is to be written down, though nobody could see him.
    const isLeft = this.cause === 'nobody' && now === null;
    if (status !== before.status || (saidAt > before.saidAt && before !== GONE) || isLeft)
      this.changed({ userId, status, by: this.cause });
  }
}

const GONE: Shown = { status: PresenceStatus.OFFLINE, saidAt: 0 };

/** Where two say something in the same millisecond, all processes agree on one of them. */
function isLater(one: Shown, other: Shown): boolean {
  return one.saidAt === other.saidAt ? one.status > other.status : one.saidAt > other.saidAt;
}

import type { Database } from '../database/database.js';
import { explainDatabaseError } from '../database/database-errors.js';
import { messageOf } from '../errors/segue-error.js';
import { Audience } from './audience.js';
import type { Place } from './cursor.js';
import {
  findGap,
  findReceivers,
  type LoggedEvent,
  type Page,
  readEnd,
  readNext,
  readPage,
} from './event-log.js';
import { findListeners, type Signal } from './signals.js';

/** How long a lost wake-up can delay an event, in ms. */
const POLL_MS = 1_000;

/** Events that are read at a time. */
const PAGE = 200;

/** Events that wait for a subscriber in memory; one that is further behind reads them from the log when he is ready. */
const MOST_WAITING = 256;

/**
 * What a subscriber gets: an event with its place, or that he has to fetch everything anew; or a signal, with the place of
 * the last event before it.
 */
export type Delivery =
  | {
      readonly event: LoggedEvent;
      readonly place: Place;
      /** What is told together with it, to him or to others: the same object for all of them. */
      readonly batch: readonly LoggedEvent[];
    }
  | { readonly resync: string; readonly place: Place }
  | { readonly signal: Signal; readonly place: Place };

export interface SubscribeOptions {
  /** Whose presence he is told of, beside those with whom he has a conversation. */
  readonly watched?: ReadonlySet<string>;
}

/**
 * Delivers the event log of one process: each subscriber gets all that he may see after his place, once and in order,
 * first from the log, then as it is written.
 *
 * One reader follows the log for all of them, woken by the writers of this process and looking by itself every second.
 * A subscriber is live when he has read as far as that reader; who falls too far behind goes back to reading the log, so
 * that he costs no memory and no other one waits for him.
 */
export class EventHub {
  /** Events and signals that were handed over so far. */
  delivered = 0;
  private readonly subscribers = new Audience<Subscriber>();
  private end: Place | null = null;
  /** Who pauses, each to be woken. */
  private readonly pausing = new Set<() => void>();
  private isWoken = false;
  private readonly stopping = new AbortController();
  private running: Promise<void> | null = null;

  /**
   * @param warn told once of each failure to read the log that is another one than the last
   * @param wakeOthers wakes the hubs of other processes on the database
   */
  constructor(
    private readonly database: Database,
    private readonly warn: (message: string) => void,
    private readonly wakeOthers: () => void = () => undefined,
  ) {}

  /** Says that something was committed here. Costs nothing, and may be forgotten: it is then seen a second later. */
  wake(): void {
    this.wakeHere();
    this.wakeOthers();
  }

  /** Says that another process may have committed something. */
  wakeHere(): void {
    this.isWoken = true;
    this.endPauses();
  }

  /** How many listen at the moment: who still reads the log does not. */
  get listening(): number {
    return [...this.subscribers].filter(({ isLive, hasLeft }) => isLive && !hasLeft).length;
  }

  /** Where the log ends now: what is read from the database afterwards is at least as new. */
  now(): Promise<Place> {
    return readEnd(this.database.reader);
  }

  /**
   * All that a person may see after a place; without one, from now on: when this resolves, nothing that is committed from
   * then on can be missed. Who hangs up while he waits is forgotten at once.
   */
  async subscribe(
    viewerId: string,
    after: Place | null,
    { watched = new Set() }: SubscribeOptions = {},
  ): Promise<AsyncIterableIterator<Delivery>> {
    const subscriber = new Subscriber(viewerId, after ?? (await this.now()), watched);
    const deliveries = this.deliver(subscriber, after !== null);
    let asked = 0;
    const following: AsyncIterableIterator<Delivery> = {
      next: () => {
        // A generator that is asked for each of them takes three times as long; who asks twice at once has to have order.
        const next = asked === 0 ? subscriber.take() : null;
        if (next !== null) return Promise.resolve({ done: false, value: this.handedOver(next) });
        asked += 1;
        return deliveries.next().finally(() => {
          asked -= 1;
        });
      },
      // A generator ends only where it gives something out: one that waits for the next event has to be woken.
      return: () => {
        subscriber.leave();
        return deliveries.return();
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
    return following;
  }

  private async *deliver(
    subscriber: Subscriber,
    mayHaveGap: boolean,
  ): AsyncGenerator<Delivery, void, void> {
    const gap = mayHaveGap ? await findGap(this.database.reader, subscriber.place) : null;
    if (gap !== null) {
      subscriber.place = await this.now();
      yield this.handedOver({ resync: gap, place: subscriber.place });
    }
    this.subscribers.add(subscriber);
    try {
      this.follow();
      while (!this.stopping.signal.aborted && !subscriber.hasLeft) {
        if (!subscriber.isLive) {
          const page = await this.read(subscriber);
          if (page === null) continue;
          const { events, through } = page;
          const { epoch } = through;
          if (epoch !== subscriber.place.epoch) {
            subscriber.place = through;
            yield this.handedOver({ resync: BEGUN_ANEW, place: through });
            continue;
          }
          for (const event of events) {
            subscriber.place = { epoch, id: event.id, at: event.at };
            yield this.handedOver({ event, place: subscriber.place, batch: events });
          }
          subscriber.place = through;
          // Nothing runs between these two lines: what the reader dispatches next, he gets.
          if (this.end !== null && through.id >= this.end.id) subscriber.isLive = true;
          else if (events.length === 0) await this.pause(POLL_MS / 10);
          continue;
        }
        const next = subscriber.take();
        if (next !== null) yield this.handedOver(next);
        else if (subscriber.hasOverflowed) subscriber.readLog();
        else await subscriber.more();
      }
    } finally {
      this.subscribers.delete(subscriber);
    }
  }

  private handedOver(delivery: Delivery): Delivery {
    this.delivered += 1;
    return delivery;
  }

  /**
   * Tells a signal to those who listen now and may know of it. Who is behind in the log is not told: by when he has read
   * it, it would be of the past.
   */
  tell(signal: Signal): void {
    this.tellNow(signal).catch((error: unknown) => {
      // The state stands, and who asks is told.
      this.warn(`Nobody could be told of ${signal.kind}: ${messageOf(error)}`);
    });
  }

  private async tellNow(signal: Signal): Promise<void> {
    const { viewerIds } = this.subscribers;
    if (viewerIds.length === 0) return;
    const { reader, dialect } = this.database;
    const listeners = await findListeners(reader, dialect, signal, viewerIds);
    // Only presence is told to others than those whom the database names: to who asked for it by name.
    const asked =
      signal.kind === 'PresenceUpdated' ? this.subscribers : this.subscribers.of(listeners);
    for (const subscriber of asked)
      if (
        subscriber.isLive &&
        !subscriber.hasLeft &&
        (listeners.has(subscriber.viewerId) || subscriber.watches(signal))
      )
        subscriber.push({ signal, place: subscriber.place });
  }

  /** The next page of the log for a subscriber; null when it cannot be read at the moment, after a while. */
  private async read({ viewerId, place }: Subscriber): Promise<Page | null> {
    try {
      return await readPage(this.database, viewerId, place.id, PAGE);
    } catch (error) {
      // His place stands: he goes on from it when the database is back.
      if (explainDatabaseError(error) === null) throw error;
      await this.pause(POLL_MS);
      return null;
    }
  }

  /** Ends all subscriptions, and resolves when the log is read no more. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.endPauses();
    for (const subscriber of this.subscribers) subscriber.wake();
    await this.running;
  }

  /** Makes sure that somebody reads the log. */
  private follow(): void {
    this.running ??= this.run();
  }

  private async run(): Promise<void> {
    let told = '';
    while (!this.stopping.signal.aborted) {
      try {
        await this.dispatch();
        told = '';
      } catch (error) {
        // The database may be away for a while: the places stand, and nothing is missed.
        const message = messageOf(error);
        if (message !== told) this.warn(`The event log cannot be read: ${message}`);
        told = message;
        await this.pause(POLL_MS);
      }
      if (!this.isWoken) await this.pause(POLL_MS);
      this.isWoken = false;
    }
  }

  /** Hands out what is new in the log. */
  private async dispatch(): Promise<void> {
    const { reader } = this.database;
    for (;;) {
      const end = (this.end ??= await this.now());
      const events = await readNext(reader, end, PAGE);
      const last = events.at(-1);
      if (last === undefined) {
        const current = await readEnd(reader);
        if (current.epoch !== end.epoch || current.id < end.id) this.beginAnew(current);
        return;
      }
      this.subscribers.takeArrived();
      const receivers = await this.findReceivers(events, this.subscribers.viewerIds);
      const batch = events.filter(({ id }) => receivers.has(id));
      const { epoch } = end;
      // Who came while the receivers were looked up asks by himself, from the log.
      for (const subscriber of this.subscribers.of(this.subscribers.takeArrived()))
        if (subscriber.isLive && last.id > subscriber.place.id) subscriber.readLog();
      for (const event of batch) {
        const delivery = { event, place: { epoch, id: event.id, at: event.at }, batch };
        for (const subscriber of this.subscribers.of(receivers.get(event.id) ?? []))
          if (subscriber.isLive && event.id > subscriber.place.id) subscriber.push(delivery);
      }
      this.end = { epoch, id: last.id, at: last.at };
      if (events.length < PAGE) return;
    }
  }

  /** Another log goes on from here: who listens has to fetch everything anew. */
  private beginAnew(end: Place): void {
    this.end = end;
    for (const subscriber of this.subscribers)
      if (subscriber.isLive) subscriber.push({ resync: BEGUN_ANEW, place: end });
  }

  /** Who of some people may see which of some events, by event. */
  private async findReceivers(
    events: readonly LoggedEvent[],
    users: readonly string[],
  ): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
    const receivers = new Map<number, Set<string>>();
    const add = (eventId: number, userId: string): void => {
      const known = receivers.get(eventId);
      if (known === undefined) receivers.set(eventId, new Set([userId]));
      else known.add(userId);
    };
    if (users.length === 0) return receivers;
    const { reader, dialect } = this.database;
    const ofMembers = events.filter(({ userId }) => userId === null).map(({ id }) => id);
    for (const { eventId, userId } of await findReceivers(reader, dialect, ofMembers, users))
      add(eventId, userId);
    const listening = new Set(users);
    for (const { id, userId } of events)
      if (userId !== null && listening.has(userId)) add(id, userId);
    return receivers;
  }

  private endPauses(): void {
    for (const end of this.pausing) end();
  }

  /** Ends after so many ms, or when somebody wakes the hub. */
  private pause(ms: number): Promise<void> {
    if (this.stopping.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.pausing.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      timer.unref();
      this.pausing.add(end);
    });
  }
}

const BEGUN_ANEW =
  'The event log was begun anew: the changeover was rolled back, or the database was restored.';

/** One who listens. */
class Subscriber {
  isLive = false;
  hasOverflowed = false;
  hasLeft = false;
  waiting: Delivery[] = [];
  private awake: () => void = () => undefined;

  constructor(
    readonly viewerId: string,
    /** Of what was handed over last. */
    public place: Place,
    private readonly watched: ReadonlySet<string>,
  ) {}

  watches(signal: Signal): boolean {
    return signal.kind === 'PresenceUpdated' && this.watched.has(signal.userId);
  }

  push(delivery: Delivery): void {
    if (this.hasOverflowed) return;
    // A signal that nobody takes in time is of no use any more.
    if (this.waiting.length >= MOST_WAITING) this.hasOverflowed ||= !('signal' in delivery);
    else this.waiting.push(delivery);
    this.wake();
  }

  /** The next of what waits for him, whose place is his from then on; null: nothing, or he reads the log. */
  take(): Delivery | null {
    if (!this.isLive || this.hasLeft) return null;
    const next = this.waiting.shift();
    if (next === undefined) return null;
    if ('signal' in next) return { ...next, place: this.place };
    this.place = next.place;
    return next;
  }

  /** Goes on from his place in the log. */
  readLog(): void {
    this.isLive = false;
    this.hasOverflowed = false;
    this.waiting = [];
    this.wake();
  }

  leave(): void {
    this.hasLeft = true;
    this.wake();
  }

  wake(): void {
    this.awake();
  }

  more(): Promise<void> {
    return new Promise((resolve) => {
      this.awake = resolve;
    });
  }
}

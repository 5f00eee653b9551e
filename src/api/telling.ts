import type { Delivery } from '../events/event-hub.js';
import type { LoggedEvent } from '../events/event-log.js';
import { Loaders } from '../graphql/loaders.js';
import type { Event } from './event.types.js';

/** For how long what was read for one who is told is good for the others, in ms. */
const SHARED_MS = 1_000;

/** What those who are told of some events at about the same time have in common. */
export interface SharedEvents {
  /** Each key of a loader says whose view it is, where that makes a difference. */
  readonly loaders: Loaders;
  /** What they are told, where it is the same for all of them; a promise of it until it was read. */
  readonly presented: Map<LoggedEvent, Promise<Event | null> | Event | null>;
}

/**
 * What is being told: what somebody asks for of it is read once for all, and what each of them may see in one statement.
 * What was read after an event was committed is never older than it.
 */
export class Telling {
  private readonly known = new WeakMap<object, SharedEvents & { readonly at: number }>();

  of(delivery: Delivery): SharedEvents {
    const told = toldBy(delivery);
    const known = this.known.get(told);
    if (known !== undefined && performance.now() - known.at < SHARED_MS) return known;
    const shared = { loaders: new Loaders(), presented: new Map(), at: performance.now() };
    this.known.set(told, shared);
    return shared;
  }

  /** What could not be read is asked for anew. */
  forget(delivery: Delivery): void {
    this.known.delete(toldBy(delivery));
  }
}

/** The same object for all who are told of it: the hub reads the log once for those who listen. */
function toldBy(delivery: Delivery): object {
  if ('event' in delivery) return delivery.batch;
  return 'signal' in delivery ? delivery.signal : delivery;
}

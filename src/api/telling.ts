import type { Delivery } from '../events/event-hub.js';
import { Loaders } from '../graphql/loaders.js';

/** For how long what was read for one who is told of an event is good for the others, in ms. */
const SHARED_MS = 1_000;

/**
 * The loaders of an event, for all who are told of it at about the same time: what they ask for is read once, and what
 * each of them may see in one statement for all. Each key of a loader says whose view it is, where that makes a difference;
 * and what was read after an event was committed is never older than it.
 */
export class LoadersOfEvents {
  private readonly made = new WeakMap<object, { readonly loaders: Loaders; readonly at: number }>();

  of(delivery: Delivery): Loaders {
    const told = toldBy(delivery);
    const known = this.made.get(told);
    if (known !== undefined && performance.now() - known.at < SHARED_MS) return known.loaders;
    const loaders = new Loaders();
    this.made.set(told, { loaders, at: performance.now() });
    return loaders;
  }

  /** What could not be read is asked for anew. */
  forget(delivery: Delivery): void {
    this.made.delete(toldBy(delivery));
  }
}

/** The same object for all who are told of it: the hub reads the log once for those who listen. */
function toldBy(delivery: Delivery): object {
  if ('event' in delivery) return delivery.event;
  return 'signal' in delivery ? delivery.signal : delivery;
}

import DataLoader from 'dataloader';

/** Reads many values at once: one for each key, in the order of the keys. */
export type Batch<Key, Value> = (keys: readonly Key[]) => Promise<readonly (Value | Error)[]>;

/** The loaders of one request, or of one event of a subscription: what is loaded once is the same for all of it. */
export class Loaders {
  private readonly made = new Map<unknown, unknown>();

  /**
   * The loader of a batch function, made when it is first asked for.
   * @param batch has to be the same function each time: a field of a service, not a closure made on the spot.
   */
  of<Key, Value>(batch: Batch<Key, Value>): DataLoader<Key, Value> {
    const known = this.made.get(batch) as DataLoader<Key, Value> | undefined;
    if (known !== undefined) return known;
    const loader = new DataLoader<Key, Value>(batch);
    this.made.set(batch, loader);
    return loader;
  }
}

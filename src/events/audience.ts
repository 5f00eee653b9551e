/** Those who listen, by who they are: an event costs what those cost who are told of it, however many others are connected. */
export class Audience<Listener extends { readonly viewerId: string }> {
  private readonly ofViewers = new Map<string, Set<Listener>>();
  private arrived = new Set<string>();

  *[Symbol.iterator](): IterableIterator<Listener> {
    for (const listeners of this.ofViewers.values()) yield* listeners;
  }

  get viewerIds(): readonly string[] {
    return [...this.ofViewers.keys()];
  }

  add(listener: Listener): void {
    const others = this.ofViewers.get(listener.viewerId);
    if (others !== undefined) {
      others.add(listener);
      return;
    }
    this.ofViewers.set(listener.viewerId, new Set([listener]));
    this.arrived.add(listener.viewerId);
  }

  delete(listener: Listener): void {
    const listeners = this.ofViewers.get(listener.viewerId);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.ofViewers.delete(listener.viewerId);
  }

  /** The listeners of some viewers, in no order; of who has none, none. */
  *of(viewerIds: Iterable<string>): IterableIterator<Listener> {
    for (const viewerId of viewerIds) yield* this.ofViewers.get(viewerId) ?? [];
  }

  /** The viewers from whom nobody was listening at some time since this was asked last. */
  takeArrived(): ReadonlySet<string> {
    const { arrived } = this;
    if (arrived.size > 0) this.arrived = new Set();
    return arrived;
  }
}

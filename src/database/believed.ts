/**
 * Reads something again only when the last time is longer ago; who asks meanwhile shares that answer, also while it is being
 * read. What could not be read is read again by the next one.
 * @param forMs for how long it is believed, in ms
 */
export function believed<Value>(forMs: number, read: () => Promise<Value>): () => Promise<Value> {
  let reading: Promise<Value> | null = null;
  let readAt = -Infinity;
  return () => {
    const now = performance.now();
    if (reading !== null && now - readAt <= forMs) return reading;
    readAt = now;
    const begun = read();
    reading = begun;
    begun.catch(() => {
      if (reading === begun) reading = null;
    });
    return begun;
  };
}

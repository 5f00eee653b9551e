/**
 * What `resultOf` makes of each item, but for null. When it is ended, so is its source, at once: a generator alone
 * would wait for the next item first, which may never come.
 */
export function mapped<Item, Result>(
  source: AsyncIterableIterator<Item>,
  resultOf: (item: Item) => Promise<Result | null> | Result | null,
): AsyncIterableIterator<Result> {
  const results = (async function* () {
    for await (const item of source) {
      const result = await resultOf(item);
      if (result !== null) yield result;
    }
  })();
  return {
    next: () => results.next(),
    return: async () => {
      await source.return?.();
      return results.return();
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

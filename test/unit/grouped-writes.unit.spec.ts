import { describe, expect, it } from '@jest/globals';
import type { Database, Queryable } from '../../src/database/database.js';
import { GroupedWrites, type Outcome } from '../../src/database/grouped-writes.js';

/** What a database does with a transaction: commits it, once `until` is there, or fails with an error. */
type Fate = { readonly fails?: unknown; readonly until?: Promise<void> } | undefined;

const failure = (code: string): Error => Object.assign(new Error(code), { code });

/**
 * Writes of texts, on a database whose transactions end as `fateOf` says; `no …` is refused by the rules. What was
 * committed, and with whom it was tried, is kept.
 */
function writes(fateOf: (drafts: readonly string[], attempt: number) => Fate = () => undefined): {
  grouped: GroupedWrites<string, string>;
  tried: string[][];
  stored: string[];
  commits: () => number;
} {
  const tried: string[][] = [];
  const stored: string[] = [];
  let commits = 0;
  const database = {
    transaction: async <Result>(
      work: (transaction: Queryable) => Promise<Result>,
    ): Promise<Result> => {
      const result = await work({} as Queryable);
      const drafts = tried.at(-1) ?? [];
      const attempt = tried.filter((one) => one.join() === drafts.join()).length;
      const fate = fateOf(drafts, attempt);
      await fate?.until;
      if (fate?.fails !== undefined) throw fate.fails as Error;
      stored.push(...drafts.filter((draft) => !draft.startsWith('no')));
      return result;
    },
  } as unknown as Database;
  const grouped = new GroupedWrites<string, string>(
    database,
    (_, drafts) => {
      tried.push([...drafts]);
      return Promise.resolve(
        drafts.map((draft): Outcome<string> =>
          draft.startsWith('no') ? { refusal: new Error(draft) } : { result: `${draft}!` },
        ),
      );
    },
    () => {
      commits += 1;
    },
  );
  return { grouped, tried, stored, commits: () => commits };
}

const settled = (
  grouped: GroupedWrites<string, string>,
  ...drafts: readonly string[]
): Promise<PromiseSettledResult<string>[]> =>
  Promise.allSettled(drafts.map((draft) => grouped.write(draft)));

const shown = (results: readonly PromiseSettledResult<string>[]): string[] =>
  results.map((one) =>
    one.status === 'fulfilled' ? one.value : `rejected: ${(one.reason as Error).message}`,
  );

describe('writes in groups', () => {
  it('commit together what is asked for at once', async () => {
    const { grouped, tried, commits } = writes();
    expect(shown(await settled(grouped, 'a', 'b', 'c'))).toEqual(['a!', 'b!', 'c!']);
    expect(tried).toEqual([['a', 'b', 'c']]);
    expect(commits()).toBe(1);
  });

  it('take no more than 64 into one transaction', async () => {
    const { grouped, tried } = writes();
    const drafts = Array.from({ length: 130 }, (_, n) => `d${n}`);
    expect(shown(await settled(grouped, ...drafts))).toEqual(drafts.map((draft) => `${draft}!`));
    expect(tried.map(({ length }) => length)).toEqual([64, 64, 2]);
  });

  it('resolve nothing before its commit, and put what comes meanwhile into the next', async () => {
    let commit: () => void = () => undefined;
    const until = new Promise<void>((resolve) => {
      commit = resolve;
    });
    const { grouped, tried, stored } = writes((drafts) =>
      drafts.includes('a') ? { until } : undefined,
    );
    const resolved: string[] = [];
    const note = async (draft: string): Promise<void> => {
      const result = await grouped.write(draft);
      // What resolved stands in the database by then.
      expect(stored).toContain(draft);
      resolved.push(result);
    };
    const first = note('a');
    // The transaction is under way when the others come.
    while (tried.length === 0) await new Promise(setImmediate);
    const others = [note('b'), note('c')];
    for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
    expect(resolved).toEqual([]);
    expect(tried).toEqual([['a']]);
    commit();
    await Promise.all([first, ...others]);
    expect(resolved).toEqual(['a!', 'b!', 'c!']);
    expect(tried).toEqual([['a'], ['b', 'c']]);
  });

  it('let one that is refused by the rules fail alone', async () => {
    const { grouped, tried, stored } = writes();
    expect(shown(await settled(grouped, 'a', 'no b', 'c'))).toEqual(['a!', 'rejected: no b', 'c!']);
    expect(tried).toHaveLength(1);
    expect(stored).toEqual(['a', 'c']);
  });

  it.each(['23505', 'SQLITE_CONSTRAINT', '22001'])(
    'try each by itself when the database refuses them with %s, so that only the one at fault fails',
    async (code) => {
      const { grouped, tried, stored, commits } = writes((drafts) =>
        drafts.includes('b') ? { fails: failure(code) } : undefined,
      );
      expect(shown(await settled(grouped, 'a', 'b', 'c'))).toEqual([
        'a!',
        `rejected: ${code}`,
        'c!',
      ]);
      expect(tried).toEqual([['a', 'b', 'c'], ['a'], ['b'], ['c']]);
      expect(stored).toEqual(['a', 'c']);
      expect(commits()).toBe(2);
    },
  );

  it.each(['ECONNRESET', '08006', '57P01', 'SQLITE_FULL'])(
    'are not tried again when it ended with %s: nobody knows whether the commit took place',
    async (code) => {
      const { grouped, tried, commits } = writes((drafts) =>
        drafts.includes('a') ? { fails: failure(code) } : undefined,
      );
      expect(shown(await settled(grouped, 'a', 'b'))).toEqual([
        `rejected: ${code}`,
        `rejected: ${code}`,
      ]);
      expect(tried).toEqual([['a', 'b']]);
      expect(commits()).toBe(0);
      // And those that come later are served.
      expect(await grouped.write('c')).toBe('c!');
    },
  );

  it.each(['40001', '40P01', 'SQLITE_BUSY'])(
    'are tried again together when they lost to another transaction (%s)',
    async (code) => {
      const { grouped, tried } = writes((_, attempt) =>
        attempt < 3 ? { fails: failure(code) } : undefined,
      );
      expect(shown(await settled(grouped, 'a', 'b'))).toEqual(['a!', 'b!']);
      expect(tried).toEqual([
        ['a', 'b'],
        ['a', 'b'],
        ['a', 'b'],
      ]);
    },
  );

  it('are given up after five times', async () => {
    const { grouped, tried } = writes(() => ({ fails: failure('40P01') }));
    expect(shown(await settled(grouped, 'a'))).toEqual(['rejected: 40P01']);
    expect(tried).toHaveLength(5);
  });
});

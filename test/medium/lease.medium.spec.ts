import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { Lease } from '../../src/changeover/lease.js';
import { readState } from '../../src/changeover/stage.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database, Queryable } from '../../src/database/database.js';
import { explainDatabaseError } from '../../src/database/database-errors.js';
import { ENGINES, open, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase } from '../helpers/legacy.js';

/** A database whose sessions tell of each statement before it is run. */
function watched(
  database: Database,
  notice: (sql: string, inTransaction: boolean) => void,
): Database {
  const watch = (queryable: Queryable, inTransaction: boolean): Queryable => ({
    all: async (sql, parameters) => {
      notice(sql, inTransaction);
      return queryable.all(sql, parameters);
    },
    run: async (sql, parameters) => {
      notice(sql, inTransaction);
      return queryable.run(sql, parameters);
    },
  });
  return withParts(database, {
    session: (work) =>
      database.session((session) =>
        work({
          ...watch(session, false),
          transaction: (inner) =>
            session.transaction((transaction) => inner(watch(transaction, true))),
        }),
      ),
  });
}

const isRenewal = (sql: string): boolean => sql.includes('UPDATE changeover_lease');

describe.each(ENGINES)('the lease of a runner on %s', (engine) => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

  async function expanded(messages = 300): Promise<{ database: Database; other: Database }> {
    const { location, database } = await legacyDatabase(engine, { messages });
    await expand(contextOf(database), EXPAND);
    return { database, other: await open(location) };
  }

  it('is kept alive where statements take long, in a transaction and outside of one', async () => {
    const { database } = await expanded();
    let clock = performance.now();
    jest.spyOn(performance, 'now').mockImplementation(() => clock);
    let renewedAt = clock;
    let longest = 0;
    let longestOutside = 0;
    const slow = watched(database, (sql, inTransaction) => {
      const silent = clock - renewedAt;
      longest = Math.max(longest, silent);
      if (!inTransaction) longestOutside = Math.max(longestOutside, silent);
      if (isRenewal(sql)) renewedAt = clock;
      else clock += 11_000;
    });
    await backfill(contextOf(slow));
    // By this clock a transaction takes longer than the lease; the next statement finds it renewed all the same.
    expect(longest).toBeGreaterThan(30_000);
    expect(longestOutside).toBe(0);
  });

  it('is not lost to one that waited for the end of a transaction longer than the lease', async () => {
    const { database, other } = await expanded();
    await Lease.hold(database, async (lease) => {
      let waiting: Promise<unknown> = Promise.resolve();
      await lease.fenced(database, async (transaction) => {
        // As if it had been given long ago, and the time of this transaction were passing.
        await transaction.run('UPDATE changeover_lease SET expires_at = 1');
        waiting = Lease.acquire(other).catch((error: unknown) => error);
        const later = performance.now() + 60_000;
        jest.spyOn(performance, 'now').mockImplementation(() => later);
      });
      expect(await waiting).toMatchObject({ code: 'RUNNER_ACTIVE' });
    });
  });

  const code = { sqlite: 'SQLITE_BUSY', postgres: '40P01' }[engine];
  const losing = (database: Database, times: number): Database => {
    let left = times;
    return watched(database, (sql) => {
      if (!sql.includes('done_above = CASE') || left === 0) return;
      left -= 1;
      throw Object.assign(new Error(`planted ${code}`), { code });
    });
  };

  it('outlives a batch that loses to other transactions a few times', async () => {
    const { database } = await expanded();
    expect(await backfill(contextOf(losing(database, 3)))).toEqual({
      migrated: 300,
      quarantined: 0,
    });
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  });

  it('is given back when one loses each time, and nothing is blamed on a row', async () => {
    const { database } = await expanded();
    const error = await backfill(contextOf(losing(database, 100))).catch(
      (thrown: unknown) => thrown,
    );
    expect(explainDatabaseError(error)).toMatchObject({ code: 'LOCK_TIMEOUT' });
    expect(await readState(database)).toMatchObject({ migrated: 0, quarantined: 0 });
    expect(await database.reader.all('SELECT holder FROM changeover_lease')).toEqual([]);
    expect(await backfill(contextOf(database))).toEqual({ migrated: 300, quarantined: 0 });
  });

  it('does not hide the error that ended a run when it cannot be given back', async () => {
    const { database } = await expanded();
    const gone = withParts(database, {
      transaction: (work) =>
        database.transaction((transaction) =>
          work({
            all: (sql, parameters) => transaction.all(sql, parameters),
            run: async (sql, parameters) => {
              if (sql.startsWith('DELETE FROM changeover_lease')) throw new Error('not given back');
              return transaction.run(sql, parameters);
            },
          }),
        ),
    });
    await expect(
      Lease.hold(gone, () => Promise.reject(new Error('what went wrong'))),
    ).rejects.toThrow('what went wrong');
    await expect(Lease.hold(gone, () => Promise.resolve())).rejects.toMatchObject({
      code: 'RUNNER_ACTIVE',
    });
  });
});

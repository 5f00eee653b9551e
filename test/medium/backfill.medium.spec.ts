import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { Lease } from '../../src/changeover/lease.js';
import { changeStage, readState } from '../../src/changeover/stage.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database, Queryable } from '../../src/database/database.js';
import { asOldApp, ENGINES, open, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

/** All that a backfill writes, in a form that two runs can be compared by. */
async function resultOf(database: Database): Promise<unknown> {
  const all = (sql: string): Promise<object[]> => database.reader.all(sql);
  return {
    conversations: await all(
      'SELECT kind, pair_low, pair_high, legacy_group_id, created_at, last_position FROM conversations ORDER BY created_at, pair_low, pair_high, legacy_group_id',
    ),
    participants: await all(
      `SELECT c.pair_low, c.pair_high, c.legacy_group_id, p.user_id, p.role, p.has_written, p.joined_at
       FROM conversation_participants p JOIN conversations c ON c.id = p.conversation_id ORDER BY 1, 2, 3, 4`,
    ),
    messages: await all(
      `SELECT e.id, c.pair_low, c.pair_high, c.legacy_group_id, e.sender_id, e.legacy_message_id, e.kind, e.text, e.sent_at, e.position, e.status
       FROM enhanced_messages e JOIN conversations c ON c.id = e.conversation_id ORDER BY e.id`,
    ),
    quarantine: await all('SELECT legacy_id, reason, detail FROM changeover_quarantine ORDER BY 1'),
  };
}

/** A database whose session fails at the n-th statement that it runs, as a crash would end it there. */
function failingAt(database: Database, statement: number): Database {
  let left = statement;
  const failing = (queryable: Queryable): Queryable => ({
    all: async (sql, parameters) => {
      countDown();
      return queryable.all(sql, parameters);
    },
    run: async (sql, parameters) => {
      countDown();
      return queryable.run(sql, parameters);
    },
  });
  const countDown = (): void => {
    left -= 1;
    if (left === 0) throw new Error('planted crash');
  };
  return withParts(database, {
    session: (work) =>
      database.session((session) =>
        work({
          ...failing(session),
          transaction: (inner) => session.transaction((transaction) => inner(failing(transaction))),
        }),
      ),
  });
}

describe.each(ENGINES)('backfill on %s', (engine) => {
  it('gives the same result however often it is cut off, and wherever', async () => {
    const rows = { messages: 150, seed: 3 };
    const { database: whole } = await legacyDatabase(engine, rows);
    await migrate(whole);
    const expected = await resultOf(whole);

    const { database } = await legacyDatabase(engine, rows);
    await expand(contextOf(database), EXPAND);
    let crashes = 0;
    for (let statement = 1; ; statement += 1) {
      try {
        await backfill(contextOf(failingAt(database, statement)));
        break;
      } catch (error) {
        expect(String(error)).toContain('planted crash');
        crashes += 1;
      }
    }
    expect(crashes).toBeGreaterThanOrEqual(15);
    expect(await verify(contextOf(database))).toMatchObject({
      mismatches: 0,
      migratedMessages: 150,
    });
    expect(await resultOf(database)).toEqual(expected);
  });

  it('puts what it cannot copy into quarantine, with the rule that the row broke', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 30 });
    const row = (values: string): string =>
      `INSERT INTO messages (id, sender_id, recipient_id, group_id, content, type, status, created_at) VALUES (${values})`;
    const isSqlite = engine === 'sqlite';
    await asOldApp(
      location,
      ...(isSqlite ? ['PRAGMA foreign_keys = OFF'] : ['ALTER TABLE messages DISABLE TRIGGER ALL']),
      row(`101, 999, 1, NULL, 'no sender', 'text', 'sent', '2020-01-01 00:00:00'`),
      row(`102, 1, 999, NULL, 'no recipient', 'text', 'sent', '2020-01-01 00:00:00'`),
      row(`103, 1, 2, 3, 'both', 'text', 'sent', '2020-01-01 00:00:00'`),
      row(`104, 1, NULL, NULL, 'neither', 'text', 'sent', '2020-01-01 00:00:00'`),
      row(`105, 1, 2, NULL, 'no type', NULL, 'sent', '2020-01-01 00:00:00'`),
      row(`106, 1, 2, NULL, 'no status', 'text', NULL, '2020-01-01 00:00:00'`),
      row(`107, 1, 2, NULL, 'no time', 'text', 'sent', NULL`),
      row(`108, 1, 2, NULL, 'future', 'text', 'sent', '9999-12-31 23:59:59'`),
      row(`109, 1, 2, NULL, NULL, 'image', 'read', '2020-01-01 00:00:00'`),
      ...(isSqlite
        ? [
            row(`110, 1, 2, NULL, x'00ff', 'text', 'sent', '2020-01-01 00:00:00'`),
            row(`111, 1, 2, NULL, 'epoch', 'text', 'sent', 1296705906`),
            row(`112, 1, 2, NULL, 'no such date', 'text', 'sent', '2011-02-31 00:00:00'`),
            row(`113, 1, '', NULL, 'empty recipient', 'text', 'sent', '2020-01-01 00:00:00'`),
            row(`114, 1, 2, NULL, 'with zone', 'text', 'sent', '2020-01-01T00:00:00+05:30'`),
          ]
        : [row(`110, 1, 2, NULL, 'no end', 'text', 'sent', 'infinity'`)]),
    );
    expect(await migrate(database)).toMatchObject({
      legacyMessages: isSqlite ? 44 : 40,
      migratedMessages: 31,
      mismatches: 0,
    });
    const quarantine = await database.reader.all<{ id: number | string; detail: string }>(
      'SELECT legacy_id AS id, detail FROM changeover_quarantine ORDER BY legacy_id',
    );
    expect(quarantine.map(({ id, detail }) => [Number(id), detail])).toEqual([
      [101, 'the sender has no account'],
      [102, 'the recipient has no account'],
      [103, 'not exactly one of recipient and group is set'],
      [104, 'not exactly one of recipient and group is set'],
      [105, 'the type is unknown'],
      [106, 'the status is unknown'],
      [107, 'the time is not in the form YYYY-MM-DD HH:MM:SS'],
      [108, 'the time is in the future'],
      ...(isSqlite
        ? [
            [110, 'the content is not text'],
            [111, 'the time is not in the form YYYY-MM-DD HH:MM:SS'],
            [112, 'the time is not in the form YYYY-MM-DD HH:MM:SS'],
            [113, 'not exactly one of recipient and group is set'],
            [114, 'the time is not in the form YYYY-MM-DD HH:MM:SS'],
          ]
        : [[110, 'the time is not in the form YYYY-MM-DD HH:MM:SS']]),
    ]);
  });

  it('moves an empty table, and one row', async () => {
    for (const messages of [0, 1]) {
      const { database } = await legacyDatabase(engine, { messages });
      expect(await migrate(database)).toMatchObject({
        legacyMessages: messages,
        migratedMessages: messages,
        mismatches: 0,
      });
    }
  });

  it('rolls a batch back when the old table changed under it', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 100 });
    await expand(contextOf(database), EXPAND);
    await asOldApp(
      location,
      `INSERT INTO enhanced_messages (id, conversation_id, legacy_message_id, kind, sent_at, position, status) VALUES (50, 1, 50, 'text', 0, 0, 1)`,
    );
    await expect(backfill(contextOf(database))).rejects.toThrow(/UNIQUE|duplicate/i);
    const state = await readState(database);
    expect(state).toMatchObject({ stage: 'BACKFILLING', migrated: 0, doneAbove: '100' });
    await asOldApp(location, 'DELETE FROM enhanced_messages WHERE id = 50');
    await backfill(contextOf(database));
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  });

  it('refuses before expand, and does nothing twice', async () => {
    const { database } = await legacyDatabase(engine, { messages: 40 });
    await expect(backfill(contextOf(database))).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    await migrate(database);
    expect(await backfill(contextOf(database))).toEqual({ migrated: 40, quarantined: 0 });
    expect(await expand(contextOf(database), EXPAND)).toBe('VERIFIED');
  });
});

describe.each(ENGINES)('the lease on %s', (engine) => {
  async function expanded(): Promise<{ database: Database; other: Database }> {
    const { location, database } = await legacyDatabase(engine, { messages: 10 });
    await expand(contextOf(database), EXPAND);
    return { database, other: await open(location) };
  }

  it('lets one run at a time, and the next one when it is given back', async () => {
    const { database, other } = await expanded();
    const lease = await Lease.acquire(database);
    await expect(backfill(contextOf(other))).rejects.toMatchObject({
      code: 'RUNNER_ACTIVE',
      message: expect.stringContaining(lease.holder),
    });
    await lease.release(database);
    expect(await backfill(contextOf(other))).toEqual({ migrated: 10, quarantined: 0 });
  });

  it('is taken over when it has run out, or its process is gone; the late one cannot commit', async () => {
    const { database, other } = await expanded();
    for (const expire of [
      'UPDATE changeover_lease SET expires_at = 1',
      // No process has this number: the largest that Linux gives is 4,194,304.
      `UPDATE changeover_lease SET holder = replace(holder, '/${process.pid}/', '/99999999/')`,
    ]) {
      const late = await Lease.acquire(database);
      await database.transaction((transaction) => transaction.run(expire));
      const next = await Lease.acquire(other);
      await expect(
        database.transaction(async (transaction) => {
          await transaction.run('UPDATE changeover_state SET migrated = 4711 WHERE id = 1');
          await late.renew(transaction);
        }),
      ).rejects.toMatchObject({ code: 'LEASE_LOST' });
      expect((await readState(database)).migrated).toBe(0);
      await late.release(database);
      await other.transaction((transaction) => next.renew(transaction));
      await next.release(other);
    }
  });

  it('goes to one of many that ask at once', async () => {
    const { database, other } = await expanded();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => Lease.acquire(i % 2 ? database : other)),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ code: 'RUNNER_ACTIVE' });
  });

  it('is not needed to change a stage, which only one of two can', async () => {
    const { database, other } = await expanded();
    const { now } = database.dialect;
    const outcomes = await Promise.allSettled(
      [database, other].map((each) =>
        each.transaction((transaction) => changeStage(transaction, now, 'EXPANDED', 'BACKFILLING')),
      ),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'WRONG_STAGE', message: expect.stringContaining('BACKFILLING') },
    });
  });
});

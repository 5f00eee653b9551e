import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { Lease } from '../../src/changeover/lease.js';
import { changeStage, readState } from '../../src/changeover/stage.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database } from '../../src/database/database.js';
import { asOldApp, ENGINES, failingAt, open, withParts } from '../helpers/databases.js';
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

  it('puts a row without a thread into quarantine, and one without a sender', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 30 });
    const row = (id: number, sender: string, recipient: string, group: string): string =>
      `INSERT INTO messages (id, sender_id, recipient_id, group_id) VALUES (${id}, ${sender}, ${recipient}, ${group})`;
    await asOldApp(
      location,
      ...(engine === 'sqlite'
        ? [
            'PRAGMA foreign_keys = OFF',
            row(103, '1', `''`, 'NULL'),
            row(104, '1', `'somebody'`, 'NULL'),
            row(105, '1', '2', `'a group'`),
            row(106, `'me'`, '2', 'NULL'),
          ]
        : ['ALTER TABLE messages DISABLE TRIGGER ALL']),
      row(101, '1', 'NULL', 'NULL'),
      row(102, '1', '0', '0'),
    );
    expect(await migrate(database)).toMatchObject({ migratedMessages: 30, mismatches: 0 });
    const neither = 'neither a recipient nor a group is set';
    expect(
      await database.reader.all(
        'SELECT CAST(legacy_id AS integer) AS id, reason, detail FROM changeover_quarantine ORDER BY legacy_id',
      ),
    ).toEqual([
      { id: 101, reason: 'no-thread', detail: neither },
      { id: 102, reason: 'no-thread', detail: neither },
      ...(engine === 'sqlite'
        ? [
            { id: 103, reason: 'no-thread', detail: neither },
            {
              id: 104,
              reason: 'no-thread',
              detail: 'the recipient is neither empty nor a whole number',
            },
            {
              id: 105,
              reason: 'no-thread',
              detail: 'the group is neither empty nor a whole number',
            },
            { id: 106, reason: 'no-sender', detail: 'the sender is not a whole number' },
          ]
        : []),
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

  it('halves a batch that the database refuses, down to the row, which goes to quarantine with its words', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 100 });
    await expand(contextOf(database), EXPAND);
    await asOldApp(
      location,
      'CREATE UNIQUE INDEX planted ON enhanced_messages (text)',
      `UPDATE messages SET content = 'row ' || id`,
      `UPDATE messages SET content = 'the same' WHERE id IN (17, 61, 62)`,
    );
    await backfill(contextOf(database));
    expect(
      await database.reader.all(
        'SELECT CAST(legacy_id AS integer) AS id, reason FROM changeover_quarantine ORDER BY legacy_id',
      ),
    ).toEqual([
      { id: 17, reason: 'refused' },
      { id: 61, reason: 'refused' },
    ]);
    const [refused] = await database.reader.all<{ detail: string }>(
      'SELECT detail FROM changeover_quarantine',
    );
    expect(refused?.detail).toMatch(/unique/i);
    expect(await verify(contextOf(database))).toMatchObject({
      migratedMessages: 98,
      quarantinedMessages: 2,
      mismatches: 0,
    });
  });

  it('quarantines nothing for a failure that is not the row’s: the batch is rolled back', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 100 });
    await expand(contextOf(database), EXPAND);
    await asOldApp(location, 'ALTER TABLE legacy_raw_values RENAME TO gone');
    await expect(backfill(contextOf(database))).rejects.toThrow(/legacy_raw_values/);
    expect(await readState(database)).toMatchObject({
      stage: 'BACKFILLING',
      migrated: 0,
      quarantined: 0,
      doneAbove: '100',
    });
    await asOldApp(location, 'ALTER TABLE gone RENAME TO legacy_raw_values');
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

describe.each(ENGINES.filter((engine) => engine === 'sqlite'))('the first pass on %s', (engine) => {
  it('writes beside an old app in slices like those of batches, not all that it has found at once', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 1_500 });
    await asOldApp(
      location,
      `INSERT INTO messages (sender_id, group_id, content, created_at) SELECT 1, 5000 + id, 'x', NULL FROM messages`,
    );
    await expand(contextOf(database), EXPAND);
    const first: Record<string, number> = {};
    const written = { conversations: 0, changeover_places: 0 };
    const watched = withParts(database, {
      session: (work) =>
        database.session((session) =>
          work({
            all: (sql, parameters) => session.all(sql, parameters),
            run: async (sql, parameters) => {
              // While the old table is read, the old app writes.
              if (sql.includes('INSERT INTO segue_range'))
                await asOldApp(location, `UPDATE messages SET status = 'read' WHERE id = 1`);
              return session.run(sql, parameters);
            },
            transaction: (inner) =>
              session.transaction((transaction) =>
                inner({
                  all: (sql, parameters) => transaction.all(sql, parameters),
                  run: async (sql, parameters) => {
                    const rows = await transaction.run(sql, parameters);
                    for (const table of ['conversations', 'changeover_places'] as const)
                      if (sql.includes(`INSERT INTO ${table} `)) {
                        first[table] ??= rows;
                        written[table] += rows;
                      }
                    return rows;
                  },
                }),
              ),
          }),
        ),
    });
    await backfill(contextOf(watched));
    expect(written.conversations).toBeGreaterThan(1_500);
    expect(written.changeover_places).toBe(1_500);
    // As many as in a first batch beside somebody who writes; how many in later ones, their time decides.
    expect(first).toEqual({ conversations: 500, changeover_places: 500 });
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  });
});

describe.each(ENGINES.filter((engine) => engine === 'postgres'))('the copy on %s', (engine) => {
  it.each(['messages', 'enhanced_messages'])(
    'rests longer for dead tuples of %s',
    async (table) => {
      const { location, database } = await legacyDatabase(engine, { messages: 10 });
      await expand(contextOf(database), EXPAND);
      const sufferedFrom = async (): Promise<unknown[]> =>
        database.reader.all(database.dialect.manners.throttles ?? '');
      expect(await sufferedFrom()).toEqual([]);
      const rows =
        table === 'messages'
          ? `INSERT INTO messages (sender_id, content) SELECT 1, 'x' FROM generate_series(1, 110000)`
          : `INSERT INTO enhanced_messages (id, conversation_id, kind, status, raw_mask, sent_at, position)
             SELECT n, 1, 'text', 0, 0, 0, 0 FROM generate_series(1000, 111000) AS n`;
      await asOldApp(
        location,
        `ALTER TABLE ${table} SET (autovacuum_enabled = false)`,
        'ALTER TABLE messages DISABLE TRIGGER USER',
        rows,
        `DELETE FROM ${table}`,
      );
      // Statistics come a little later than what they tell of.
      while ((await sufferedFrom()).length === 0) await sleep(50);
      expect(await sufferedFrom()).toEqual([{ reason: 'dead tuples' }]);
    },
  );
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

import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { fallingBack } from '../../src/changeover/falling-back.js';
import { inspect } from '../../src/changeover/inspect.js';
import { Lease } from '../../src/changeover/lease.js';
import type { Progress } from '../../src/changeover/progress.js';
import {
  parseTarget,
  rollback,
  type RollbackOptions,
  type RollbackResult,
} from '../../src/changeover/rollback.js';
import { settleRows } from '../../src/changeover/settle.js';
import { setUpIfEmpty } from '../../src/changeover/setup.js';
import { hasTable } from '../../src/changeover/shape.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database, Parameters, Queryable } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { OWN_TABLE_NAMES } from '../../src/database/migrations/migrations.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { asOldApp, emptyDatabase, ENGINES, open, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';
import { momentsOneIn } from '../helpers/moments.js';
import {
  ODDITIES,
  oldSideOf,
  oursIn,
  withoutCapture,
  withoutColumns,
} from '../helpers/old-side.js';

const MESSAGES = 300;

type Wish = Partial<RollbackOptions>;

function back(database: Database, { to = 'LEGACY', ...wish }: Wish = {}): Promise<RollbackResult> {
  return rollback(contextOf(database), { to, migrationsTable: EXPAND.migrationsTable, ...wish });
}

/** An old database with all that old apps have beside the columns of the mapping. */
async function odd(
  engine: EngineName,
): Promise<{ location: DatabaseLocation; database: Database }> {
  const made = await legacyDatabase(engine, { messages: MESSAGES });
  await asOldApp(made.location, ...ODDITIES[engine]);
  return made;
}

function write(database: Database, ...statements: string[]): Promise<void> {
  return database.transaction(async (transaction) => {
    for (const statement of statements) await transaction.run(statement);
  });
}

async function count(database: Database, what: string): Promise<number> {
  const [row] = await database.reader.all<{ count: number | string }>(
    `SELECT count(*) AS count FROM ${what}`,
  );
  return Number(row?.count);
}

/** A server's answers to old clients, made as a server does that was started with LEGACY_READS=new. */
function serverOnNewSide(database: Database): () => Promise<unknown> {
  const from = newSideSql(database.dialect, DEFAULT_MAPPING, true);
  const to = oldSideSql(database.dialect, DEFAULT_MAPPING);
  return answersOf(
    new LegacyService(fallingBack(database, { new: from, old: to, alone: from }), () => from),
  );
}

function answersOf(service: LegacyService): () => Promise<unknown> {
  const viewer = { id: '1', phone: '' };
  return async () => [
    await service.recentMessages(viewer, 1),
    await service.messages(viewer, 1, 2, 100, 0),
    await service.unreadCount(viewer, 1),
  ];
}

/** Every row of both sides is there once, and no link leads to what is not there. */
async function expectWholeCopy(database: Database): Promise<void> {
  const old = await count(database, 'messages');
  expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0, legacyMessages: old });
  expect((await readState(database)).stage).toBe('VERIFIED');
  expect(await count(database, 'enhanced_messages')).toBe(
    old - (await count(database, 'changeover_quarantine')),
  );
  expect(
    await count(
      database,
      `messages m WHERE conversation_id IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.id = m.id AND e.conversation_id = m.conversation_id)`,
    ),
  ).toBe(0);
  expect(
    await count(
      database,
      `conversations c WHERE NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.conversation_id = c.id)`,
    ),
  ).toBe(0);
}

const AT_LEGACY: readonly [name: string, wish: Wish, gone: boolean][] = [
  ['to LEGACY', {}, false],
  ['with --purge', { purge: true }, true],
  ['with --purge --drop-columns', { purge: true, dropColumns: true }, true],
];

describe.each(ENGINES)('rollback on %s', (engine) => {
  describe.each(AT_LEGACY)('%s', (_, wish, gone) => {
    it('leaves definition and data of the old side as they were before expand', async () => {
      const { location, database } = await odd(engine);
      const before = await oldSideOf(database);
      await migrate(database);
      expect((await oldSideOf(database)).added['messages.conversation_id']).toBe(290);

      const result = await back(database, wish);
      const drops = gone && (engine === 'postgres' || wish.dropColumns === true);
      expect(result).toMatchObject({
        from: 'VERIFIED',
        stage: 'LEGACY',
        messages: 290,
        quarantined: 0,
        links: drops ? 0 : 290,
        purged: gone,
        columnsLeft: drops
          ? []
          : ['users.socket_id', 'users.last_seen', 'messages.conversation_id'],
      });
      expect(result.conversations).toBeGreaterThan(10);

      const after = await oldSideOf(database);
      expect(withoutColumns(after)).toEqual(withoutColumns(before));
      if (drops) expect(after).toEqual(before);
      else expect([...new Set(Object.values(after.added))]).toEqual([0]);
      if (gone) expect(await oursIn(database)).toEqual([]);

      // The next id of the old app is what it would have been.
      await asOldApp(location, `INSERT INTO messages (sender_id, recipient_id) VALUES (1, 2)`);
      expect(await count(database, 'messages WHERE id = 301')).toBe(1);
    });

    it('leaves a database that is like an untouched one, and can be moved again', async () => {
      const { database } = await odd(engine);
      const old = answersOf(
        new LegacyService(database, () => oldSideSql(database.dialect, DEFAULT_MAPPING)),
      );
      const before = await old();
      const side = await oldSideOf(database);
      await migrate(database);
      await back(database, wish);

      expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
        stage: 'LEGACY',
        legacyMessages: 290,
        migratedMessages: 0,
        quarantinedMessages: 0,
        etaSeconds: null,
        certificate: null,
      });
      expect(await inspect(contextOf(database))).toMatchObject({ stage: 'LEGACY', irregular: {} });
      expect(await setUpIfEmpty(database, DEFAULT_MAPPING, EXPAND.migrationsTable)).toBe('LEGACY');
      expect(await old()).toEqual(before);
      await expect(backfill(contextOf(database))).rejects.toMatchObject({ code: 'WRONG_STAGE' });

      for (let round = 1; round <= 2; round += 1) {
        expect(await migrate(database)).toMatchObject({ migratedMessages: 290, mismatches: 0 });
        await expectWholeCopy(database);
        expect(await back(database, wish)).toMatchObject({ messages: 290 });
        expect(withoutColumns(await oldSideOf(database))).toEqual(withoutColumns(side));
      }
    });
  });

  it('to EXPANDED takes away what was copied, and nothing else; the copy can be made again', async () => {
    const { database } = await odd(engine);
    await write(database, 'UPDATE messages SET recipient_id = NULL, group_id = NULL WHERE id = 5');
    const before = await oldSideOf(database);
    await migrate(database);
    expect(await back(database, { to: 'EXPANDED' })).toMatchObject({
      from: 'VERIFIED',
      stage: 'EXPANDED',
      messages: 289,
      quarantined: 1,
      links: 289,
      purged: false,
    });
    const after = await oldSideOf(database);
    // At EXPANDED what the old app writes is captured.
    expect(withoutCapture(withoutColumns(after))).toEqual(withoutColumns(before));
    expect(after.added).toEqual({
      'users.socket_id': 0,
      'users.last_seen': 0,
      'messages.conversation_id': 0,
    });
    for (const table of OWN_TABLE_NAMES)
      expect({ table, rows: await count(database, table) }).toEqual({
        table,
        // That it was rolled back is written down.
        rows: ['segue_schema', 'changeover_state', 'event_log', 'changeover_log'].includes(table)
          ? 1
          : 0,
      });
    expect(await readState(database)).toMatchObject({
      stage: 'EXPANDED',
      lowId: null,
      highId: null,
      doneAbove: null,
      hasThreads: false,
      rowsToCopy: 0,
      migrated: 0,
      quarantined: 0,
      startedAt: null,
    });
    // No certificate speaks for rows that are not there any more.
    expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
      stage: 'EXPANDED',
      certificate: null,
      quarantinedMessages: 0,
    });
    await expect(verify(contextOf(database))).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    expect(await migrate(database)).toMatchObject({ mismatches: 0, quarantinedMessages: 1 });
    await expectWholeCopy(database);
  });

  it('to BACKFILLED changes nothing but the stage', async () => {
    const { database } = await legacyDatabase(engine, { messages: 40 });
    await migrate(database);
    const copies = await database.reader.all('SELECT * FROM enhanced_messages ORDER BY id');
    expect(await back(database, { to: 'BACKFILLED' })).toMatchObject({
      from: 'VERIFIED',
      stage: 'BACKFILLED',
      messages: 0,
      links: 0,
    });
    expect((await readState(database)).stage).toBe('BACKFILLED');
    expect(await database.reader.all('SELECT * FROM enhanced_messages ORDER BY id')).toEqual(
      copies,
    );
    await expectWholeCopy(database);
  });

  it('goes back from every stage on the way', async () => {
    for (const to of ['EXPANDED', 'LEGACY'] as const)
      for (const [stage, reach] of Object.entries(WAYS)) {
        // A backfill can be cut off only where there are more rows than in its first batch.
        const messages = stage === 'BACKFILLING' ? 6_000 : 300;
        const { database } = await legacyDatabase(engine, { messages });
        const before = await oldSideOf(database);
        await reach(database);
        expect((await readState(database)).stage).toBe(stage);
        if (stage === to) continue;
        expect(await back(database, { to })).toMatchObject({ from: stage, stage: to });
        const after = withoutColumns(await oldSideOf(database));
        expect(to === 'EXPANDED' ? withoutCapture(after) : after).toEqual(withoutColumns(before));
        expect(await migrate(database)).toMatchObject({
          mismatches: 0,
          migratedMessages: messages,
        });
        await expectWholeCopy(database);
      }
  }, 120_000);

  it('does without the three columns where expand left them out', async () => {
    for (const wish of [{ to: 'EXPANDED' as const }, ...AT_LEGACY.map(([, each]) => each)]) {
      const { database } = await legacyDatabase(engine, { messages: 60 });
      const before = await oldSideOf(database);
      // The old app has a column of one of the names, with values: it is not ours to touch.
      await write(
        database,
        'ALTER TABLE users ADD COLUMN last_seen TEXT',
        `UPDATE users SET last_seen = 'theirs'`,
      );
      await expand(contextOf(database), { ...EXPAND, withoutColumns: true });
      await backfill(contextOf(database));
      expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
      expect(await back(database, wish)).toMatchObject({ messages: 60, links: 0, columnsLeft: [] });
      expect(await count(database, `users WHERE last_seen = 'theirs'`)).toBe(12);
      await write(database, 'ALTER TABLE users DROP COLUMN last_seen');
      const after = await oldSideOf(database);
      expect(wish.to === 'EXPANDED' ? withoutCapture(after) : after).toEqual(before);
    }
  });

  it('leaves an old trigger alone that would act when the column is emptied', async () => {
    const acting = {
      sqlite: [
        'CREATE TABLE audit (what TEXT, id INTEGER)',
        "CREATE TRIGGER audit_update AFTER UPDATE ON messages BEGIN INSERT INTO audit VALUES ('update', NEW.id); END",
      ],
      postgres: [
        'CREATE TABLE audit (what TEXT, id INTEGER)',
        `CREATE FUNCTION audit_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (TG_OP, NEW.id); RETURN NEW; END $$`,
        'CREATE TRIGGER audit_update AFTER UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION audit_it()',
      ],
    }[engine];
    // There before expand: nothing was linked, and nothing is to be emptied.
    const { location, database } = await legacyDatabase(engine, { messages: 40 });
    await asOldApp(location, ...acting);
    await migrate(database);
    expect(await back(database)).toMatchObject({ messages: 40, links: 0 });
    expect(await count(database, 'audit')).toBe(0);

    // Made after expand: it would fire for each row.
    const other = await legacyDatabase(engine, { messages: 40 });
    await migrate(other.database);
    await asOldApp(other.location, ...acting);
    for (const to of ['LEGACY', 'EXPANDED'] as const)
      await expect(back(other.database, { to })).rejects.toMatchObject({
        code: 'UNSUPPORTED_DATABASE',
        message: expect.stringContaining('audit_update'),
      });
    await expectWholeCopy(other.database);
    expect(await back(other.database, { purge: true, dropColumns: true })).toMatchObject({
      messages: 40,
    });
    expect(await count(other.database, 'audit')).toBe(0);
  });

  it('is finished by the next run, or by the way forward, wherever it was cut off', async () => {
    const { database } = await legacyDatabase(engine, { messages: 60, seed: 3 });
    const before = await oldSideOf(database);
    const old = answersOf(
      new LegacyService(database, () => oldSideSql(database.dialect, DEFAULT_MAPPING)),
    );
    const expected = await old();
    const server = serverOnNewSide(database);
    /** Ends a rollback at one of its statements, and lets `goOn` follow. False: it has no such statement. */
    const crash = async (wish: Wish, statement: number, goOn: 'back' | 'forward') => {
      if ((await readState(database)).stage !== 'VERIFIED') await migrate(database);
      try {
        await back(crashingAt(database, statement), wish);
        return false;
      } catch (error) {
        expect(String(error)).toContain('planted crash');
      }
      await asIfItsProcessWereGone(database);
      const { stage, migratedMessages } = await status(database, DEFAULT_MAPPING);
      expect(await old()).toEqual(expected);
      expect(await server()).toEqual(expected);
      expect((await oldSideOf(database)).rows).toEqual(before.rows);
      if (stage === 'VERIFIED') {
        expect(migratedMessages).toBe(60);
        return true;
      }
      expect(migratedMessages).toBe(0);
      const isFinished = stage === wish.to || (wish.purge === true && !(await hasBooks(database)));
      if (goOn === 'forward') await migrate(database);
      else if (!isFinished) expect(await back(database, wish)).toMatchObject({ from: 'LEGACY' });
      if (goOn === 'forward') await expectWholeCopy(database);
      else expect([...new Set(Object.values((await oldSideOf(database)).added))]).not.toContain(60);
      return true;
    };
    const wishes: Wish[] = [
      { to: 'EXPANDED' },
      { purge: true },
      ...(engine === 'sqlite' ? [{ purge: true, dropColumns: true }] : []),
    ];
    for (const wish of wishes) {
      for (const goOn of ['back', 'forward'] as const) {
        let last = 0;
        for (const statement of momentsOneIn(engine === 'postgres' ? 24 : 12)) {
          last = statement;
          if (!(await crash(wish, statement, goOn))) break;
        }
        expect(last).toBeGreaterThan(40);
        await migrate(database);
        await expectWholeCopy(database);
      }
    }
    await back(database, { purge: true, dropColumns: true });
    expect(await oldSideOf(database)).toEqual(before);
  }, 1_200_000);

  it('never takes a link of the last copy for one of the next', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 3_000 });
    await migrate(database);
    const linked = (): Promise<number> =>
      count(database, 'messages WHERE conversation_id IS NOT NULL');
    // Ended in the middle of the links, by the fence of the lease.
    let batches = 0;
    await expect(
      rollback(
        {
          ...contextOf(database),
          report: ({ step }) => {
            batches += step === 'links' ? 1 : 0;
            if (batches === 2) throw new Error('planted crash');
          },
        },
        { to: 'EXPANDED', migrationsTable: EXPAND.migrationsTable },
      ),
    ).rejects.toThrow('planted crash');
    expect(await linked()).toBe(2_000);
    expect(await readState(database)).toMatchObject({ stage: 'LEGACY', doneAbove: '2000' });

    // A row that was copied, and cannot be copied any more: its link must go all the same.
    await asOldApp(
      location,
      'UPDATE messages SET recipient_id = NULL, group_id = NULL WHERE id = 6',
    );
    await expect(backfill(contextOf(database))).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    expect(await migrate(database)).toMatchObject({
      mismatches: 0,
      migratedMessages: 2_999,
      quarantinedMessages: 1,
    });
    expect(await linked()).toBe(2_999);
    await expectWholeCopy(database);

    expect(await back(database, { to: 'EXPANDED' })).toMatchObject({ links: 2_999 });
    expect(await linked()).toBe(0);
  });

  it('answers old clients of a server that reads the new side all the while', async () => {
    const { database } = await legacyDatabase(engine, { messages: 200 });
    await migrate(database);
    const server = serverOnNewSide(database);
    const expected = await server();
    expect(JSON.stringify(expected).length).toBeGreaterThan(1_000);
    const ways: Wish[] = [
      { to: 'BACKFILLED' },
      { to: 'EXPANDED' },
      {},
      { purge: true, dropColumns: true },
    ];
    for (const wish of ways) {
      await migrate(database);
      const rolling = back(database, wish).then(() => 'done');
      let asked = 0;
      do {
        expect(await server()).toEqual(expected);
        asked += 1;
      } while ((await Promise.race([rolling, setImmediate('running')])) !== 'done');
      expect(asked).toBeGreaterThan(0);
      expect(await server()).toEqual(expected);
    }
    await migrate(database);
    // Forward again, it reads the new side again: what stands there only is seen.
    await write(database, `UPDATE enhanced_messages SET text = 'only here'`);
    expect(JSON.stringify(await server())).toContain('only here');
  });

  it('leaves nothing to be settled for who looked before it', async () => {
    const { database } = await legacyDatabase(engine, { messages: 10 });
    await migrate(database);
    for (const to of ['EXPANDED', 'LEGACY'] as const) {
      await back(database, { to });
      await expect(settleRows(contextOf(database), ['5'])).rejects.toMatchObject({
        code: 'WRONG_STAGE',
      });
      expect(await count(database, 'enhanced_messages')).toBe(0);
      expect(await count(database, 'conversations')).toBe(0);
    }
  });

  it('goes back over rows that were settled one by one', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 60 });
    await migrate(database);
    await asOldApp(
      location,
      `UPDATE messages SET created_at = '2001-01-01 00:00:00' WHERE id > 40`,
    );
    expect(await verify(contextOf(database), { repair: true })).toMatchObject({ mismatches: 0 });
    expect(await back(database)).toMatchObject({ messages: 60 });
    expect(await migrate(database)).toMatchObject({ migratedMessages: 60, mismatches: 0 });
  });

  it('is no error for who reads the stage in the same moment', async () => {
    const { database } = await legacyDatabase(engine, { messages: 10 });
    await migrate(database);
    const purgedMeanwhile = withParts(database, {
      reader: {
        run: (sql, parameters) => database.reader.run(sql, parameters),
        all: async <Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> => {
          const rows = await database.reader.all<Row>(sql, parameters);
          if (sql === database.dialect.hasTable && (await hasBooks(database)))
            await back(database, { purge: true });
          return rows;
        },
      },
    });
    expect((await readState(purgedMeanwhile)).stage).toBe('LEGACY');
    expect(await hasBooks(database)).toBe(false);
  });

  it('lets one of two that start together do it', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 3_000 });
    await migrate(database);
    const other = await open(location);
    const outcomes = await Promise.allSettled([back(database), back(other)]);
    const done = outcomes.filter(({ status: outcome }) => outcome === 'fulfilled');
    expect(done).toHaveLength(1);
    expect(done[0]).toMatchObject({ value: { messages: 3_000, links: 3_000 } });
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(['RUNNER_ACTIVE', 'WRONG_STAGE']).toContain(
          (outcome.reason as { code: string }).code,
        );
    expect(await count(database, 'changeover_lease')).toBe(0);
  });

  it('stops when its lease was taken over, and takes nothing away by then', async () => {
    const { database } = await legacyDatabase(engine, { messages: 40 });
    await migrate(database);
    const taken = withParts(database, {
      restructure: async (work) => {
        await write(database, `UPDATE changeover_lease SET holder = 'elsewhere/1/x'`);
        return database.restructure(work);
      },
    });
    for (const wish of [{ to: 'EXPANDED' as const }, {}, { purge: true, dropColumns: true }]) {
      await expect(back(taken, wish)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      await write(database, 'DELETE FROM changeover_lease');
    }
    await expectWholeCopy(database);
    await back(database);
    await expect(back(taken, { purge: true })).rejects.toMatchObject({ code: 'LEASE_LOST' });
    expect(await hasBooks(database)).toBe(true);
  });
});

/** How each stage is reached; BACKFILLING by a backfill that was cut off after its first 5,000 rows. */
const WAYS: Record<string, (database: Database) => Promise<unknown>> = {
  EXPANDED: (database) => expand(contextOf(database), EXPAND),
  BACKFILLING: async (database) => {
    await expand(contextOf(database), EXPAND);
    const cutOff = {
      ...contextOf(database),
      report: ({ step, done }: Progress): void => {
        if (step === 'messages' && done > 0) throw new Error('planted crash');
      },
    };
    await expect(backfill(cutOff)).rejects.toThrow('planted crash');
    expect(await count(database, 'enhanced_messages')).toBe(5_000);
  },
  BACKFILLED: async (database) => {
    await expand(contextOf(database), EXPAND);
    await backfill(contextOf(database));
  },
  VERIFIED: migrate,
};

/** A database that is gone from the n-th statement on, reading or writing, as after a kill. */
function crashingAt(database: Database, statement: number): Database {
  let left = statement;
  const crash = (): void => {
    left -= 1;
    if (left <= 0) throw new Error('planted crash');
  };
  const crashing = (queryable: Queryable): Queryable => ({
    all: async (sql, parameters) => {
      crash();
      return queryable.all(sql, parameters);
    },
    run: async (sql, parameters) => {
      crash();
      return queryable.run(sql, parameters);
    },
  });
  return withParts(database, {
    reader: crashing(database.reader),
    transaction: (work) => database.transaction((transaction) => work(crashing(transaction))),
    restructure: (work) => database.restructure((transaction) => work(crashing(transaction))),
  });
}

/** No process has this number: the largest that Linux gives is 4,194,304. */
async function asIfItsProcessWereGone(database: Database): Promise<void> {
  if (await hasBooks(database))
    await write(
      database,
      `UPDATE changeover_lease SET holder = replace(holder, '/${process.pid}/', '/99999999/')`,
    );
}

function hasBooks(database: Database): Promise<boolean> {
  return hasTable(database, 'changeover_state');
}

describe.each(ENGINES)('rollback refuses on %s', (engine) => {
  /** All tables, ours too, in a form that can be compared. */
  async function everythingIn(database: Database): Promise<unknown> {
    const found: Record<string, unknown> = {};
    const tables = await database.reader.all<{ name: string }>(database.dialect.listTables);
    for (const { name } of tables)
      found[name] = await database.reader.all(`SELECT * FROM "${name}" ORDER BY 1, 2`);
    return found;
  }

  async function expectRefusal(
    database: Database,
    wish: Wish,
    code: string,
    ...words: string[]
  ): Promise<void> {
    const before = await everythingIn(database);
    const refused = back(database, wish);
    await expect(refused).rejects.toMatchObject({ code });
    for (const word of words)
      await expect(refused).rejects.toMatchObject({ message: expect.stringContaining(word) });
    expect(await everythingIn(database)).toEqual(before);
  }

  const DEEP: readonly Wish[] = [
    { to: 'EXPANDED' },
    { to: 'LEGACY' },
    { purge: true },
    { purge: true, dropColumns: true },
  ];

  it('while rows stand on the new side only, with their number', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 40 });
    await migrate(database);
    const message = (id: number): string =>
      `INSERT INTO enhanced_messages (id, conversation_id, kind, text, sent_at, position, status) VALUES (109951162777${id}, 1, 'text', 'only here', 1, 1, 1)`;
    const faults: [plant: string[], mend: string[], words: string[]][] = [
      [
        [1, 2, 3].map(message),
        ['DELETE FROM enhanced_messages WHERE legacy_message_id IS NULL'],
        ['3 messages that never had an old row'],
      ],
      [
        // As if the delete had passed capture by.
        ['DELETE FROM messages WHERE id IN (7, 40)', 'DELETE FROM changeover_queue'],
        [
          `INSERT INTO messages (id, sender_id) VALUES (7, 1)`,
          `INSERT INTO messages (id, sender_id) VALUES (40, 1)`,
          'DELETE FROM changeover_queue',
        ],
        ['2 messages whose old row is gone'],
      ],
    ];
    for (const [plant, mend, words] of faults) {
      await asOldApp(location, ...plant);
      for (const wish of DEEP) await expectRefusal(database, wish, 'WOULD_LOSE_ROWS', ...words);
      await asOldApp(location, ...mend);
    }
    // All at once are told at once; to BACKFILLED takes nothing away, and goes on.
    await asOldApp(location, ...faults.flatMap(([plant]) => plant));
    await expectRefusal(database, {}, 'WOULD_LOSE_ROWS', ...faults.flatMap(([, , words]) => words));
    expect(await back(database, { to: 'BACKFILLED' })).toMatchObject({ stage: 'BACKFILLED' });
    await expectRefusal(database, {}, 'WOULD_LOSE_ROWS');
    await asOldApp(location, ...faults.flatMap(([, mend]) => mend));
    expect(await back(database)).toMatchObject({ stage: 'LEGACY', messages: 40 });
  });

  it('when a message comes after it looked', async () => {
    const late = `INSERT INTO enhanced_messages (id, conversation_id, kind, text, sent_at, position, status) VALUES (1099511627776, 1, 'text', 'late', 1, 1, 1)`;
    const { database } = await legacyDatabase(engine, { messages: 40 });
    await migrate(database);
    const disturbed = withParts(database, {
      restructure: async (work) => {
        await write(database, late);
        return database.restructure(work);
      },
    });
    await expect(back(disturbed)).rejects.toMatchObject({ code: 'WOULD_LOSE_ROWS' });
    expect((await readState(database)).stage).toBe('VERIFIED');
    expect(await count(database, 'messages WHERE conversation_id IS NOT NULL')).toBe(40);

    // The purge looks once more, too.
    await write(database, 'DELETE FROM enhanced_messages WHERE legacy_message_id IS NULL');
    await back(database);
    await expect(back(disturbed, { purge: true })).rejects.toMatchObject({
      code: 'WOULD_LOSE_ROWS',
    });
    expect(await hasTable(database, 'enhanced_messages')).toBe(true);
  });

  it('while another process runs the changeover', async () => {
    const { database } = await legacyDatabase(engine, { messages: 10 });
    await migrate(database);
    const lease = await Lease.acquire(database);
    for (const wish of [...DEEP, { to: 'BACKFILLED' as const }])
      await expectRefusal(database, wish, 'RUNNER_ACTIVE', lease.holder);
    await lease.release(database);
    await back(database);
  });

  it('to go where it is, or on, or from where nothing leads back', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 10 });
    for (const wish of DEEP) await expectRefusal(database, wish, 'WRONG_STAGE', 'LEGACY');
    await expectRefusal(database, { to: 'BACKFILLED' }, 'WRONG_STAGE', 'segue migrate');
    await expand(contextOf(database), EXPAND);
    await expectRefusal(database, { to: 'EXPANDED' }, 'WRONG_STAGE', 'already');
    await expectRefusal(database, { to: 'BACKFILLED' }, 'WRONG_STAGE', 'later');
    await migrate(database);
    await back(database, { to: 'BACKFILLED' });
    await expectRefusal(database, { to: 'BACKFILLED' }, 'WRONG_STAGE', 'already');
    await back(database);
    await expectRefusal(database, {}, 'WRONG_STAGE', '--purge');
    await expectRefusal(database, { to: 'EXPANDED' }, 'WRONG_STAGE', 'segue expand');
    await back(database, { purge: true, dropColumns: true });
    await expectRefusal(database, { purge: true }, 'WRONG_STAGE', 'nothing of ours is left');

    const fresh = await open(await emptyDatabase(engine));
    await setUpIfEmpty(fresh, DEFAULT_MAPPING, EXPAND.migrationsTable);
    for (const wish of DEEP) await expectRefusal(fresh, wish, 'WRONG_STAGE', 'CONTRACTED');
    await migrate(database);
    await asOldApp(location, 'ALTER TABLE messages RENAME TO chats');
    await expectRefusal(database, {}, 'NO_SUCH_TABLE', 'messages');
  });

  it('what does not go together, and stages that are none', async () => {
    const { database } = await legacyDatabase(engine, { messages: 10 });
    await migrate(database);
    await expectRefusal(database, { to: 'EXPANDED', purge: true }, 'BAD_USER_INPUT', '--purge');
    await expectRefusal(database, { dropColumns: true }, 'BAD_USER_INPUT', '--drop-columns');
    expect(parseTarget('expanded')).toBe('EXPANDED');
    for (const text of ['', 'CUTTING_OVER', 'nowhere'])
      expect(() => parseTarget(text)).toThrow('LEGACY, EXPANDED, BACKFILLED, VERIFIED');
  });

  it('to drop a column that something of the old app needs, and drops nothing then', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    const before = await oldSideOf(database);
    await migrate(database);
    await asOldApp(location, 'CREATE VIEW links AS SELECT id, conversation_id FROM messages');
    const purging = back(database, { purge: true, dropColumns: true });
    await expect(purging).rejects.toMatchObject({
      code: 'UNSUPPORTED_DATABASE',
      message: expect.stringMatching(/conversation_id of messages.*links/),
    });
    expect((await readState(database)).stage).toBe('LEGACY');
    expect(await hasTable(database, 'enhanced_messages')).toBe(true);
    await asOldApp(location, 'DROP VIEW links');
    await back(database, { purge: true, dropColumns: true });
    expect(await oldSideOf(database)).toEqual(before);
  });
});

describe('the columns that a purge leaves on SQLite', () => {
  async function purged(): Promise<{ location: DatabaseLocation; database: Database }> {
    const made = await legacyDatabase('sqlite', { messages: 30 });
    await migrate(made.database);
    await back(made.database, { purge: true });
    return made;
  }

  it('are dropped by a later call, which needs no books', async () => {
    const { database } = await legacyDatabase('sqlite', { messages: 30 });
    const before = await oldSideOf(database);
    await migrate(database);
    await back(database, { purge: true });
    await expect(back(database, { purge: true })).rejects.toMatchObject({
      code: 'WRONG_STAGE',
      message: expect.stringMatching(/messages\.conversation_id, empty: --drop-columns/),
    });
    expect(await back(database, { purge: true, dropColumns: true })).toMatchObject({
      purged: true,
      columnsLeft: [],
    });
    expect(await oldSideOf(database)).toEqual(before);
  });

  it('are taken up by a later expand; others of the same name are not', async () => {
    const { database } = await purged();
    expect(await migrate(database)).toMatchObject({ mismatches: 0, migratedMessages: 30 });
    await expectWholeCopy(database);

    for (const make of [
      ['ALTER TABLE messages ADD COLUMN conversation_id INTEGER'],
      ['ALTER TABLE messages ADD COLUMN conversation_id INTEGER /* mine */'],
    ]) {
      const { location, database: other } = await purged();
      await asOldApp(location, 'ALTER TABLE messages DROP COLUMN conversation_id', ...make);
      await expect(expand(contextOf(other), EXPAND)).rejects.toMatchObject({
        code: 'NAME_TAKEN',
        message: expect.stringContaining('conversation_id'),
      });
      // And are never dropped with ours.
      expect(await back(other, { purge: true, dropColumns: true })).toMatchObject({ purged: true });
      expect((await oldSideOf(other)).added).toEqual({ 'messages.conversation_id': 0 });
    }
  });

  it('are not taken up when somebody has put values there', async () => {
    const { location, database } = await purged();
    await asOldApp(location, `UPDATE users SET socket_id = 'theirs' WHERE id = 2`);
    await expect(expand(contextOf(database), EXPAND)).rejects.toMatchObject({
      code: 'NAME_TAKEN',
      message: expect.stringContaining('has values by now'),
    });
  });
});

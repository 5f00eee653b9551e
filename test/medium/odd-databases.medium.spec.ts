import { describe, expect, it } from '@jest/globals';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { expand } from '../../src/changeover/expand.js';
import { inspect } from '../../src/changeover/inspect.js';
import { setUpIfEmpty } from '../../src/changeover/setup.js';
import { readState } from '../../src/changeover/stage.js';
import { parseDatabaseUrl } from '../../src/config/config.js';
import type { Database } from '../../src/database/database.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldRows } from '../../src/legacy/old-rows.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { asOldApp, emptyDatabase, ENGINES, open, urlOf } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

/** An old database to which the old app did something, and its messages before we came. */
async function odd(
  engine: 'sqlite' | 'postgres',
  ...statements: string[]
): Promise<{ database: Database; rows: () => Promise<object[]>; url: string }> {
  const { location, database } = await legacyDatabase(engine, { messages: 60 });
  await asOldApp(location, ...statements);
  return {
    database,
    rows: () => database.reader.all('SELECT id, content, status FROM messages ORDER BY id'),
    url: urlOf(location),
  };
}

/** Everybody's recent messages and all pairs, from both sides. */
async function answers(database: Database): Promise<{ old: unknown[]; new: unknown[] }> {
  const sides = { old: [] as unknown[], new: [] as unknown[] };
  for (const [name, sql] of [
    ['old', oldSideSql(database.dialect, DEFAULT_MAPPING)],
    ['new', newSideSql(database.dialect, DEFAULT_MAPPING, true)],
  ] as const) {
    const service = new LegacyService(database, () => sql);
    for (let me = 1; me <= 12; me += 1) {
      const viewer = { id: String(me), phone: '' };
      sides[name].push(await service.recentMessages(viewer, me));
      for (let peer = 1; peer <= 12; peer += 1)
        sides[name].push(await service.messages(viewer, me, peer, 2, 0));
      for (const group of [1, 2, 3])
        sides[name].push(await service.groupMessages(viewer, group, 50, 0));
    }
  }
  return sides;
}

describe.each(ENGINES)('odd old databases on %s', (engine) => {
  const isSqlite = engine === 'sqlite';

  it('are never changed through an old trigger or rule, however it is written', async () => {
    const touch = `UPDATE messages SET status = 'read' WHERE id = NEW.id AND status = 'sent'`;
    const triggers = isSqlite
      ? [
          `CREATE TRIGGER t AFTER UPDATE ON Messages BEGIN ${touch}; END`,
          `CREATE TRIGGER "on begin" AFTER UPDATE ON messages BEGIN ${touch}; END`,
          `CREATE TRIGGER "a--b" AFTER UPDATE ON messages BEGIN ${touch}; END`,
          `CREATE TRIGGER t AFTER UPDATE /* OF */ ON messages BEGIN ${touch}; END`,
          `CREATE TRIGGER "update of it" AFTER UPDATE\nON messages BEGIN ${touch}; END`,
        ]
      : [
          `CREATE RULE r AS ON UPDATE TO messages DO ALSO INSERT INTO contacts (owner_id) VALUES (NEW.sender_id)`,
          `CREATE RULE r AS ON UPDATE TO messages DO INSTEAD NOTHING`,
          `ALTER TABLE messages ADD CONSTRAINT long CHECK (length(content) > 30) NOT VALID`,
        ];
    for (const trigger of triggers) {
      const { database, rows } = await odd(engine, trigger);
      const contacts = (): Promise<object[]> => database.reader.all('SELECT id FROM contacts');
      const before = { rows: await rows(), contacts: await contacts() };
      expect((await inspect(contextOf(database))).triggers).toHaveLength(1);
      expect(await migrate(database)).toMatchObject({ mismatches: 0, migratedMessages: 60 });
      expect({ rows: await rows(), contacts: await contacts() }).toEqual(before);
      expect((await readState(database)).fillsLink).toBe(false);
    }
  });

  it('may have a trigger that minds its own columns: the link is filled', async () => {
    const { database } = await odd(
      engine,
      ...(isSqlite
        ? [`CREATE TRIGGER t AFTER UPDATE OF status ON messages BEGIN DELETE FROM contacts; END`]
        : [
            `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM contacts; RETURN NEW; END $$`,
            `CREATE TRIGGER t AFTER UPDATE OF status ON messages FOR EACH ROW EXECUTE FUNCTION f()`,
          ]),
    );
    expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    expect((await readState(database)).fillsLink).toBe(true);
    expect((await database.reader.all('SELECT id FROM contacts')).length).toBeGreaterThan(0);
  });

  it('are refused where a column is not what the copy reads', async () => {
    const rebuilt = (columns: string): string[] => [
      `CREATE TABLE m2 (${columns}, sender_id INTEGER, recipient_id INTEGER, group_id INTEGER, content TEXT, type TEXT, status TEXT, created_at DATETIME)`,
      'DROP TABLE messages',
      'ALTER TABLE m2 RENAME TO messages',
    ];
    const cases = isSqlite
      ? [
          rebuilt('id INTEGER PRIMARY KEY DESC'),
          rebuilt('id TEXT PRIMARY KEY'),
          rebuilt('id INTEGER'),
        ]
      : [
          [`ALTER TABLE messages ALTER content TYPE jsonb USING to_jsonb(content)`],
          [`ALTER TABLE messages ALTER content TYPE char(200)`],
          [`ALTER TABLE messages ALTER group_id TYPE numeric`],
          [
            `ALTER TABLE messages DROP CONSTRAINT messages_sender_id_fkey`,
            `ALTER TABLE messages ALTER sender_id TYPE text`,
          ],
          [`ALTER TABLE messages ALTER created_at TYPE timestamptz`],
          [`ALTER TABLE messages DROP CONSTRAINT messages_pkey`],
        ];
    for (const statements of cases) {
      const { database } = await odd(engine, ...statements);
      for (const verb of [
        () => inspect(contextOf(database)),
        () => expand(contextOf(database), EXPAND),
      ])
        await expect(verb()).rejects.toMatchObject({
          code: 'UNSUPPORTED_DATABASE',
          message: expect.stringMatching(/messages\.\w+ is /),
        });
    }
  });

  it('keep times raw that would not come back, or not in their order', async () => {
    const times = isSqlite
      ? ['2011-01-01 24:00:00', '-0044-03-15 00:00:00', '-4000-01-01 00:00:00']
      : [
          '294276-12-31 23:59:59.999999',
          '0044-03-15 00:00:00 BC',
          '4000-01-01 00:00:00 BC',
          '-infinity',
          '12011-01-01 00:00:00',
        ];
    const { database } = await odd(
      engine,
      ...times.map((time, i) => `UPDATE messages SET created_at = '${time}' WHERE id = ${i + 5}`),
      `UPDATE messages SET created_at = '1969-12-31 23:59:58' WHERE id = 40`,
    );
    expect(await migrate(database)).toMatchObject({
      mismatches: 0,
      quarantinedMessages: 0,
    });
    const kept = await database.reader.all(
      'SELECT message_id FROM legacy_raw_values WHERE created_at IS NOT NULL',
    );
    expect(kept).toHaveLength(times.length);
    const sides = await answers(database);
    expect(sides.new).toEqual(sides.old);
  });

  it('may hold the lowest and the highest id there are', async () => {
    const { database } = await odd(
      engine,
      ...(isSqlite ? [] : ['ALTER TABLE messages ALTER id TYPE bigint']),
      'UPDATE messages SET id = -9223372036854775808 WHERE id = 7',
      'UPDATE messages SET id = 9223372036854775807 WHERE id = 8',
    );
    expect((await inspect(contextOf(database))).irregular).toEqual({});
    expect(await migrate(database)).toMatchObject({
      legacyMessages: 60,
      migratedMessages: 60,
      mismatches: 0,
    });
  });

  it('are left alone by serve when they hold something else', async () => {
    const location = await emptyDatabase(engine);
    const database = await open(location);
    await database.transaction((transaction) =>
      transaction.run('CREATE TABLE invoices (id INTEGER)'),
    );
    expect(await setUpIfEmpty(database, DEFAULT_MAPPING, EXPAND.migrationsTable)).toBe('LEGACY');
    await expect(inspect(contextOf(database))).rejects.toMatchObject({
      code: 'NO_SUCH_TABLE',
      message: expect.stringContaining('invoices'),
    });
    expect(await database.reader.all(database.dialect.listTables)).toEqual([{ name: 'invoices' }]);
  });

  it('are cut into ranges by number, not by text', async () => {
    const { database } = await odd(engine);
    const { rangeEnd } = oldRows(database.dialect, DEFAULT_MAPPING);
    expect(await database.reader.all(rangeEnd, { from: '5', size: 10 })).toEqual([
      { range_end: '14' },
    ]);
    expect(await database.reader.all(rangeEnd, { from: '55', size: 10 })).toEqual([]);
  });
});

describe('odd old databases on SQLite', () => {
  it('may be written in capitals', async () => {
    const { database } = await odd(
      'sqlite',
      'ALTER TABLE messages RENAME TO mm',
      'ALTER TABLE mm RENAME TO Messages',
      'ALTER TABLE users RENAME TO uu',
      'ALTER TABLE uu RENAME TO USERS',
    );
    expect(await migrate(database)).toMatchObject({ mismatches: 0, migratedMessages: 60 });
    expect(await database.reader.all('SELECT last_seen, socket_id FROM users LIMIT 1')).toEqual([
      { last_seen: null, socket_id: null },
    ]);
  });

  it('may have columns without a type: numbers in another form are still found', async () => {
    const { database } = await odd(
      'sqlite',
      'CREATE TABLE m2 (id INTEGER PRIMARY KEY, sender_id, recipient_id, group_id, content, type, status, created_at)',
      'INSERT INTO m2 SELECT * FROM messages',
      'DROP TABLE messages',
      'ALTER TABLE m2 RENAME TO messages',
      'UPDATE messages SET sender_id = 1.0 WHERE sender_id = 1',
      `UPDATE messages SET recipient_id = ' 2' WHERE recipient_id = 2`,
      `UPDATE messages SET recipient_id = '' WHERE id = 9`,
      // No writer of the group, though his key begins like one: he must not see it on either side.
      `INSERT INTO messages (id, sender_id, group_id, content, type, status, created_at) VALUES (901, '4abc', 901, 'hidden', 'text', 'read', '2020-01-01 00:00:00')`,
      `INSERT INTO messages (id, sender_id, group_id, content, type, status, created_at) VALUES (902, 5, 901, 'hidden', 'text', 'read', '2020-01-01 00:00:00')`,
    );
    const { quarantinedMessages, mismatches } = await migrate(database);
    expect({ mismatches, some: quarantinedMessages > 5 }).toEqual({ mismatches: 0, some: true });
    const sides = await answers(database);
    expect(sides.new).toEqual(sides.old);
    expect(JSON.stringify(sides.old).length).toBeGreaterThan(2_000);
    for (const sql of [oldSideSql, newSideSql]) {
      const service = new LegacyService(database, () =>
        sql(database.dialect, DEFAULT_MAPPING, true),
      );
      expect(await service.groupMessages({ id: '4', phone: '' }, 901, 50, 0)).toEqual([]);
    }
  });
});

const onPostgres = ENGINES.includes('postgres') ? describe : describe.skip;

onPostgres('old databases in a schema of their own on PostgreSQL', () => {
  it('are refused where new tables would shadow the old ones, and moved where the URL names it', async () => {
    const { database, url } = await odd('postgres');
    const user = new URL(url).username;
    await asOldApp(parseDatabaseUrl(url), `CREATE SCHEMA "${user}"`);
    const before = await database.reader.all('SELECT count(*) AS count FROM pg_class');
    const shadowed = await open(parseDatabaseUrl(url));
    for (const attempt of [
      () => expand(contextOf(shadowed), EXPAND),
      () => inspect(contextOf(shadowed)),
    ])
      await expect(attempt()).rejects.toMatchObject({
        code: 'UNSUPPORTED_DATABASE',
        message: expect.stringContaining('options=-csearch_path%3Dpublic'),
      });
    expect(await setUpIfEmpty(shadowed, DEFAULT_MAPPING, EXPAND.migrationsTable)).toBe('LEGACY');
    expect(await database.reader.all('SELECT count(*) AS count FROM pg_class')).toEqual(before);

    const named = await open(parseDatabaseUrl(`${url}?options=-csearch_path%3Dpublic`));
    expect(await migrate(named)).toMatchObject({ migratedMessages: 60, mismatches: 0 });
    // The operator's options come beside ours, not instead of them.
    expect(await named.reader.all('SHOW timezone')).toEqual([{ TimeZone: 'UTC' }]);
    await expect(named.reader.run('DELETE FROM messages')).rejects.toThrow(/read-only/);
  });
});

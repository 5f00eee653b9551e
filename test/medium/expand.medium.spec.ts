import { beforeAll, describe, expect, it } from '@jest/globals';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { expand } from '../../src/changeover/expand.js';
import { setUpIfEmpty } from '../../src/changeover/setup.js';
import { hasTable } from '../../src/changeover/shape.js';
import { readState } from '../../src/changeover/stage.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { OWN_TABLE_NAMES } from '../../src/database/migrations/migrations.js';
import { dataSourceOf } from '../../src/database/open-database.js';
import { createOldTable } from '../../src/database/old-table.js';
import { oldTables, schemaOf } from '../../src/schema.js';
import { asOldApp, emptyDatabase, ENGINES, open } from '../helpers/databases.js';
import { definitionsOf } from '../helpers/definitions.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

/** What real old tables have beside their columns: triggers, views, a column of their own, odd types, collations. */
const ODDITIES: Record<EngineName, string[]> = {
  sqlite: [
    'CREATE TABLE audit (what TEXT, id INTEGER)',
    "CREATE TRIGGER audit_insert AFTER INSERT ON messages BEGIN INSERT INTO audit VALUES ('insert', NEW.id); END",
    "CREATE TRIGGER audit_update AFTER UPDATE ON messages BEGIN INSERT INTO audit VALUES ('update', NEW.id); END",
    "CREATE TRIGGER audit_users AFTER UPDATE OF name ON users BEGIN INSERT INTO audit VALUES ('user', NEW.id); END",
    "CREATE VIEW unread AS SELECT * FROM messages WHERE status <> 'read'",
    "ALTER TABLE messages ADD COLUMN mood VARCHAR(3) COLLATE NOCASE DEFAULT 'meh' CHECK (length(mood) < 9)",
    'ALTER TABLE users ADD COLUMN karma FLOATING POINT',
    'ALTER TABLE contacts ADD COLUMN "odd name" BANANA',
    'CREATE INDEX messages_mood ON messages (mood)',
  ],
  postgres: [
    'CREATE TABLE audit (what TEXT, id INTEGER)',
    `CREATE FUNCTION audit_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (TG_OP, NEW.id); RETURN NEW; END $$`,
    'CREATE TRIGGER audit_both AFTER INSERT OR UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION audit_it()',
    'CREATE TRIGGER audit_users AFTER UPDATE OF name ON users FOR EACH ROW EXECUTE FUNCTION audit_it()',
    "CREATE VIEW unread AS SELECT * FROM messages WHERE status <> 'read'",
    'ALTER TABLE messages ADD COLUMN mood VARCHAR(3) COLLATE "C" DEFAULT \'meh\' CHECK (length(mood) < 9)',
    'ALTER TABLE users ADD COLUMN karma NUMERIC(4,1)',
    'ALTER TABLE contacts ADD COLUMN "odd name" POINT',
    'CREATE INDEX messages_mood ON messages (mood)',
  ],
};

async function rowsOf(database: Database): Promise<Record<string, unknown>> {
  const rows: Record<string, unknown> = {};
  for (const { mapping } of oldTables(DEFAULT_MAPPING))
    rows[mapping.table] = await database.reader.all(`SELECT * FROM ${mapping.table} ORDER BY 1`);
  rows.audit = await database.reader.all('SELECT * FROM audit ORDER BY 1, 2');
  return rows;
}

describe.each(ENGINES)('expand on %s, and all the way back', (engine) => {
  it('leaves definition and rows of the old side as they were', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 300 });
    await asOldApp(location, ...ODDITIES[engine], `UPDATE users SET name = 'Eve' WHERE id = 3`);
    const before = { definitions: await definitionsOf(database), rows: await rowsOf(database) };

    expect(await migrate(database)).toMatchObject({ migratedMessages: 300, mismatches: 0 });
    // An old trigger would have fired on each row: the column is left empty instead.
    expect((await readState(database)).fillsLink).toBe(false);
    expect((await rowsOf(database)).audit).toEqual(before.rows.audit);
    expect(await definitionsOf(database)).not.toEqual(before.definitions);

    await database.revertAll();
    expect({ definitions: await definitionsOf(database), rows: await rowsOf(database) }).toEqual(
      before,
    );

    expect(await migrate(database)).toMatchObject({ migratedMessages: 300, mismatches: 0 });
  });

  it('adds nothing to an old table but three nullable columns: no index, no reference', async () => {
    const { database } = await legacyDatabase(engine, { messages: 5 });
    await expand(contextOf(database), EXPAND);
    const old = oldTables(DEFAULT_MAPPING).map(({ mapping }) => mapping.table);
    const statement = {
      sqlite: `SELECT m.name AS "from", f."table" AS "to" FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f
               WHERE m.type = 'table'`,
      postgres: `SELECT conrelid::regclass::text AS "from", confrelid::regclass::text AS "to" FROM pg_constraint WHERE contype = 'f'`,
    }[engine];
    const references = await database.reader.all<{ from: string; to: string }>(statement);
    expect(references.filter(({ from, to }) => old.includes(to) && !old.includes(from))).toEqual(
      [],
    );
    expect(references.length).toBeGreaterThan(5);

    const indexes = {
      sqlite: `SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN (${old.map((t) => `'${t}'`).join()})`,
      postgres: `SELECT indexname AS name FROM pg_indexes WHERE tablename IN (${old.map((t) => `'${t}'`).join()}) AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key'`,
    }[engine];
    expect(await database.reader.all(indexes)).toEqual([]);
    const [added] = await database.reader.all(
      'SELECT (SELECT count(*) FROM users WHERE socket_id IS NULL AND last_seen IS NULL) AS users, (SELECT count(*) FROM messages WHERE conversation_id IS NULL) AS messages',
    );
    expect(Object.values(added ?? {}).map(Number)).toEqual([12, 5]);
  });

  it('is done once by two processes that start together', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 5 });
    const other = await open(location);
    const outcomes = await Promise.allSettled(
      [database, other].map((each) => expand(contextOf(each), EXPAND)),
    );
    expect((await readState(database)).stage).toBe('EXPANDED');
    const failures = outcomes.filter(({ status }) => status === 'rejected');
    for (const failure of failures)
      expect(failure).toMatchObject({ reason: { code: 'WRONG_STAGE' } });
    expect(failures.length).toBeLessThanOrEqual(1);
  });

  it('says which table, column or name stands in the way, and changes nothing', async () => {
    const refusals: [string[], string, string][] = [
      [['ALTER TABLE messages RENAME TO chats'], 'NO_SUCH_TABLE', 'messages'],
      [['ALTER TABLE messages RENAME COLUMN content TO body'], 'NO_SUCH_COLUMN', 'content'],
      [['ALTER TABLE messages ADD COLUMN conversation_id TEXT'], 'NAME_TAKEN', 'conversation_id'],
      [['CREATE TABLE conversations (id INTEGER)'], 'NAME_TAKEN', 'conversations'],
    ];
    for (const [statements, code, named] of refusals) {
      const { location, database } = await legacyDatabase(engine, { messages: 3 });
      await asOldApp(location, ...statements);
      const before = await definitionsOf(database);
      await expect(expand(contextOf(database), EXPAND)).rejects.toMatchObject({
        code,
        message: expect.stringContaining(named),
      });
      expect(await definitionsOf(database)).toEqual(before);
    }
    const empty = await open(await emptyDatabase(engine));
    await expect(expand(contextOf(empty), EXPAND)).rejects.toMatchObject({
      code: 'NO_SUCH_TABLE',
      message: expect.stringContaining('empty'),
    });
  });

  it('does not step back over messages that stand nowhere else', async () => {
    const { database } = await legacyDatabase(engine, { messages: 20 });
    await migrate(database);
    await database.transaction((transaction) =>
      transaction.run(
        `INSERT INTO enhanced_messages (id, conversation_id, kind, text, sent_at, position, status)
         VALUES (1099511627776, 1, 'text', 'only here', 1, 1, 1)`,
      ),
    );
    await expect(database.revertAll()).rejects.toMatchObject({ code: 'WOULD_LOSE_ROWS' });
    const [kept] = await database.reader.all<{ count: number }>(
      'SELECT count(*) AS count FROM enhanced_messages',
    );
    expect(Number(kept?.count)).toBe(21);
  });
});

describe.each(ENGINES)('an empty database on %s', (engine) => {
  let location: DatabaseLocation;
  let database: Database;

  beforeAll(async () => {
    location = await emptyDatabase(engine);
    database = await open(location);
    await setUpIfEmpty(database, DEFAULT_MAPPING, EXPAND.migrationsTable);
  });

  it('becomes a chat without an old side, and stays it', async () => {
    expect(await hasTable(database, 'messages')).toBe(false);
    for (const table of ['users', 'verification_codes', ...OWN_TABLE_NAMES])
      expect({ table, there: await hasTable(database, table) }).toEqual({ table, there: true });
    expect((await readState(database)).stage).toBe('CONTRACTED');
    expect(await setUpIfEmpty(database, DEFAULT_MAPPING, EXPAND.migrationsTable)).toBe(
      'CONTRACTED',
    );
  });

  it('has no difference to the entities', async () => {
    const source = await dataSourceOf(location, schemaOf(engine, DEFAULT_MAPPING)).initialize();
    try {
      const { upQueries } = await source.driver.createSchemaBuilder().log();
      expect(upQueries.map(({ query }) => query)).toEqual([]);
      // The check can fail: a column that an entity does not know is noticed.
      await database.transaction((transaction) =>
        transaction.run('ALTER TABLE user_presence ADD COLUMN stray text'),
      );
      const noticed = await source.driver.createSchemaBuilder().log();
      expect(noticed.upQueries.length).toBeGreaterThan(0);
    } finally {
      await database.transaction((transaction) =>
        transaction.run('ALTER TABLE user_presence DROP COLUMN stray'),
      );
      await source.destroy();
    }
  });

  it('keeps its people when somebody takes the migrations back', async () => {
    const stranger = await open(await emptyDatabase(engine));
    await setUpIfEmpty(stranger, DEFAULT_MAPPING, EXPAND.migrationsTable);
    await stranger.transaction((transaction) =>
      transaction.run(`INSERT INTO users (phone) VALUES ('0801')`),
    );
    await expect(stranger.revertAll()).rejects.toMatchObject({ code: 'WOULD_LOSE_ROWS' });
    expect(await stranger.reader.all('SELECT phone FROM users')).toEqual([{ phone: '0801' }]);
    expect(await hasTable(stranger, 'enhanced_messages')).toBe(engine === 'sqlite');
  });
});

describe.each(ENGINES)('the description of the old tables on %s', (engine) => {
  it('is what the tables are, column by column', async () => {
    const { location } = await legacyDatabase(engine, { messages: 1 });
    const source = await dataSourceOf(location, schemaOf(engine, DEFAULT_MAPPING)).initialize();
    const runner = source.createQueryRunner();
    try {
      for (const { entity, mapping } of oldTables(DEFAULT_MAPPING)) {
        const metadata = source.getMetadata(entity);
        const table = await runner.getTable(mapping.table);
        const described = metadata.columns
          .filter(
            ({ propertyName }) =>
              !['socketId', 'lastSeen', 'conversationId'].includes(propertyName),
          )
          .map((column) => [
            column.databaseName,
            source.driver.normalizeType(column),
            column.isPrimary,
            column.isNullable || column.isPrimary,
          ]);
        const found = table?.columns.map((column) => [
          column.name,
          source.driver.normalizeType(column),
          column.isPrimary,
          column.isNullable || column.isPrimary,
        ]);
        expect(described).toEqual(found);
      }
    } finally {
      await runner.release();
      await source.destroy();
    }
  });
});

describe('the tables of the old app', () => {
  it('are made on SQLite as it made them', () => {
    const made = oldTables(DEFAULT_MAPPING).map((table) =>
      createOldTable('sqlite', table).replaceAll('"', ''),
    );
    expect(made).toEqual([
      `CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, phone TEXT UNIQUE NOT NULL, email TEXT UNIQUE, name TEXT, username TEXT UNIQUE, avatar TEXT, bio TEXT, country TEXT, city TEXT, is_verified BOOLEAN DEFAULT 0, truecaller_id TEXT UNIQUE, last_login DATETIME, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, updated_at DATETIME DEFAULT CURRENT_TIMESTAMP)`,
      `CREATE TABLE settings (user_id INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE, notifications_enabled BOOLEAN DEFAULT 1, dark_mode BOOLEAN DEFAULT 0, language TEXT DEFAULT 'en', ringtone TEXT, privacy_last_seen TEXT CHECK (privacy_last_seen IN ('everyone', 'contacts', 'nobody')) DEFAULT 'everyone')`,
      `CREATE TABLE devices (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, device_id TEXT, device_type TEXT, push_token TEXT, last_active DATETIME)`,
      `CREATE TABLE contacts (id INTEGER PRIMARY KEY AUTOINCREMENT, owner_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, contact_user_id INTEGER REFERENCES users(id) ON DELETE SET NULL, name TEXT, phone TEXT, email TEXT, avatar TEXT, label TEXT, is_favorite BOOLEAN DEFAULT 0, notes TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, updated_at DATETIME DEFAULT CURRENT_TIMESTAMP)`,
      `CREATE TABLE call_logs (id INTEGER PRIMARY KEY AUTOINCREMENT, caller_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, callee_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, channel TEXT, call_type TEXT CHECK (call_type IN ('audio', 'video')) DEFAULT 'audio', direction TEXT NOT NULL CHECK (direction IN ('incoming', 'outgoing')), status TEXT CHECK (status IN ('completed', 'missed', 'failed')) DEFAULT 'completed', started_at DATETIME DEFAULT CURRENT_TIMESTAMP, ended_at DATETIME, duration INTEGER)`,
      `CREATE TABLE verification_codes (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, code TEXT NOT NULL, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, expires_at DATETIME)`,
      `CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, sender_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE, recipient_id INTEGER REFERENCES users(id) ON DELETE CASCADE, group_id INTEGER, content TEXT, type TEXT CHECK (type IN ('text', 'image', 'audio', 'video', 'file')) DEFAULT 'text', status TEXT CHECK (status IN ('sent', 'delivered', 'read')) DEFAULT 'sent', created_at DATETIME DEFAULT CURRENT_TIMESTAMP)`,
    ]);
  });
});

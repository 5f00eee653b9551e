import { beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { applyQueued } from '../../src/changeover/apply.js';
import { findMissingCapture } from '../../src/changeover/capture.js';
import { restoreCapture } from '../../src/changeover/capture-watch.js';
import { expand } from '../../src/changeover/expand.js';
import { compareNext } from '../../src/changeover/rolling-compare.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { asOldApp, ENGINES, urlOf } from '../helpers/databases.js';
import { outOfStep } from '../helpers/in-step.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';
import { refillable } from '../helpers/refillable.js';

const MESSAGES = 60;

interface Entry {
  readonly source: string;
  readonly id: string | null;
}

const queued = (database: Database): Promise<Entry[]> =>
  database.reader.all<Entry>(
    'SELECT DISTINCT source, CAST(legacy_id AS text) AS id FROM changeover_queue ORDER BY 1, 2',
  );

/** All of it was applied, and the new side is what the rules say of the old one. */
async function expectInStep(database: Database): Promise<void> {
  await applyQueued(contextOf(database));
  expect(await queued(database)).toEqual([]);
  expect(await outOfStep(database.reader, database.dialect.engine)).toEqual([]);
  expect((await verify(contextOf(database))).found).toEqual([]);
}

/** Every row is looked at once. */
async function roundOfCompare(database: Database): Promise<string[]> {
  const found: string[] = [];
  for (let isRound = false; !isRound;) {
    const look = await compareNext(contextOf(database));
    if (look === null) throw new Error('Nothing is compared');
    found.push(...look.found.map(({ legacyId }) => legacyId));
    ({ isRound } = look);
  }
  return found;
}

describe.each(ENGINES)('what the old app has beside its rows on %s', (engine) => {
  const isSqlite = engine === 'sqlite';
  let location: DatabaseLocation;
  let database: Database;

  beforeEach(async () => {
    ({ location, database } = await legacyDatabase(engine, { messages: MESSAGES }));
  });

  it('goes on working: what its trigger writes is applied, its view answers, a column of its own is nobody else’s', async () => {
    await asOldApp(
      location,
      'ALTER TABLE messages ADD COLUMN edits INTEGER DEFAULT 0',
      'CREATE TABLE audit (id INTEGER, was TEXT)',
      `CREATE VIEW edited AS SELECT id, content, edits FROM messages WHERE edits > 0`,
      ...(isSqlite
        ? [
            `CREATE TRIGGER edits AFTER UPDATE OF content ON messages BEGIN
               INSERT INTO audit VALUES (OLD.id, OLD.content);
               UPDATE messages SET status = 'sent', edits = edits + 1 WHERE id = NEW.id OR id = NEW.id + 1;
             END`,
          ]
        : [
            `CREATE FUNCTION edits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO audit VALUES (OLD.id, OLD.content);
               UPDATE messages SET status = 'sent', edits = edits + 1 WHERE id = NEW.id OR id = NEW.id + 1;
               RETURN NULL; END $$`,
            `CREATE TRIGGER edits AFTER UPDATE OF content ON messages FOR EACH ROW EXECUTE FUNCTION edits()`,
          ]),
      `UPDATE messages SET status = 'read'`,
    );
    const [before] = await database.reader.all<{ content: string }>(
      'SELECT content FROM messages WHERE id = 7',
    );
    await migrate(database);
    await asOldApp(location, `UPDATE messages SET content = 'edited' WHERE id = 7`);
    expect(await queued(database)).toEqual([
      { source: 'messages', id: '7' },
      // The trigger's own write, of another row.
      { source: 'messages', id: '8' },
    ]);
    expect(await database.reader.all('SELECT was FROM audit')).toEqual([{ was: before?.content }]);
    expect(await database.reader.all('SELECT content FROM edited WHERE id = 7')).toEqual([
      { content: 'edited' },
    ]);
    await expectInStep(database);
    const sent = await database.reader.all<{ id: string }>(
      'SELECT CAST(id AS text) AS id FROM enhanced_messages WHERE status = 1 ORDER BY 1',
    );
    expect(sent).toEqual([{ id: '7' }, { id: '8' }]);

    await asOldApp(location, 'UPDATE messages SET edits = 9 WHERE id = 9');
    expect(await queued(database)).toEqual([]);
  });

  it('fails where its trigger counts columns, as docs/preconditions.md says', async () => {
    await asOldApp(
      location,
      'CREATE TABLE archive AS SELECT * FROM messages WHERE id < 0',
      ...(isSqlite
        ? [
            `CREATE TRIGGER archived AFTER DELETE ON messages BEGIN
               INSERT INTO archive SELECT * FROM messages WHERE id = OLD.id - 1;
             END`,
          ]
        : [
            `CREATE FUNCTION archived() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO archive SELECT OLD.*; RETURN NULL; END $$`,
            'CREATE TRIGGER archived AFTER DELETE ON messages FOR EACH ROW EXECUTE FUNCTION archived()',
          ]),
      'DELETE FROM messages WHERE id = 20',
    );
    await expand(contextOf(database), EXPAND);
    await expect(asOldApp(location, 'DELETE FROM messages WHERE id = 30')).rejects.toThrow(
      isSqlite
        ? 'table archive has 8 columns but 9 values were supplied'
        : 'INSERT has more expressions than target columns',
    );
  });

  it.each([true, false])(
    'takes an INSERT into users that names no columns, without columns: %s',
    async (withoutColumns) => {
      const columns = await database.reader.all<{ name: string }>(database.dialect.describeTable, {
        table: 'users',
      });
      const values = columns.map(({ name }) => ({ id: '901', phone: `'+49901'` })[name] ?? 'NULL');
      await expand(contextOf(database), { ...EXPAND, withoutColumns });
      const outcome = await asOldApp(
        location,
        `INSERT INTO users VALUES (${values.join(', ')})`,
      ).then(() => 'works', String);
      expect(outcome).toMatch(
        isSqlite && !withoutColumns
          ? new RegExp(
              `table users has ${columns.length + 2} columns but ${columns.length} values were supplied`,
            )
          : /^works$/,
      );
    },
  );

  it('has columns of its own that it may drop; of those that are read, as docs/preconditions.md says', async () => {
    await asOldApp(location, 'ALTER TABLE messages ADD COLUMN own TEXT');
    await expand(contextOf(database), EXPAND);
    const refusal = async (statement: string): Promise<string> => {
      if (isSqlite) return asOldApp(location, statement).then(() => 'works', String);
      const client = new pg.Client({ connectionString: urlOf(location) });
      await client.connect();
      try {
        await client.query(statement);
        return 'works';
      } catch (error) {
        const { message, detail } = error as pg.DatabaseError;
        return `${message} (${detail})`;
      } finally {
        await client.end();
      }
    };
    const [drop, retype] = [
      'ALTER TABLE messages DROP COLUMN content',
      'ALTER TABLE messages ALTER COLUMN content TYPE varchar(9)',
    ];
    expect(await refusal('ALTER TABLE messages DROP COLUMN own')).toBe('works');
    if (isSqlite) {
      // It knows of no use of a column in UPDATE OF.
      expect(await refusal(drop)).toBe('works');
      return;
    }
    expect(await refusal(drop)).toMatch(/segue_capture_messages_update/);
    expect(await refusal(retype)).toMatch(
      /cannot alter type of a column used in a trigger definition.*segue_capture_messages_update/,
    );
    expect(await refusal('ALTER TABLE users DROP COLUMN phone')).toMatch(
      /segue_capture_users_update/,
    );
  });
});

describe.each(ENGINES)('writes of the old app that are easily missed, on %s', (engine) => {
  const isSqlite = engine === 'sqlite';
  let location: DatabaseLocation;
  let database: Database;

  beforeEach(async () => {
    ({ location, database } = await legacyDatabase(engine, { messages: MESSAGES }));
    await migrate(database);
  });

  it('are captured when an account gets another number, and not when only its name changes', async () => {
    await asOldApp(location, `UPDATE users SET name = 'Somebody Else' WHERE id = 1`);
    expect(await queued(database)).toEqual([]);
    await asOldApp(location, `UPDATE users SET phone = '+4900001' WHERE id = 1`);
    expect(await queued(database)).toEqual([{ source: 'users', id: '1' }]);
    await expectInStep(database);
    await asOldApp(location, `INSERT INTO users (id, phone) VALUES (9001, '+4900002')`);
    expect(await queued(database)).toEqual([{ source: 'users', id: '9001' }]);
    await expectInStep(database);
  });

  it('are found when a rebuilt table has taken the place of the old one, without our triggers', async () => {
    const [old] = isSqlite
      ? await database.reader.all<{ sql: string }>(
          `SELECT sql FROM sqlite_master WHERE name = 'messages'`,
        )
      : [];
    await asOldApp(
      location,
      ...(isSqlite
        ? ['PRAGMA foreign_keys = OFF', old?.sql.replace(/messages/, 'rebuilt') ?? '']
        : [
            'CREATE TABLE rebuilt (LIKE messages INCLUDING ALL)',
            'ALTER SEQUENCE messages_id_seq OWNED BY NONE',
          ]),
      'INSERT INTO rebuilt SELECT * FROM messages',
      'DROP TABLE messages',
      'ALTER TABLE rebuilt RENAME TO messages',
      `UPDATE messages SET content = 'unseen' WHERE id = 17`,
      'DELETE FROM messages WHERE id = 18',
    );
    expect(await queued(database)).toEqual([]);
    const missing = await findMissingCapture(database, DEFAULT_MAPPING);
    expect(missing).toHaveLength(4);
    expect(await restoreCapture(contextOf(database))).toEqual(missing);
    expect(await findMissingCapture(database, DEFAULT_MAPPING)).toEqual([]);
    expect((await status(database, DEFAULT_MAPPING)).certificate).toMatch(/VOID: capture was off/);
    expect((await readState(database)).stage).toBe('BACKFILLED');

    expect(await roundOfCompare(database)).toEqual(['17', '18']);
    await asOldApp(location, `UPDATE messages SET content = 'seen' WHERE id = 19`);
    await expectInStep(database);
    expect(await roundOfCompare(database)).toEqual([]);
  });
});

describe.each(ENGINES.filter((engine) => engine === 'sqlite'))(
  'an old app that replaces accounts, on %s',
  (engine) => {
    const replacing = async (
      id: string,
      foreignKeys: 'ON' | 'OFF',
    ): Promise<{ location: DatabaseLocation; database: Database }> => {
      const { location, database } = await legacyDatabase(engine, { messages: MESSAGES });
      await migrate(database);
      await asOldApp(
        location,
        `PRAGMA foreign_keys = ${foreignKeys}`,
        `REPLACE INTO users (id, phone) SELECT ${id}, phone FROM users WHERE id = 1`,
      );
      return { location, database };
    };

    it('keeps its messages under the same id', async () => {
      const { database } = await replacing('1', 'OFF');
      expect(await queued(database)).toEqual([{ source: 'users', id: '1' }]);
      await expectInStep(database);
      expect(await roundOfCompare(database)).toEqual([]);
    });

    it('leaves them to nobody under another one: no trigger is told, the rolling compare finds them', async () => {
      const { database } = await replacing('9001', 'OFF');
      const own = await database.reader.all<{ id: string }>(
        'SELECT CAST(id AS text) AS id FROM enhanced_messages WHERE sender_id = 1 ORDER BY enhanced_messages.id',
      );
      expect(own.length).toBeGreaterThan(0);
      await applyQueued(contextOf(database));
      expect(await roundOfCompare(database)).toEqual(own.map(({ id }) => id));
      await expectInStep(database);
      expect(
        await database.reader.all('SELECT 1 AS one FROM enhanced_messages WHERE sender_id = 1'),
      ).toEqual([]);
    });

    it('takes them along where foreign keys say so', async () => {
      const { database } = await replacing('9001', 'ON');
      expect((await queued(database)).length).toBeGreaterThan(1);
      await expectInStep(database);
      expect(await roundOfCompare(database)).toEqual([]);
    });

    it('has a change in letters only followed, where its columns call them equal', async () => {
      const table = await refillable(engine, 'nocase', [1n, 2n]);
      const { location, database } = table;
      await table.refill([
        {
          id: 1,
          senderId: 1,
          recipientId: 2,
          groupId: null,
          content: 'a',
          type: 'text',
          status: 'read',
          createdAt: '2019-01-01 08:00:00',
        },
      ]);
      await migrate(database);
      for (const change of [
        `content = 'A'`,
        `type = 'TEXT'`,
        `status = 'read '`,
        `created_at = '2019-01-01t08:00:00'`,
        `content = 'a', type = 'text', status = 'read', created_at = '2019-01-01 08:00:00'`,
      ]) {
        await asOldApp(location, `UPDATE messages SET ${change}`);
        expect(await queued(database)).toEqual([{ source: 'messages', id: '1' }]);
        await expectInStep(database);
      }
    });
  },
);

describe.each(ENGINES.filter((engine) => engine === 'postgres'))(
  'an old app with ways of its own, on %s',
  (engine) => {
    it('is followed where it writes as a replica does', async () => {
      const { location, database } = await legacyDatabase(engine, { messages: MESSAGES });
      await migrate(database);
      await asOldApp(
        location,
        'SET session_replication_role = replica',
        `INSERT INTO messages (id, sender_id, recipient_id, content, created_at) VALUES (1001, 1, 2, 'new', '2026-01-02 03:04:05')`,
        `UPDATE messages SET content = 'edited' WHERE id = 7`,
        'DELETE FROM messages WHERE id = 8',
        'DELETE FROM users WHERE id = 3',
      );
      expect(await queued(database)).toEqual([
        { source: 'departures', id: '3' },
        { source: 'messages', id: '1001' },
        { source: 'messages', id: '7' },
        { source: 'messages', id: '8' },
      ]);
      await expectInStep(database);
    });

    it('has a change in letters only followed, where its collation calls them equal', async () => {
      const { location, database } = await legacyDatabase(engine, { messages: MESSAGES });
      await asOldApp(
        location,
        `CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
        'ALTER TABLE messages ALTER COLUMN content TYPE text COLLATE blind',
        `UPDATE messages SET content = 'a' WHERE id = 7`,
      );
      await migrate(database);
      await asOldApp(location, `UPDATE messages SET content = 'A' WHERE id = 7`);
      expect(await queued(database)).toEqual([{ source: 'messages', id: '7' }]);
      await expectInStep(database);
    });
  },
);

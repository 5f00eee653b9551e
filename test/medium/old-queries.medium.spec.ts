import { beforeAll, describe, expect, it } from '@jest/globals';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { LegacyMessage } from '../../src/legacy/legacy-message.type.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import type { Account } from '../../src/users/users.service.js';
import { asOldApp, ENGINES } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

/** Irregular rows, which old clients see as ever: [sender, recipient, group, type, status, time]. */
const IRREGULAR = [
  `(1, 2, 1, 'both recipient and group', 'text', 'sent', '2030-01-01 00:00:00')`,
  `(1, NULL, NULL, 'neither', 'text', 'sent', '2019-01-01 08:00:00')`,
  `(2, 1, NULL, 'in the far future', 'text', 'delivered', '9999-12-31 23:59:59')`,
  `(2, 1, NULL, 'no time at all', 'text', 'sent', NULL)`,
  `(3, 1, 0, 'group zero', 'text', 'sent', '2019-01-01 09:00:00')`,
  `(12, NULL, 2, 'no status in a group', 'text', NULL, '2019-01-02 09:00:00')`,
  `(1, NULL, 77, 'a group that only has this row', NULL, 'read', '2019-01-02 09:00:00')`,
  `(5, 5, NULL, 'to himself', 'text', 'sent', '2019-01-02 09:00:00')`,
];

describe.each(ENGINES)('the old queries on %s', (engine) => {
  let database: Database;
  let old: LegacyService;
  let copied: LegacyService;
  let people: number[];
  let groups: number[];

  beforeAll(async () => {
    const legacy = await legacyDatabase(engine, { messages: 1_500, seed: 7 });
    database = legacy.database;
    await asOldApp(
      legacy.location,
      `INSERT INTO messages (sender_id, recipient_id, group_id, content, type, status, created_at) VALUES ${IRREGULAR.join(', ')}`,
    );
    const { mismatches, quarantinedMessages } = await migrate(database);
    expect({ mismatches, quarantinedMessages }).toEqual({ mismatches: 0, quarantinedMessages: 1 });
    old = new LegacyService(database, () => oldSideSql(database.dialect, DEFAULT_MAPPING));
    copied = new LegacyService(database, () => newSideSql(database.dialect, DEFAULT_MAPPING, true));
    const ids = async (sql: string): Promise<number[]> =>
      (await database.reader.all<{ id: number | string }>(sql)).map(({ id }) => Number(id));
    people = await ids('SELECT id FROM users ORDER BY id');
    groups = await ids(
      'SELECT DISTINCT group_id AS id FROM messages WHERE group_id IS NOT NULL ORDER BY 1',
    );
  });

  const account = (id: number): Account => ({ id: String(id), phone: '' });

  /** Asks both sides, and compares the answers with each other, row by row in order. */
  async function both<Answer>(ask: (service: LegacyService) => Promise<Answer>): Promise<Answer> {
    const [oldAnswer, newAnswer] = [await ask(old), await ask(copied)];
    expect(newAnswer).toEqual(oldAnswer);
    return newAnswer;
  }

  it('gives the same messages for every pair of people, page by page', async () => {
    let rows = 0;
    for (const me of people)
      for (const peer of people) {
        for (let offset = 0; ; offset += 40) {
          const page = await both((side) => side.messages(account(me), me, peer, 40, offset));
          rows += page.length;
          if (page.length < 40) break;
        }
      }
    const [direct] = await database.reader.all<{ count: number }>(
      `SELECT count(*) + count(CASE WHEN sender_id <> recipient_id THEN 1 END) AS count FROM messages WHERE recipient_id IS NOT NULL`,
    );
    // Every row with a recipient is seen from both ends.
    expect(rows).toBe(Number(direct?.count));
  });

  it('gives the same messages for every group and person', async () => {
    let seen = 0;
    for (const me of people)
      for (const group of [...groups, 0, 4711])
        seen += (await both((side) => side.groupMessages(account(me), group, 1_000, 0))).length;
    expect(seen).toBeGreaterThan(1_000);
  });

  it('gives the same recent messages and unread count to everybody', async () => {
    let unread = 0;
    for (const me of people) {
      const recent = await both((side) => side.recentMessages(account(me), me));
      expect(recent.length).toBeGreaterThan(0);
      unread += await both((side) => side.unreadCount(account(me), me));
    }
    const [toBeRead] = await database.reader.all<{ count: number }>(
      `SELECT count(*) AS count FROM messages WHERE recipient_id IS NOT NULL AND status <> 'read'`,
    );
    expect(unread).toBe(Number(toBeRead?.count));
  });

  it('gives each single message to those who may see it, and to nobody else', async () => {
    const rows = await database.reader.all<{ id: number | string; sender: number | string }>(
      `SELECT id, sender_id AS sender FROM messages WHERE id % 25 = 0 OR id > 1500`,
    );
    const shown: (LegacyMessage | null)[] = [];
    for (const { id, sender } of rows) {
      for (const me of people)
        shown.push(await both((side) => side.message(account(me), Number(id))));
      expect(await both((side) => side.message(account(Number(sender)), Number(id)))).toMatchObject(
        { id: Number(id) },
      );
    }
    expect(shown).toContain(null);
    expect(await both((side) => side.message(account(1), 999_999))).toBeNull();
  });

  it('skips and cuts pages in the same way', async () => {
    for (const [limit, offset] of [
      [0, 0],
      [1, 0],
      [3, 2],
      [1_000, 0],
      [5, 10_000],
      [null, null],
    ] as const) {
      await both((side) => side.messages(account(1), 1, 2, limit, offset));
      await both((side) => side.groupMessages(account(12), 2, limit, offset));
    }
  });

  it('refuses another person, and pages that cannot be', async () => {
    for (const side of [old, copied]) {
      await expect(side.messages(account(1), 2, 1, 50, 0)).rejects.toMatchObject({
        code: 'FORBIDDEN',
      });
      await expect(side.recentMessages(account(1), 2)).rejects.toMatchObject({ code: 'FORBIDDEN' });
      await expect(side.unreadCount(account(1), 2)).rejects.toMatchObject({ code: 'FORBIDDEN' });
      await expect(side.messages(account(1), 1, 2, -1, 0)).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
        message: 'limit is -1: it takes 0 to 1000.',
      });
      await expect(side.groupMessages(account(1), 1, 1_001, 0)).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
      });
      await expect(side.groupMessages(account(1), 1, 50, -5)).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
      });
    }
  });
});

describe.each(ENGINES)('old rows that do not fit the old API, on %s', (engine) => {
  it('says which id does not fit, and shows bytes that are no text with U+FFFD', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 0 });
    const idColumn = engine === 'sqlite' ? '' : 'ALTER TABLE messages ALTER COLUMN id TYPE bigint';
    const bytes = engine === 'sqlite' ? `x'68ff69'` : `'h\uFFFDi'`;
    await asOldApp(
      location,
      ...(idColumn === '' ? [] : [idColumn]),
      `INSERT INTO messages (id, sender_id, recipient_id, content, created_at) VALUES (9007199254740993, 1, 2, 'large', '2020-01-01 00:00:00')`,
      `INSERT INTO messages (id, sender_id, recipient_id, content, created_at) VALUES (-5, 1, 3, ${bytes}, '2020-01-01 00:00:00')`,
    );
    expect(await migrate(database)).toMatchObject({ legacyMessages: 2, mismatches: 0 });
    for (const sql of [oldSideSql, newSideSql]) {
      const side = new LegacyService(database, () => sql(database.dialect, DEFAULT_MAPPING, true));
      const me = { id: '1', phone: '' };
      await expect(side.messages(me, 1, 2, 50, 0)).rejects.toMatchObject({
        code: 'LEGACY_ID_OUT_OF_RANGE',
        message: expect.stringContaining('9007199254740993'),
      });
      expect(await side.messages(me, 1, 3, 50, 0)).toMatchObject([
        { id: -5, content: 'h\uFFFDi', created_at: '2020-01-01 00:00:00' },
      ]);
    }
  });
});

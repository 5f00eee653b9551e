import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { readState } from '../../src/changeover/stage.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database } from '../../src/database/database.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

/** A fault, planted in row 100 (direct) or 101 (of a group), and how it has to be found. */
interface Fault {
  readonly name: string;
  readonly plant: readonly string[];
  readonly row: string;
  readonly kind: string;
  readonly detail: string;
}

const DIRECT = `(SELECT min(id) FROM messages WHERE recipient_id IS NOT NULL AND sender_id <> recipient_id AND id > 100)`;
const set = (assignment: string): string =>
  `UPDATE enhanced_messages SET ${assignment} WHERE id = ${DIRECT}`;
const differs = (name: string, assignment: string, detail: string): Fault => ({
  name,
  plant: [set(assignment)],
  row: DIRECT,
  kind: 'differs',
  detail,
});

const FAULTS: Fault[] = [
  differs('a letter in the other case', `text = upper(text) || 'x'`, 'content'),
  differs('a space at the end', `text = text || ' '`, 'content'),
  differs('nothing instead of text', 'text = NULL', 'content'),
  differs('empty instead of text', `text = ''`, 'content'),
  differs('half a second added', 'sent_at = sent_at + 500000', 'sent_at'),
  differs('another second', 'sent_at = sent_at + 1000000', 'created_at'),
  differs('another place in the order', 'position = position + 1', 'position'),
  differs('another kind', `kind = 'image'`, 'type'),
  differs('another status', 'status = 3 - status + 1', 'status'),
  differs(
    'the other sender',
    'sender_id = (SELECT recipient_id FROM messages m WHERE m.id = enhanced_messages.id)',
    'sender_id',
  ),
  differs(
    'another conversation',
    'conversation_id = (SELECT max(id) FROM conversations WHERE id <> enhanced_messages.conversation_id)',
    'conversation_id',
  ),
  differs('a conversation that is not there', 'conversation_id = 999999', 'recipient_id'),
  {
    name: 'a row that is gone from the new side',
    plant: [`DELETE FROM enhanced_messages WHERE id = ${DIRECT}`],
    row: DIRECT,
    kind: 'missing',
    detail: 'neither copied nor in quarantine',
  },
  {
    name: 'a row that is gone from the old side',
    plant: ['DELETE FROM messages WHERE id = 150'],
    row: '150',
    kind: 'ghost',
    detail: 'copied from an old row',
  },
  {
    name: 'a copy beyond the last old row',
    plant: [
      `INSERT INTO enhanced_messages (id, conversation_id, sender_id, legacy_message_id, kind, text, sent_at, position, status)
       SELECT 5000000, conversation_id, sender_id, 5000000, kind, text, sent_at, position, status FROM enhanced_messages WHERE id = 150`,
    ],
    row: '5000000',
    kind: 'ghost',
    detail: 'copied from an old row',
  },
  {
    name: 'a row on both sides and in quarantine',
    plant: [
      `INSERT INTO changeover_quarantine (legacy_id, reason, detail, quarantined_at) VALUES (150, 'irregular', 'planted', 0)`,
    ],
    row: '150',
    kind: 'twice',
    detail: 'in quarantine too',
  },
  {
    name: 'a quarantined row that the old side does not have',
    plant: [
      `INSERT INTO changeover_quarantine (legacy_id, reason, detail, quarantined_at) VALUES (-3, 'irregular', 'planted', 0)`,
    ],
    row: '-3',
    kind: 'ghost',
    detail: 'in quarantine for an old row',
  },
  {
    name: 'a link to another conversation',
    plant: ['UPDATE messages SET conversation_id = conversation_id + 1 WHERE id = 150'],
    row: '150',
    kind: 'differs',
    detail: 'conversation_id',
  },
  {
    name: 'a sender who is no participant',
    plant: [
      `DELETE FROM conversation_participants WHERE user_id = (SELECT sender_id FROM messages WHERE id = 150)
         AND conversation_id = (SELECT conversation_id FROM enhanced_messages WHERE id = 150)`,
    ],
    row: '150',
    kind: 'differs',
    detail: 'sender is no participant',
  },
  {
    name: 'a row that the old app wrote after the copy',
    plant: [
      `INSERT INTO messages (id, sender_id, recipient_id, content) VALUES (4000, 1, 2, 'later')`,
    ],
    row: '4000',
    kind: 'missing',
    detail: 'neither copied nor in quarantine',
  },
];

describe.each(ENGINES)('verify on %s', (engine) => {
  async function migrated(messages: number): Promise<Database> {
    const { database } = await legacyDatabase(engine, { messages });
    await migrate(database);
    return database;
  }

  it('finds each planted fault, by row and column, and only it', async () => {
    const database = await migrated(400);
    for (const { name, plant, row, kind, detail } of FAULTS) {
      // Each fault is planted in a transaction's image of the tables, and taken back from a copy of them.
      const [target] = await database.reader.all<{ id: number }>(
        /^-?\d+$/.test(row) ? `SELECT ${row} AS id` : `SELECT id FROM (SELECT ${row} AS id) AS t`,
      );
      await keepCopies(database);
      await database.transaction(async (transaction) => {
        for (const statement of plant) await transaction.run(statement);
      });
      const result = await verify(contextOf(database));
      expect({ name, found: result.found }).toEqual({
        name,
        found: expect.arrayContaining([
          {
            legacyId: String(target?.id),
            kind,
            detail: expect.stringContaining(detail),
          },
        ]),
      });
      expect({ name, stage: (await readState(database)).stage }).toEqual({
        name,
        stage: 'BACKFILLED',
      });
      await restoreCopies(database);
      expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
      expect((await readState(database)).stage).toBe('VERIFIED');
    }
  });

  it('finds two rows whose texts are swapped', async () => {
    const database = await migrated(400);
    await database.transaction((transaction) =>
      transaction.run(
        `UPDATE enhanced_messages SET text = (SELECT m.content FROM messages m WHERE m.id = 221 - enhanced_messages.id) WHERE id IN (110, 111)`,
      ),
    );
    const [texts] = await database.reader.all<{ same: number }>(
      'SELECT count(DISTINCT content) AS same FROM messages WHERE id IN (110, 111)',
    );
    expect(Number(texts?.same)).toBe(2);
    const { found, mismatches } = await verify(contextOf(database));
    expect(mismatches).toBe(2);
    expect(found.map(({ legacyId }) => legacyId)).toEqual(['110', '111']);
  });

  it('does not stay VERIFIED when the old app writes into what was compared already', async () => {
    const database = await migrated(50);
    const written = withParts(database, {
      // The old app's row comes after the last range was read, so that no range holds it.
      snapshot: async (work) => {
        const result = await database.snapshot(work);
        await database.transaction((transaction) =>
          transaction.run(
            `INSERT INTO messages (id, sender_id, recipient_id, content) VALUES (-1, 1, 2, 'late')`,
          ),
        );
        return result;
      },
    });
    const { found, mismatches } = await verify(contextOf(written));
    expect(mismatches).toBe(1);
    expect(found).toMatchObject([{ kind: 'uncounted' }]);
    expect((await readState(database)).stage).toBe('BACKFILLED');
    // Looked at again, it is a row like any other that is missing.
    expect((await verify(contextOf(database))).found).toMatchObject([
      { legacyId: '-1', kind: 'missing' },
    ]);
  });

  it('counts all mismatches and lists the first thousand', async () => {
    const database = await migrated(1_400);
    await database.transaction((transaction) =>
      transaction.run(`UPDATE enhanced_messages SET text = text || '!'`),
    );
    const result = await verify(contextOf(database));
    expect(result.mismatches).toBe(1_400);
    expect(result.found).toHaveLength(1_000);
    const [listed] = await database.reader.all<{ count: number }>(
      'SELECT count(*) AS count FROM changeover_mismatches',
    );
    expect(Number(listed?.count)).toBe(1_000);
  });

  it('refuses before the backfill is done', async () => {
    const { database } = await legacyDatabase(engine, { messages: 10 });
    await expect(verify(contextOf(database))).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    await expand(contextOf(database), EXPAND);
    await expect(verify(contextOf(database))).rejects.toMatchObject({
      code: 'WRONG_STAGE',
      message: expect.stringContaining('EXPANDED'),
    });
    await backfill(contextOf(database));
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0, legacyMessages: 10 });
  });
});

const COPIED = [
  'messages',
  'enhanced_messages',
  'changeover_quarantine',
  'conversation_participants',
];

async function keepCopies(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    for (const table of COPIED) {
      await transaction.run(`DROP TABLE IF EXISTS copy_of_${table}`);
      await transaction.run(`CREATE TABLE copy_of_${table} AS SELECT * FROM ${table}`);
    }
  });
}

async function restoreCopies(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    for (const table of COPIED) {
      await transaction.run(`DELETE FROM ${table}`);
      await transaction.run(`INSERT INTO ${table} SELECT * FROM copy_of_${table}`);
    }
  });
}

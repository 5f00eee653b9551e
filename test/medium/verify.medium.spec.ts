import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { digest } from '../../src/changeover/digest.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { readState } from '../../src/changeover/stage.js';
import { Lease } from '../../src/changeover/lease.js';
import { restoreCapture } from '../../src/changeover/capture-watch.js';
import { rollback } from '../../src/changeover/rollback.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { asOldApp, ENGINES, withParts } from '../helpers/databases.js';
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

/** 3000: a time that is kept raw, where the engine has such; 3001: neither type nor time; 3002: no thread. */
const irregularRows = (engine: EngineName): string[] => {
  const row = (values: string): string =>
    `INSERT INTO messages (id, sender_id, recipient_id, content, type, created_at) VALUES (${values})`;
  const time = engine === 'sqlite' ? '2020-01-01T00:00:00.123Z' : '2020-01-01 00:00:00.123';
  return [
    row(`3000, 1, 2, 'in another form', 'text', '${time}'`),
    row(`3001, 1, 2, 'neither type nor time', NULL, NULL`),
    row(`3002, 1, NULL, 'to nobody', 'text', '${time}'`),
  ];
};

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
  differs('another kind than the type that both know', `kind = 'text', raw_mask = 8`, 'raw mask'),
  {
    // Only the forward check sees it: the old value is kept raw.
    name: 'half a second added to a time whose old form is kept raw',
    plant: ['UPDATE enhanced_messages SET sent_at = sent_at + 500000 WHERE id = 3000'],
    row: '3000',
    kind: 'differs',
    detail: 'sent_at',
  },
  {
    name: 'another place of a row without a time',
    plant: [
      'UPDATE enhanced_messages SET sent_at = sent_at + 1, position = position + 1 WHERE id = 3001',
    ],
    row: '3001',
    kind: 'differs',
    detail: 'position',
  },
  {
    name: 'a wrong kind of a row whose type is kept raw',
    plant: [`UPDATE enhanced_messages SET kind = 'video' WHERE id = 3001`],
    row: '3001',
    kind: 'differs',
    detail: 'kind',
  },
  {
    name: 'another raw value',
    plant: [`UPDATE legacy_raw_values SET type = 'image' WHERE message_id = 3001`],
    row: '3001',
    kind: 'differs',
    detail: 'type',
  },
  {
    name: 'a raw value that is gone',
    plant: ['DELETE FROM legacy_raw_values WHERE message_id = 3001'],
    row: '3001',
    kind: 'differs',
    detail: 'raw values',
  },
  {
    name: 'another key to sort old times by',
    plant: [`UPDATE legacy_raw_values SET created_text = '2011-01-01' WHERE message_id = 3001`],
    row: '3001',
    kind: 'differs',
    detail: 'raw values',
  },
  {
    name: 'raw values that belong to nothing',
    plant: ['INSERT INTO legacy_raw_values (message_id, conversation_id) VALUES (150, 1)'],
    row: '150',
    kind: 'stray',
    detail: 'beside a message that has none',
  },
  {
    name: 'a quarantined row that was migrated too',
    plant: [
      `INSERT INTO enhanced_messages (id, conversation_id, legacy_message_id, kind, sent_at, position, status) VALUES (3002, 1, 3002, 'text', 0, 0, 1)`,
    ],
    row: '3002',
    kind: 'twice',
    detail: 'in quarantine too',
  },
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
    name: 'a second copy that stands for no old row',
    plant: [
      `INSERT INTO enhanced_messages (id, conversation_id, sender_id, kind, text, sent_at, position, status)
       SELECT 5000000, conversation_id, sender_id, kind, text, sent_at, position, status FROM enhanced_messages WHERE id = 150`,
    ],
    row: '5000000',
    kind: 'unfounded',
    detail: 'stands for no old row',
  },
  {
    // Its old row is missing too, and comes back in its place.
    name: 'a copy that stands for its old row no more',
    plant: [set('legacy_message_id = NULL')],
    row: DIRECT,
    kind: 'unfounded',
    detail: 'stands for no old row',
  },
  {
    name: 'a copy that is hidden, as if its old row were gone',
    plant: [set('removed_at = 1')],
    row: DIRECT,
    kind: 'differs',
    detail: 'removed_at',
  },
  {
    name: 'what is left of a removed message, with a text',
    plant: [
      `INSERT INTO enhanced_messages (id, conversation_id, sender_id, kind, text, sent_at, position, status, removed_at)
       SELECT 5000000, conversation_id, sender_id, kind, text, sent_at, position, 0, 1 FROM enhanced_messages WHERE id = 150`,
    ],
    row: '5000000',
    kind: 'tombstone',
    detail: 'has a text',
  },
  {
    name: 'what is left of a removed message, with an old row that is gone',
    plant: [
      `INSERT INTO enhanced_messages (id, conversation_id, sender_id, legacy_message_id, kind, sent_at, position, status, removed_at)
       SELECT 5000000, conversation_id, sender_id, 5000000, kind, sent_at, position, 0, 1 FROM enhanced_messages WHERE id = 150`,
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
    const { location, database } = await legacyDatabase(engine, { messages: 400 });
    await asOldApp(location, ...irregularRows(engine));
    await migrate(database);
    for (const { name, plant, row, kind, detail } of FAULTS) {
      // Each fault is planted in a transaction's image of the tables, and taken back from a copy of them.
      const [target] = await database.reader.all<{ id: number }>(
        /^-?\d+$/.test(row) ? `SELECT ${row} AS id` : `SELECT id FROM (SELECT ${row} AS id) AS t`,
      );
      await keepCopies(database);
      await database.transaction(async (transaction) => {
        for (const statement of plant) await transaction.run(statement);
        // As if it had passed capture by.
        await transaction.run('DELETE FROM changeover_queue');
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
      // And what was found can be repaired: the old table is the truth.
      const repaired = await verify(contextOf(database), { repair: true });
      const rows = new Set(result.found.map(({ legacyId }) => legacyId)).size;
      expect({ name, ...repaired }).toMatchObject({
        mismatches: 0,
        repaired: rows,
        repairs: expect.arrayContaining([
          {
            legacyId: String(target?.id),
            kind: expect.stringContaining(kind),
            did: expect.any(String),
          },
        ]),
      });
      const [listed] = await database.reader.all<{ count: number }>(
        'SELECT count(*) AS count FROM changeover_repairs',
      );
      expect(Number(listed?.count)).toBe(rows);
      await database.transaction((transaction) =>
        transaction.run('DELETE FROM changeover_repairs'),
      );
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

  describe('while the old app writes into what was compared already', () => {
    /** A database into which a row comes after the last range was read, so that no range holds it. */
    function writtenTo(database: Database, ...further: string[]): Database {
      let isWritten = false;
      return withParts(database, {
        snapshot: async (work) => {
          const result = await database.snapshot(work);
          if (isWritten) return result;
          isWritten = true;
          await database.transaction(async (transaction) => {
            await transaction.run(
              `INSERT INTO messages (id, sender_id, recipient_id, content) VALUES (-1, 1, 2, 'late')`,
            );
            for (const statement of further) await transaction.run(statement);
          });
          return result;
        },
      });
    }

    it('stays VERIFIED: the row is captured, applied, and counted', async () => {
      const database = await migrated(50);
      expect(await verify(contextOf(writtenTo(database)))).toMatchObject({
        mismatches: 0,
        legacyMessages: 51,
        migratedMessages: 51,
      });
      expect((await readState(database)).stage).toBe('VERIFIED');
      expect(await verify(contextOf(database))).toMatchObject({
        mismatches: 0,
        legacyMessages: 51,
      });
    });

    it('does not stay so when the row passes capture by', async () => {
      const database = await migrated(50);
      const written = writtenTo(database, 'DELETE FROM changeover_queue');
      const { found, mismatches } = await verify(contextOf(written));
      expect(mismatches).toBe(1);
      expect(found).toMatchObject([{ kind: 'uncounted' }]);
      expect((await readState(database)).stage).toBe('BACKFILLED');
      // Looked at again, it is a row like any other that is missing.
      expect((await verify(contextOf(database))).found).toMatchObject([
        { legacyId: '-1', kind: 'missing' },
      ]);
    });

    it('leaves rows out that are pending, and looks at them again when they were applied', async () => {
      const database = await migrated(50);
      await database.transaction(async (transaction) => {
        await transaction.run(`UPDATE messages SET content = 'edited' WHERE id IN (3, 4, 5)`);
        await transaction.run('DELETE FROM messages WHERE id = 6');
        // One that was not captured is found all the same.
        await transaction.run(`UPDATE messages SET content = 'edited too' WHERE id = 7`);
        await transaction.run('DELETE FROM changeover_queue WHERE legacy_id = 7');
      });
      const { found, mismatches } = await verify(contextOf(database));
      expect(mismatches).toBe(1);
      expect(found).toMatchObject([{ legacyId: '7', kind: 'differs' }]);
      expect(await verify(contextOf(database), { repair: true })).toMatchObject({
        mismatches: 0,
        repaired: 1,
      });
    });

    it('counts both sides when what was pending is applied: the sum holds to the row', async () => {
      const { location, database } = await legacyDatabase(engine, { messages: 400 });
      await migrate(database);
      await asOldApp(
        location,
        'DELETE FROM messages WHERE id <= 100',
        'UPDATE messages SET recipient_id = NULL, group_id = NULL WHERE id = 101',
        `INSERT INTO messages (id, sender_id, recipient_id, content) VALUES (4001, 1, 2, 'new')`,
      );
      expect(await verify(contextOf(database))).toMatchObject({
        legacyMessages: 301,
        migratedMessages: 300,
        quarantinedMessages: 1,
        mismatches: 0,
        pending: 0,
        certificate: expect.stringContaining(
          '301 legacy = 300 migrated + 1 quarantined, 0 mismatches, ids',
        ),
      });
    });

    it('is not VERIFIED while somebody holds the lease who applies nothing', async () => {
      const { location, database } = await legacyDatabase(engine, { messages: 400 });
      await migrate(database);
      const lease = await Lease.acquire(database);
      await asOldApp(
        location,
        'DELETE FROM messages WHERE id <= 100',
        `UPDATE messages SET content = 'edited' WHERE id BETWEEN 101 AND 200`,
        `INSERT INTO users (id, phone) VALUES (9001, '+4900001')`,
      );
      let snapshots = 0;
      const watched = withParts(database, {
        snapshot: (work) => {
          snapshots += 1;
          return database.snapshot(work);
        },
      });
      const { found, certificate, ...counts } = await verify(contextOf(watched));
      expect(counts).toMatchObject({
        legacyMessages: 200,
        migratedMessages: 200,
        mismatches: 201,
        pending: 200,
      });
      expect(new Set(found.map(({ kind }) => kind))).toEqual(new Set(['pending']));
      expect(certificate).toContain('201 mismatches, 200 pending and left out');
      expect((await readState(database)).stage).toBe('BACKFILLED');
      // Not one for each row.
      expect(snapshots).toBeLessThan(100);
      await lease.release(database);
      expect(await verify(contextOf(database))).toMatchObject({
        legacyMessages: 300,
        migratedMessages: 300,
        mismatches: 0,
        pending: 0,
      });
      expect((await readState(database)).stage).toBe('VERIFIED');
    });

    it('says nothing for a row that is written again before each look', async () => {
      const database = await migrated(50);
      const rewritten = withParts(database, {
        snapshot: async (work) => {
          await database.transaction((transaction) =>
            transaction.run(`UPDATE messages SET content = content || '.' WHERE id = 3`),
          );
          return database.snapshot(work);
        },
      });
      expect(await verify(contextOf(rewritten))).toMatchObject({
        legacyMessages: 49,
        migratedMessages: 49,
        mismatches: 0,
        pending: 1,
        certificate: expect.stringContaining('1 pending and left out'),
      });
      expect((await readState(database)).stage).toBe('VERIFIED');
    });

    it('puts a trigger on again that somebody took off, and voids the certificate', async () => {
      const database = await migrated(50);
      const { dialect } = database;
      await database.transaction(async (transaction) => {
        for (const statement of dialect.dropCapture('messages', 'segue_capture_messages_update'))
          await transaction.run(statement);
        await transaction.run(`UPDATE messages SET content = 'unseen' WHERE id = 3`);
      });
      expect(await restoreCapture(contextOf(database))).toEqual(['segue_capture_messages_update']);
      expect((await readState(database)).stage).toBe('BACKFILLED');
      expect((await status(database, DEFAULT_MAPPING)).certificate).toMatch(
        /VOID: capture was off/,
      );
      const { found } = await verify(contextOf(database));
      expect(found).toMatchObject([{ legacyId: '3' }]);
      expect(await verify(contextOf(database), { repair: true })).toMatchObject({ mismatches: 0 });
      expect((await status(database, DEFAULT_MAPPING)).certificate).not.toMatch(/VOID/);
    });

    it.each(['BACKFILLED', 'VERIFIED'])(
      'is not fooled by a server that puts the trigger on again before the end, from %s',
      async (stage) => {
        const database = await migrated(50);
        if (stage === 'BACKFILLED')
          await database.transaction((transaction) =>
            transaction.run(`UPDATE changeover_state SET stage = 'BACKFILLED'`),
          );
        let isOver = false;
        const disturbed = withParts(database, {
          snapshot: async (work) => {
            const result = await database.snapshot(work);
            if (isOver) return result;
            isOver = true;
            await database.transaction(async (transaction) => {
              for (const statement of database.dialect.dropCapture(
                'messages',
                'segue_capture_messages_update',
              ))
                await transaction.run(statement);
              await transaction.run(`UPDATE messages SET content = 'unseen' WHERE id = 4`);
            });
            await restoreCapture(contextOf(database));
            return result;
          },
        });
        const { found, certificate } = await verify(contextOf(disturbed));
        expect(found).toMatchObject([
          { kind: 'capture', detail: expect.stringContaining('segue_capture_messages_update') },
        ]);
        expect(certificate).toMatch(/1 mismatches.*VOID: capture was off/);
        expect((await readState(database)).stage).toBe('BACKFILLED');
        expect((await verify(contextOf(database))).found).toMatchObject([{ legacyId: '4' }]);
        expect(await verify(contextOf(database), { repair: true })).toMatchObject({
          mismatches: 0,
          certificate: expect.not.stringContaining('VOID'),
        });
      },
    );

    it('writes no certificate when the copies were taken away meanwhile', async () => {
      const database = await migrated(50);
      let isOver = false;
      const disturbed = withParts(database, {
        snapshot: async (work) => {
          const result = await database.snapshot(work);
          if (!isOver) {
            isOver = true;
            await rollback(contextOf(database), {
              to: 'EXPANDED',
              migrationsTable: EXPAND.migrationsTable,
            });
          }
          return result;
        },
      });
      await expect(verify(contextOf(disturbed))).rejects.toMatchObject({
        code: 'WRONG_STAGE',
        message: expect.stringContaining('No certificate was written'),
      });
    });

    it('finds that a trigger was taken off meanwhile', async () => {
      const database = await migrated(50);
      let isOff = false;
      const disturbed = withParts(database, {
        snapshot: async (work) => {
          if (!isOff)
            await database.transaction(async (transaction) => {
              for (const statement of database.dialect.dropCapture(
                'messages',
                'segue_capture_messages_insert',
              ))
                await transaction.run(statement);
            });
          isOff = true;
          return database.snapshot(work);
        },
      });
      const { found, mismatches } = await verify(contextOf(disturbed));
      expect(mismatches).toBe(1);
      expect(found).toMatchObject([{ kind: 'capture' }]);
      expect((await readState(database)).stage).toBe('BACKFILLED');
    });
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

  it('puts a SHA-256 of both sides into the certificate, and finds by it what differs', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 450 });
    await asOldApp(location, ...irregularRows(engine));
    await migrate(database);
    const hash = async (): Promise<string | undefined> =>
      /sha256 ([0-9a-f]{64})/.exec(
        (await verify(contextOf(database), { sha256: true })).certificate,
      )?.[1];
    const first = await hash();
    expect(first).toHaveLength(64);
    expect(await hash()).toBe(first);
    await asOldApp(location, `UPDATE messages SET content = content || ' ' WHERE id = 3002`);
    const second = await hash();
    expect(second).toHaveLength(64);
    expect(second).not.toBe(first);

    await asOldApp(location, `UPDATE enhanced_messages SET text = text || ' ' WHERE id = 333`);
    const { differing } = await digest(contextOf(database), 0);
    expect(differing).toEqual(['333']);
  });

  it('calls a certificate of yesterday stale', async () => {
    const database = await migrated(20);
    const certificate = async (): Promise<string | null> =>
      (await status(database, DEFAULT_MAPPING)).certificate;
    expect(await certificate()).not.toContain('STALE');
    const older = (seconds: number): Promise<number> =>
      database.transaction((transaction) =>
        transaction.run(
          `UPDATE changeover_certificates SET verified_at = ${database.dialect.now} - ${seconds}000000`,
        ),
      );
    await older(24 * 3600 - 60);
    expect(await certificate()).not.toContain('STALE');
    await older(24 * 3600 + 1);
    expect(await certificate()).toContain('STALE: older than 24 hours');
    await verify(contextOf(database));
    expect(await certificate()).not.toContain('STALE');
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
  'conversations',
  'enhanced_messages',
  'legacy_raw_values',
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
    await transaction.run('DELETE FROM changeover_queue');
  });
}

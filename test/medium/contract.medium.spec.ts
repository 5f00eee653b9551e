import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { oldQueriesOn } from '../../src/chat.old-queries.js';
import { applyQueued } from '../../src/changeover/apply.js';
import { type DropResult, dropOldTable, retire } from '../../src/changeover/contract.js';
import { setCutover } from '../../src/changeover/cutover.js';
import { type GateAssurances, OLD_APP_IS_GONE, readGate } from '../../src/changeover/gate.js';
import { signOff } from '../../src/changeover/quarantine.js';
import { rollback, type RollbackTarget } from '../../src/changeover/rollback.js';
import { hasTable } from '../../src/changeover/shape.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { DeprecatedCalls } from '../../src/legacy/deprecated-calls.js';
import { type App, appOn } from '../helpers/app.js';
import {
  asOldApp,
  atTheEnd,
  ENGINES,
  failingAt,
  urlOf,
  watching,
  withParts,
} from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';
import { momentsOneIn } from '../helpers/moments.js';
import { oldSideOf } from '../helpers/old-side.js';

const [ADA, BOB] = ['1', '2'] as const;
const ALL_SAID: GateAssurances = { backup: 'friday.dump', oldAppIsGone: OLD_APP_IS_GONE };
/** Days that are over at once. */
const NOW = 0;
const DAYS = 14 * 86_400;

const SEND = `mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id legacyId } }`;

async function newFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-test-'));
  atTheEnd(() => rm(folder, { recursive: true, force: true }), 'drops');
  return join(folder, 'old.jsonl');
}

describe.each(ENGINES)('the contract step on %s', (engine: EngineName) => {
  let location: DatabaseLocation;
  let database: Database;
  let app: App;
  let direct: string;

  const write = (...statements: string[]): Promise<void> =>
    database.transaction(async (transaction) => {
      for (const statement of statements) await transaction.run(statement);
    });
  const count = async (what: string): Promise<number> => {
    const [row] = await database.reader.all<{ count: number | string }>(
      `SELECT count(*) AS count FROM ${what}`,
    );
    return Number(row?.count);
  };
  const stage = async (): Promise<string> => (await readState(database)).stage;
  const send = async (clientId: string): Promise<{ id: string; legacyId: string | null }> => {
    const { sendMessage } = await app.get<{
      sendMessage: { id: string; legacyId: string | null };
    }>(ADA, SEND, { input: { conversationId: direct, clientId, text: clientId } });
    return sendMessage;
  };
  const read = (messageId: string): Promise<unknown> =>
    app.get(
      BOB,
      `mutation { markRead(conversationId: "${direct}", upToMessageId: "${messageId}") { status } }`,
    );
  const open = async (assurances: GateAssurances = ALL_SAID, quietTime = NOW): Promise<string[]> =>
    (await readGate(contextOf(database), quietTime, assurances))
      .filter(({ met }) => !met)
      .map(({ name }) => name);
  const back = (to: RollbackTarget): Promise<unknown> =>
    rollback(contextOf(database), { to, migrationsTable: EXPAND.migrationsTable });
  const toTheGate = async (): Promise<void> => {
    await applyQueued(contextOf(database));
    await verify(contextOf(database));
    await setCutover(contextOf(database), { percent: 100 });
  };
  const drop = (exportTo: string, more: object = {}): Promise<DropResult> =>
    dropOldTable(contextOf(database), NOW, { exportTo, confirm: 'CONTRACTED', ...more });

  beforeEach(async () => {
    ({ database, location } = await legacyDatabase(engine, { messages: 120 }));
    await asOldApp(
      location,
      `UPDATE messages SET recipient_id = NULL, group_id = NULL WHERE id = 50`,
    );
    await migrate(database);
    app = await appOn(database);
    const { startDirectConversation } = await app.get<{
      startDirectConversation: { id: string };
    }>(ADA, `mutation { startDirectConversation(userId: "usr_${BOB}") { id } }`);
    direct = startDirectConversation.id;
  });

  it('shows each condition, and opens when all are met', async () => {
    expect(await open({}, DAYS)).toEqual([
      'stage',
      'quarantine',
      'deprecated calls',
      'foreign writes',
      ...(engine === 'sqlite' ? ['old app'] : []),
      'backup',
    ]);
    await setCutover(contextOf(database), { percent: 100 });
    expect(await open({}, DAYS)).not.toContain('stage');
    for (const [id, reason, code] of [
      ['50', '  ', 'BAD_USER_INPUT'],
      ['51', 'why not', 'NOT_FOUND'],
      ["50' OR true", 'why not', 'NOT_FOUND'],
    ] as const)
      await expect(signOff(contextOf(database), id, reason)).rejects.toMatchObject({ code });
    await signOff(contextOf(database), '50', 'nobody knows whom it was for');
    // Counted for less than the days that are asked for.
    expect(await open(ALL_SAID, DAYS)).toEqual(['deprecated calls', 'foreign writes']);
    expect(await open()).toEqual([]);

    // Each is open again when it is not so any more.
    const calls = new DeprecatedCalls();
    calls.note('messages', 'an old client 1.0');
    await calls.flush(database);
    expect(await open(ALL_SAID, 60)).toContain('deprecated calls');
    const [condition] = (await readGate(contextOf(database), 60, ALL_SAID)).filter(
      ({ name }) => name === 'deprecated calls',
    );
    expect(condition?.detail).toMatch(/^the last one 20.*, messages by an old client 1\.0/);

    await asOldApp(location, `UPDATE messages SET content = 'anew' WHERE id = 60`);
    expect(await open()).toEqual(['queues drained']);
    await applyQueued(contextOf(database));
    expect(await open()).toEqual([]);
    expect(await open(ALL_SAID, 60)).toContain('foreign writes');

    if (engine === 'postgres') {
      const session = new pg.Client({
        connectionString: urlOf(location),
        application_name: 'an old app',
      });
      await session.connect();
      const found = await readGate(contextOf(database), NOW, ALL_SAID);
      await session.end();
      expect(found.filter(({ met }) => !met)).toEqual([
        {
          name: 'foreign sessions',
          met: false,
          detail: expect.stringMatching(/^1 an old app of \w+: end them/),
        },
      ]);
      while ((await open()).length > 0) await sleep(20);
    }
    await asOldApp(
      location,
      `UPDATE messages SET recipient_id = NULL, group_id = NULL WHERE id = 61`,
    );
    await applyQueued(contextOf(database));
    expect(await open()).toEqual(['quarantine']);
    await signOff(contextOf(database), '61', 'so too');
    await write(`UPDATE changeover_certificates SET verified_at = verified_at - 90000000000`);
    expect(await open()).toEqual(['verified within 24 hours']);
    await expect(retire(contextOf(database), NOW, ALL_SAID)).rejects.toMatchObject({
      code: 'GATE_CLOSED',
      message: expect.stringMatching(/verified within 24 hours .*STALE/),
    });
    expect(await stage()).toBe('COMPLETE');
    expect(await hasTable(database, 'messages')).toBe(true);
  }, 60_000);

  it('counts whose writes are not ours, and none of ours', async () => {
    const foreign = async (): Promise<number> => {
      await applyQueued(contextOf(database));
      return (await readState(database)).foreignWrites;
    };
    expect(await foreign()).toBe(0);
    const one = await send('one');
    await read(one.id);
    expect(await count(`messages WHERE status = 'read' AND content = 'one'`)).toBe(1);
    expect(await foreign()).toBe(0);
    // An old trigger that changes what is inserted is none of the old app's writes.
    await asOldApp(
      location,
      ...(engine === 'sqlite'
        ? [
            `CREATE TRIGGER shout AFTER INSERT ON messages BEGIN UPDATE messages SET content = upper(content) WHERE id = NEW.id; END`,
          ]
        : [
            `CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.content := upper(NEW.content); RETURN NEW; END $$`,
            'CREATE TRIGGER shout BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION shout()',
          ]),
    );
    await send('two');
    expect(await count(`messages WHERE content = 'TWO'`)).toBe(1);
    expect(await foreign()).toBe(0);
    await asOldApp(
      location,
      `UPDATE messages SET content = 'by the old app' WHERE id = ${String(one.legacyId)}`,
      `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at) VALUES (1, 2, 'too', 'text', 'sent', '2026-01-01 00:00:00')`,
      `DELETE FROM messages WHERE id = 5`,
    );
    // An entry each, and one for what the trigger does.
    expect(await foreign()).toBeGreaterThanOrEqual(2);
    expect((await readState(database)).foreignWrittenAt).toBeGreaterThan(
      (Date.now() - 600_000) * 1_000,
    );
  });

  it('puts the old table away while people write, and gives it back with nothing missing', async () => {
    const before = await oldSideOf(database);
    await signOff(contextOf(database), '50', 'nobody knows whom it was for');
    await toTheGate();
    const old = await oldQueriesOn(
      { legacyReads: 'cutover', mapping: DEFAULT_MAPPING },
      database,
      'COMPLETE',
      (message) => {
        throw new Error(message);
      },
    );
    const viewer = { id: ADA, phone: '' };
    const asked = await old.service.messages(viewer, 1, 2, 100, 0);

    // Three at a time, all the while.
    const sent: { id: string; legacyId: string | null }[] = [];
    let isOver = false;
    const writers = [1, 2, 3].map(async (writer) => {
      for (let n = 1; !isOver || n < 5; n += 1) {
        const message = await send(`writer ${writer}, ${n}`);
        sent.push(message);
        if (n % 3 === 0) await read(message.id);
        await sleep(5);
        if (writer === 1) await old.service.messages(viewer, 1, 2, 100, 0);
      }
    });
    const retiring = (async () => {
      for (;;)
        try {
          return await retire(contextOf(database), NOW, ALL_SAID);
        } catch (error) {
          // Of the others nobody drains the queue here.
          if ((error as { code?: string }).code !== 'GATE_CLOSED') throw error;
          await applyQueued(contextOf(database));
        }
    })();
    expect(await retiring).toEqual({ stage: 'CONTRACTED', table: 'messages_retired' });
    await sleep(100);
    isOver = true;
    await Promise.all(writers);
    expect(await hasTable(database, 'messages')).toBe(false);
    await expect(
      asOldApp(location, `INSERT INTO messages (sender_id, recipient_id) VALUES (1, 2)`),
    ).rejects.toThrow(/messages/);
    expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
      stage: 'CONTRACTED',
      legacyMessages: 120 + sent.length,
      retiredAt: expect.any(String),
    });
    // Old clients are answered on, and have all that was sent.
    expect(await old.service.messages(viewer, 1, 2, 1_000, 0)).toHaveLength(
      Math.min(asked.length + sent.length, 1_000),
    );
    expect(await old.service.message(viewer, 50)).toBeNull();

    const later = await send('while it is away');
    await read(later.id);
    expect(later.legacyId).toMatch(/^\d+$/);
    expect(
      await count(`messages_retired WHERE content = 'while it is away' AND status = 'read'`),
    ).toBe(1);
    await expect(verify(contextOf(database))).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    await expect(retire(contextOf(database), NOW, ALL_SAID)).rejects.toMatchObject({
      code: 'WRONG_STAGE',
    });

    expect(await back('COMPLETE')).toMatchObject({ from: 'CONTRACTED', stage: 'COMPLETE' });
    expect((await status(database, DEFAULT_MAPPING)).certificate).toContain('VOID');
    expect(await verify(contextOf(database))).toMatchObject({
      mismatches: 0,
      legacyMessages: 121 + sent.length,
      quarantinedMessages: 1,
    });
    expect(await stage()).toBe('COMPLETE');
    // What is written is captured again.
    await asOldApp(location, `UPDATE messages SET content = 'captured' WHERE id = 60`);
    expect(await count(`changeover_queue WHERE legacy_id = 60`)).toBe(1);
    await applyQueued(contextOf(database));
    await old.stop();
    const after = await oldSideOf(database);
    expect(Object.keys(after.rows)).toEqual(Object.keys(before.rows));
  }, 120_000);

  it('leads back to every earlier stage from there, with all that was made', async () => {
    await signOff(contextOf(database), '50', 'so');
    for (const to of ['VERIFIED', 'LEGACY'] as const) {
      await toTheGate();
      await retire(contextOf(database), NOW, ALL_SAID);
      await send(`before ${to}`);
      await back(to);
      expect(await stage()).toBe(to);
      expect(await count(`messages WHERE content = 'before ${to}'`)).toBe(1);
      if (to === 'LEGACY') expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    }
  });

  it('drops the old table when its time has come, and all of it stands in a file', async () => {
    await signOff(contextOf(database), '50', 'so');
    await send('one');
    await toTheGate();
    const file = await newFile();
    await expect(drop(file)).rejects.toMatchObject({ code: 'WRONG_STAGE' });
    await retire(contextOf(database), NOW, ALL_SAID);
    await send('two');
    for (const [more, quietTime, code] of [
      [{ confirm: undefined }, NOW, 'BAD_USER_INPUT'],
      [{ confirm: 'contracted' }, NOW, 'BAD_USER_INPUT'],
      [{}, DAYS, 'GATE_CLOSED'],
    ] as const)
      await expect(
        dropOldTable(contextOf(database), quietTime, {
          exportTo: file,
          confirm: 'CONTRACTED',
          ...more,
        }),
      ).rejects.toMatchObject({ code });
    expect((await readState(database)).sealedAt).toBeNull();

    const old = await database.reader.all<{ id: number; content: string }>(
      'SELECT id, content FROM messages_retired ORDER BY id',
    );
    const result = await drop(file, { dropColumns: true });
    expect(result).toEqual({ stage: 'CONTRACTED', exported: 122, columnsLeft: [] });
    const lines = (await readFile(file, 'utf8')).trim().split('\n');
    expect(
      lines
        .map((line) => JSON.parse(line) as Record<string, { text: string } | null>)
        .map((row) => [row.id?.text, row.content?.text]),
    ).toEqual(old.map(({ id, content }) => [String(id), content]));
    expect(await hasTable(database, 'messages_retired')).toBe(false);
    const { added } = await oldSideOf(database).catch(() => ({ added: {} }));
    expect(added).toEqual({});
    await expect(back('COMPLETE')).rejects.toMatchObject({ code: 'WRONG_STAGE' });

    // The chat goes on by itself: what was there is there, and what comes has no old row.
    const three = await send('three');
    await read(three.id);
    expect(three.legacyId).toBeNull();
    const alone = await oldQueriesOn(
      { legacyReads: 'cutover', mapping: DEFAULT_MAPPING },
      database,
      'CONTRACTED',
      () => undefined,
    );
    const shown = await alone.service.messages({ id: ADA, phone: '' }, 1, 2, 100, 0);
    expect(shown.map(({ content }) => content).slice(-2)).toEqual(['one', 'two']);
    expect((await readGate(contextOf(database), NOW)).map(({ detail }) => detail)).toEqual([
      'CONTRACTED: there is no old side any more',
    ]);
  });

  it('comes to one end wherever it is cut off', async () => {
    await signOff(contextOf(database), '50', 'so');
    await send('one');
    await toTheGate();
    const messages = await count('messages');
    let cut = 0;
    for (const statement of momentsOneIn(engine === 'postgres' ? 7 : 5)) {
      const ways: [(on: Database) => Promise<unknown>, string][] = [
        [(on) => retire(contextOf(on), NOW, ALL_SAID), 'CONTRACTED'],
        [
          (on) =>
            rollback(contextOf(on), { to: 'COMPLETE', migrationsTable: EXPAND.migrationsTable }),
          'COMPLETE',
        ],
      ];
      let ended = 0;
      for (const [way, leadsTo] of ways) {
        if (leadsTo === 'CONTRACTED') await verify(contextOf(database));
        try {
          await way(failingAt(database, statement));
          ended += 1;
        } catch (error) {
          expect(String(error)).toContain('planted crash');
          cut += 1;
          if ((await stage()) !== leadsTo) await way(database);
        }
        expect(await stage()).toBe(leadsTo);
        expect(await count(leadsTo === 'CONTRACTED' ? 'messages_retired' : 'messages')).toBe(
          messages,
        );
      }
      if (ended === ways.length) break;
    }
    expect(cut).toBeGreaterThan(6);
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });

    await retire(contextOf(database), NOW, ALL_SAID);
    for (const statement of momentsOneIn(4)) {
      try {
        await dropOldTable(contextOf(failingAt(database, statement)), NOW, {
          exportTo: await newFile(),
          confirm: 'CONTRACTED',
        });
        break;
      } catch (error) {
        expect(String(error)).toContain('planted crash');
        expect(await count('messages_retired').catch(() => -1)).toBe(
          (await hasTable(database, 'messages_retired')) ? messages : -1,
        );
        if (!(await hasTable(database, 'messages_retired'))) break;
      }
    }
    // From its first transaction on there is no way back, and it is finished by the same call.
    expect(await hasTable(database, 'messages_retired')).toBe(false);
    expect((await send('after')).legacyId).toBeNull();
  }, 120_000);

  it('takes along every column of the old table, also those that nobody mapped', async () => {
    await asOldApp(
      location,
      'ALTER TABLE messages ADD COLUMN "attached To" text',
      `UPDATE messages SET "attached To" = 'photo.jpg' WHERE id = 7`,
    );
    await signOff(contextOf(database), '50', 'so');
    await toTheGate();
    await retire(contextOf(database), NOW, ALL_SAID);
    const file = await newFile();
    await drop(file);
    const rows = (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, { text: string } | null>);
    expect(rows.find(({ id }) => id?.text === '7')?.['attached To']?.text).toBe('photo.jpg');
    expect(rows.find(({ id }) => id?.text === '8')?.['attached To']).toBeNull();
    expect(Object.keys(rows[0] ?? {})).toContain('conversation_id');
  });

  it('leaves the way back open while the file cannot be written', async () => {
    await signOff(contextOf(database), '50', 'so');
    await toTheGate();
    await retire(contextOf(database), NOW, ALL_SAID);
    const file = await newFile();
    await writeFile(file, 'precious');
    for (const path of [file, join(file, 'below a file'), '/nowhere/at/all/old.jsonl'])
      await expect(drop(path)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await readFile(file, 'utf8')).toBe('precious');
    expect((await readState(database)).sealedAt).toBeNull();
    await send('still mirrored');
    expect(await count(`messages_retired WHERE content = 'still mirrored'`)).toBe(1);
    expect(await back('COMPLETE')).toMatchObject({ stage: 'COMPLETE' });
  });

  it('goes on with the same file where a drop was ended while it wrote that', async () => {
    await signOff(contextOf(database), '50', 'so');
    await toTheGate();
    await retire(contextOf(database), NOW, ALL_SAID);
    const file = await newFile();
    let reads = 0;
    const ended = watching(database, (sql, parameters) => {
      if (sql.includes('FROM "messages_retired" m WHERE') && (reads += 1) === 2)
        throw new Error('planted crash');
      return parameters;
    });
    await expect(
      dropOldTable(contextOf(ended), NOW, { exportTo: file, confirm: 'CONTRACTED' }),
    ).rejects.toThrow('planted crash');
    expect((await readState(database)).sealedAt).not.toBeNull();
    expect(await drop(file)).toMatchObject({ exported: 120 });
    expect((await readFile(file, 'utf8')).trim().split('\n')).toHaveLength(120);
  });

  it('says so when the queues are never empty, and changes nothing', async () => {
    await signOff(contextOf(database), '50', 'so');
    await toTheGate();
    let tries = 0;
    const filled = withParts(database, {
      restructure: async (work) => {
        tries += 1;
        await write(
          `INSERT INTO changeover_queue (source, legacy_id, queued_at) VALUES ('mirrors', 7, 1)`,
        );
        return database.restructure(work);
      },
    });
    await expect(retire(contextOf(filled), NOW, ALL_SAID)).rejects.toMatchObject({
      code: 'GATE_CLOSED',
      message: expect.stringContaining('The queues were filled'),
    });
    expect(tries).toBe(10);
    expect(await stage()).toBe('COMPLETE');
    expect(await hasTable(database, 'messages')).toBe(true);
    await applyQueued(contextOf(database));
    await retire(contextOf(database), NOW, ALL_SAID);
  });

  it('drops nothing that does not stand in the file', async () => {
    await signOff(contextOf(database), '50', 'so');
    await toTheGate();
    await retire(contextOf(database), NOW, ALL_SAID);
    const file = await newFile();
    let restructured = 0;
    const disturbed = withParts(database, {
      restructure: async (work) => {
        restructured += 1;
        await asOldApp(
          location,
          `INSERT INTO messages_retired (sender_id, recipient_id) VALUES (1, 2)`,
        );
        return database.restructure(work);
      },
    });
    await expect(
      dropOldTable(contextOf(disturbed), NOW, { exportTo: file, confirm: 'CONTRACTED' }),
    ).rejects.toMatchObject({
      code: 'WOULD_LOSE_ROWS',
      message: expect.stringContaining('121 rows and 120 stand in'),
    });
    expect(restructured).toBe(1);
    expect(await hasTable(database, 'messages_retired')).toBe(true);
    await expect(drop(file)).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await drop(await newFile())).toMatchObject({ exported: 121 });
  });

  it('does not take a name that somebody else has', async () => {
    await signOff(contextOf(database), '50', 'so');
    await toTheGate();
    await asOldApp(location, 'CREATE TABLE messages_retired (theirs INTEGER)');
    await expect(retire(contextOf(database), NOW, ALL_SAID)).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    await asOldApp(location, 'DROP TABLE messages_retired');
    await retire(contextOf(database), NOW, ALL_SAID);
    await asOldApp(location, 'CREATE TABLE messages (theirs INTEGER)');
    await expect(back('COMPLETE')).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    await asOldApp(location, 'DROP TABLE messages');
    await back('COMPLETE');
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  });
});

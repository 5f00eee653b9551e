import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { applyQueued } from '../../src/changeover/apply.js';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import {
  rollback,
  type RollbackOptions,
  type RollbackResult,
} from '../../src/changeover/rollback.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { findZone } from '../../src/config/zone.js';
import type { Database } from '../../src/database/database.js';
import { type App, appOn } from '../helpers/app.js';
import { asOldApp, atTheEnd, ENGINES, failingAt, open, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';
import { momentsOneIn } from '../helpers/moments.js';
import { oldSideOf } from '../helpers/old-side.js';

const [ADA, BOB, EVE] = ['1', '2', '3'] as const;

const MADE = `mutation ($ada: SendMessageInput!) { sendMessage(input: $ada) { id legacyId } }`;

/** What somebody sees of all his conversations, but for what a clock says. */
const ALL = `{ conversations(first: 50) { edges { node { id kind name title unreadCount isMarkedUnread createdBy { id }
  participants(first: 50) { edges { node { user { id } role } } }
  messages(first: 100) { edges { node { id legacyId clientId kind text status sentAt sender { id } replyTo { id }
    receipts(first: 10) { edges { node { status at user { id } } } } } } } } } } }`;

const EVENTS = `subscription ($after: String) { events(after: $after) { __typename cursor
  ... on MessageAdded { message { id text } } ... on MessageChanged { message { id text } }
  ... on MessageRemoved { messageId } } }`;

interface Told {
  readonly __typename: string;
  readonly message?: { readonly id: string; readonly text: string };
  readonly messageId?: string;
}

type Wish = Partial<RollbackOptions>;

function back(database: Database, wish: Wish = {}): Promise<RollbackResult> {
  return rollback(contextOf(database), {
    to: 'LEGACY',
    migrationsTable: EXPAND.migrationsTable,
    ...wish,
  });
}

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-test-'));
  atTheEnd(() => rm(folder, { recursive: true, force: true }), 'drops');
  return folder;
}

describe.each(ENGINES)('a new side with things of its own, on %s', (engine) => {
  let location: DatabaseLocation;
  let database: Database;
  let app: App;
  let [direct, group, silent] = ['', '', ''];
  /** What was sent, in order: its id in the API, and the old row's. */
  let sent: { id: string; legacyId: string }[];

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

  const send = async (
    conversationId: string,
    clientId: string,
    more: object = {},
  ): Promise<{ id: string; legacyId: string }> => {
    const { sendMessage } = await app.get<{ sendMessage: { id: string; legacyId: string } }>(
      ADA,
      MADE,
      { ada: { conversationId, clientId, text: `text of ${clientId}`, ...more } },
    );
    return sendMessage;
  };

  /** What three people see. Who asks next asks a server that has begun since. */
  const seen = async (): Promise<unknown[]> => {
    const views: unknown[] = [];
    for (const who of [ADA, BOB, EVE]) views.push(await app.get(who, ALL));
    return views;
  };

  async function legacyRows(): Promise<unknown> {
    return (await oldSideOf(database)).rows;
  }

  async function expectWhole(): Promise<void> {
    expect(await verify(contextOf(database))).toMatchObject({
      mismatches: 0,
      legacyMessages: await count('messages'),
    });
    const { stage, keptSince, migrated, quarantined } = await readState(database);
    expect({ stage, keptSince }).toEqual({ stage: 'VERIFIED', keptSince: null });
    // The books count what the tables hold.
    expect({ migrated, quarantined }).toEqual({
      migrated: await count(
        'enhanced_messages WHERE legacy_message_id IS NOT NULL AND NOT made_here',
      ),
      quarantined: await count('changeover_quarantine'),
    });
    expect(await count('known_accounts')).toBe(0);
    expect(await status(database, DEFAULT_MAPPING, { fromBooks: true })).toMatchObject({
      legacyMessages: await count('messages'),
      migratedMessages: (await count('messages')) - quarantined,
    });
  }

  /** Events that somebody is told after a cursor, up to the one of the text. */
  async function toldUpTo(who: string, after: string, text: string): Promise<Told[]> {
    const stream = await app.follow(who, EVENTS, { after });
    const events: Told[] = [];
    try {
      while (events.at(-1)?.message?.text !== text) {
        const next = await stream.next();
        if (next.done === true) throw new Error('The stream has ended');
        events.push((next.value.data as { events: Told }).events);
      }
      return events;
    } finally {
      await stream.return(undefined);
    }
  }

  beforeEach(async () => {
    ({ database, location } = await legacyDatabase(engine, { messages: 60 }));
    await asOldApp(
      location,
      `UPDATE messages SET group_id = NULL, recipient_id = NULL WHERE id = 9`,
      `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at) VALUES (1, 2, 'long ago', 'text', 'read', '2019-01-01 00:00:00')`,
    );
    await migrate(database);
    app = await appOn(database);
    const made = await app.get<Record<'direct' | 'group' | 'silent', { id: string }>>(
      ADA,
      `mutation { direct: startDirectConversation(userId: "usr_${BOB}") { id }
        group: createGroup(input: { name: "Friends", participantIds: ["usr_${BOB}", "usr_${EVE}"] }) { id }
        silent: createGroup(input: { name: "Nobody has said a word", participantIds: ["usr_${EVE}"] }) { id } }`,
    );
    [direct, group, silent] = [made.direct.id, made.group.id, made.silent.id];
    sent = [await send(direct, 'one'), await send(group, 'two')];
    sent.push(await send(direct, 'three', { replyToId: sent[0]?.id }));
    await app.get(
      BOB,
      `mutation { markRead(conversationId: "${direct}", upToMessageId: "${sent[2]?.id}") { status }
        markDelivered(conversationId: "${group}", upToMessageId: "${sent[1]?.id}") { status } }`,
    );
    await app.get(EVE, `mutation { leaveConversation(id: "${group}") { conversationId } }`);
    await applyQueued(contextOf(database));
  });

  it('keeps it on the way back, says so, and has it again on the way forward', async () => {
    const before = await seen();
    const rows = await legacyRows();
    for (const to of ['EXPANDED', 'LEGACY', 'EXPANDED', 'LEGACY'] as const) {
      const result = await back(database, { to });
      expect(result).toMatchObject({ from: 'VERIFIED', stage: to, messages: 0, purged: false });
      expect(result.kept.map(({ what, count: some }) => [what.split(' (')[0], some])).toEqual([
        ["messages that were sent here, whose mirrors do not hold their clients' ids", 3],
        ['receipts', 2],
        ['names and pictures of conversations', 2],
        // Ada and Bob had written to each other before.
        ['conversations that were made here', 2],
        ['answers to a message', 1],
        ['people who joined or left a conversation', 4],
      ]);
      // The old table is as it was, and has all that was sent.
      expect(await legacyRows()).toEqual(rows);
      const old = await oldSideOf(database);
      expect(old.added['messages.conversation_id']).toBe(0);
      expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
        stage: to,
        legacyMessages: 64,
        migratedMessages: 0,
        quarantinedMessages: 0,
        pendingMirrors: 0,
        certificate: null,
        keptSince: expect.stringMatching(/^20\d\d-.*Z$/),
      });
      app = await appOn(database);
      expect(await app.ask(ADA, ALL)).toMatchObject({ code: 'NOT_EXPANDED' });

      expect(await migrate(database)).toMatchObject({ mismatches: 0, migratedMessages: 63 });
      await expectWhole();
      app = await appOn(database);
      expect(await seen()).toEqual(before);
      // Sent again, it is the same message.
      expect(await send(direct, 'one')).toEqual(sent[0]);
      expect(await legacyRows()).toEqual(rows);
    }
    // Nobody was told anything: nothing was changed meanwhile.
    expect(
      await count(
        `events WHERE id > (SELECT max(joined_event) FROM conversation_participants) AND kind = 'MessageChanged'`,
      ),
    ).toBe(0);
    expect(silent).toMatch(/^conv_/);
  });

  it.each(['LEGACY', 'EXPANDED'] as const)(
    'finds what the old app did while it was at %s, doubles nothing, and tells of each once',
    async (to) => {
      const { eventCursor } = await app.get<{ eventCursor: string }>(BOB, '{ eventCursor }');
      const [one, , three] = sent.map(({ legacyId }) => legacyId);
      await back(database, { to });
      await asOldApp(
        location,
        // Before what Bob has read, by its time: it goes behind that all the same.
        `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at) VALUES (1, 2, 'came meanwhile', 'text', 'sent', '2001-01-01 00:00:00')`,
        `UPDATE messages SET content = 'said otherwise' WHERE id = ${String(one)}`,
        `UPDATE messages SET content = 'so too' WHERE content = 'long ago'`,
        `DELETE FROM messages WHERE id = ${String(three)}`,
        `DELETE FROM messages WHERE id IN (1, 7)`,
        // One that could not be moved can be now, and another one cannot any more.
        `UPDATE messages SET recipient_id = 5, sender_id = 4 WHERE id = 9`,
        `UPDATE messages SET recipient_id = NULL, group_id = NULL WHERE id = 10`,
        `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at) VALUES (2, 11, 'to somebody new', 'text', 'sent', '2026-01-01 00:00:00')`,
      );
      const old = await count('messages');
      expect(await migrate(database)).toMatchObject({ mismatches: 0, legacyMessages: old });
      await expectWhole();
      expect(
        (await database.reader.all(`SELECT legacy_id FROM changeover_quarantine`)).length,
      ).toBe(1);

      app = await appOn(database);
      await send(direct, 'mark');
      const events = await toldUpTo(BOB, eventCursor, 'text of mark');
      const texts = (kind: string): (string | undefined)[] =>
        events.filter((event) => event.__typename === kind).map((event) => event.message?.text);
      expect(texts('MessageAdded').sort()).toEqual([
        'came meanwhile',
        'text of mark',
        'to somebody new',
      ]);
      expect(texts('MessageChanged').sort()).toEqual(['said otherwise', 'so too']);
      expect(
        events.filter(({ __typename }) => __typename === 'MessageRemoved').map((e) => e.messageId),
      ).toEqual(expect.arrayContaining([sent[2]?.id]));
      expect(texts('ResyncRequired')).toEqual([]);

      const { conversation } = await app.get<{
        conversation: {
          unreadCount: number;
          messages: { edges: { node: { text: string; status: string; replyTo: unknown } }[] };
        };
      }>(
        BOB,
        `{ conversation: node(id: "${direct}") { ... on Conversation { unreadCount
            messages(last: 3) { edges { node { text status } } } } } }`,
      );
      expect(conversation.messages.edges.map(({ node }) => node)).toEqual([
        // What he had read is read.
        { text: 'said otherwise', status: 'READ' },
        { text: 'came meanwhile', status: 'SENT' },
        { text: 'text of mark', status: 'SENT' },
      ]);
      expect(conversation.unreadCount).toBe(2);
      // A client's id is used for ever, though its message is gone.
      await expect(send(direct, 'one', { text: 'another' })).rejects.toThrow(
        'IDEMPOTENCY_CONFLICT',
      );
    },
  );

  it('gives no thread to who got the id of an account while nothing was captured', async () => {
    if (engine === 'postgres')
      for (const { name } of await database.reader.all<{ name: string }>(
        `SELECT conname AS name FROM pg_constraint WHERE conrelid = 'messages'::regclass AND contype = 'f'`,
      ))
        await asOldApp(location, `ALTER TABLE messages DROP CONSTRAINT "${name}"`);
    const off = engine === 'sqlite' ? ['PRAGMA foreign_keys = OFF'] : [];
    await back(database);
    await asOldApp(
      location,
      ...off,
      // Bob's id is somebody else's; Eve went and came back.
      `DELETE FROM users WHERE id = ${BOB}`,
      `INSERT INTO users (id, phone) VALUES (${BOB}, '0700 stranger')`,
      `CREATE TABLE eve AS SELECT * FROM users WHERE id = ${EVE}`,
      `DELETE FROM users WHERE id = ${EVE}`,
      `INSERT INTO users SELECT * FROM eve`,
    );
    // Forward a little, and back again: whose the accounts were before the first time is what counts.
    await expand(contextOf(database), EXPAND);
    await back(database);
    await migrate(database);
    app = await appOn(database);
    const listed = async (who: string): Promise<string[]> => {
      const { conversations } = await app.get<{
        conversations: { edges: { node: { id: string } }[] };
      }>(who, '{ conversations(first: 50) { edges { node { id } } } }');
      return conversations.edges.map(({ node }) => node.id);
    };
    expect(await listed(BOB)).toEqual([]);
    expect(await listed(EVE)).toContain(silent);
    expect(await listed(ADA)).toEqual(expect.arrayContaining([direct, group, silent]));
  });

  it('has each message in the old table that was acknowledged while it went back', async () => {
    const acknowledged: string[] = [];
    const sending = (async () => {
      // Until it is refused: the new side is not served any more.
      for (let n = 1; ; n += 1) {
        const { code, data } = await app.ask(ADA, MADE, {
          ada: { conversationId: direct, clientId: `during ${n}`, text: `during ${n}` },
        });
        if (code === 'NOT_EXPANDED') return;
        if (code !== null) throw new Error(code);
        acknowledged.push((data as { sendMessage: { legacyId: string } }).sendMessage.legacyId);
      }
    })();
    const [result] = await Promise.all([back(database), sending]);
    expect(acknowledged.length).toBeGreaterThan(0);
    expect(new Set(acknowledged).size).toBe(acknowledged.length);
    expect(await count(`messages WHERE content LIKE 'during %'`)).toBe(acknowledged.length);
    expect(result.kept[0]?.count).toBe(3 + acknowledged.length);
    await migrate(database);
    await expectWhole();
  });

  it('writes receipts on all of their old rows before it lies aside', async () => {
    await write(
      engine === 'sqlite'
        ? `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             SELECT 1, 2, 'many ' || i, 'text', 'sent', '2024-01-01 00:00:00' FROM n`
        : `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at)
             SELECT 1, 2, 'many ' || i, 'text', 'sent', '2024-01-01 00:00:00' FROM generate_series(1, 5000) AS i`,
    );
    await applyQueued(contextOf(database));
    const last = await send(direct, 'the last');
    await app.get(
      BOB,
      `mutation { markRead(conversationId: "${direct}", upToMessageId: "${last.id}") { status } }`,
    );
    expect(await count('receipt_mirrors')).toBe(1);
    expect(await count(`messages WHERE content LIKE 'many %' AND status = 'sent'`)).toBeGreaterThan(
      2_000,
    );
    await back(database);
    expect(await count('receipt_mirrors')).toBe(0);
    expect(await count(`messages WHERE content LIKE 'many %' AND status <> 'read'`)).toBe(0);
    await migrate(database);
    await expectWhole();
  });

  it('comes to the same wherever the way back or forward is cut off', async () => {
    const before = await seen();
    const rows = await legacyRows();
    const forward = async (on: Database): Promise<void> => {
      await expand(contextOf(on), EXPAND);
      await backfill(contextOf(on));
    };
    const ways: [name: string, way: (on: Database) => Promise<unknown>][] = [
      ['back to LEGACY', (on) => back(on)],
      ['forward', forward],
      ['back to EXPANDED', (on) => back(on, { to: 'EXPANDED' })],
      ['forward', forward],
    ];
    let cut = 0;
    for (const statement of momentsOneIn(engine === 'postgres' ? 17 : 9)) {
      let ended = 0;
      for (const [name, way] of ways) {
        if (name.startsWith('back')) await verify(contextOf(database));
        const { stage } = await readState(database);
        try {
          await way(failingAt(database, statement));
          ended += 1;
        } catch (error) {
          expect(String(error)).toContain('planted crash');
          cut += 1;
          expect(await legacyRows()).toEqual(rows);
          // By hand again: to the end, unless it had come there.
          const now = (await readState(database)).stage;
          if (name === 'forward') await forward(database);
          else if (
            now === stage ||
            (await readState(database)).lowId !== null ||
            name.endsWith('LEGACY')
          )
            await way(database).catch((refused: unknown) => {
              expect(refused).toMatchObject({ code: 'WRONG_STAGE' });
            });
        }
      }
      app = await appOn(database);
      await expectWhole();
      expect(await seen()).toEqual(before);
      if (ended === ways.length) break;
    }
    expect(cut).toBeGreaterThan(20);
  }, 1_200_000);

  it('is back from the way forward, and forward again', async () => {
    const before = await seen();
    await back(database);
    await expand(contextOf(database), EXPAND);
    // Cut off when its rows are compared.
    const cutOff = {
      ...contextOf(database),
      report: ({ step }: { step: string }): void => {
        if (step === 'messages') throw new Error('planted crash');
      },
    };
    await expect(backfill(cutOff)).rejects.toThrow('planted crash');
    expect(await readState(database)).toMatchObject({ stage: 'BACKFILLING' });
    const kept = (await readState(database)).keptSince;
    expect(await back(database)).toMatchObject({
      from: 'BACKFILLING',
      stage: 'LEGACY',
      messages: 0,
    });
    expect((await readState(database)).keptSince).toBe(kept);
    await migrate(database);
    app = await appOn(database);
    await expectWhole();
    expect(await seen()).toEqual(before);
  });

  it('is not dropped unless it is taken along in a file', async () => {
    for (const from of ['VERIFIED', 'LEGACY']) {
      await expect(back(database, { purge: true })).rejects.toMatchObject({
        code: 'WOULD_LOSE_ROWS',
        message: expect.stringContaining('--export FILE'),
      });
      expect((await readState(database)).stage).toBe(from);
      if (from === 'VERIFIED') await back(database);
    }
    const folder = await emptyFolder();
    const taken = join(folder, 'taken.jsonl');
    await writeFile(taken, 'precious');
    await expect(back(database, { purge: true, exportTo: taken })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      message: expect.stringContaining('not there yet'),
    });
    expect(await readFile(taken, 'utf8')).toBe('precious');
    await expect(back(database, { exportTo: taken })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
    });

    const file = join(folder, 'kept.jsonl');
    expect(await back(database, { purge: true, exportTo: file })).toMatchObject({
      purged: true,
      kept: expect.arrayContaining([{ what: 'receipts (message_status)', count: 2 }]),
    });
    const lines = (await readFile(file, 'utf8')).trim().split('\n');
    const exported = lines.map(
      (line) => JSON.parse(line) as { table: string; row: Record<string, string | null> },
    );
    const of = (table: string): Record<string, string | null>[] =>
      exported.filter((line) => line.table === table).map(({ row }) => row);
    expect(of('message_status')).toHaveLength(2);
    expect(of('conversations').map(({ name }) => name)).toEqual(
      expect.arrayContaining(['Friends', 'Nobody has said a word']),
    );
    expect(of('enhanced_messages').map((row) => [row.client_id, row.text])).toEqual(
      ['one', 'two', 'three'].map((id) => [id, `text of ${id}`]),
    );
    expect(of('enhanced_messages').at(-1)?.reply_to_id).toBe(sent[0]?.legacyId);
    // All of it can go forward anew, as an old database.
    expect(await migrate(database)).toMatchObject({ mismatches: 0, legacyMessages: 64 });
  });

  it('is purged on the way from VERIFIED in one go, with its file', async () => {
    const file = join(await emptyFolder(), 'kept.jsonl');
    const rows = await legacyRows();
    expect(await back(database, { purge: true, dropColumns: true, exportTo: file })).toMatchObject({
      from: 'VERIFIED',
      purged: true,
      columnsLeft: [],
    });
    expect((await readFile(file, 'utf8')).split('\n').length).toBeGreaterThan(10);
    expect(await legacyRows()).toEqual(rows);
  });

  it('finds what was altered on it while it lay aside, and rows that nobody has told of', async () => {
    await back(database, { to: 'EXPANDED' });
    const old = await legacyRows();
    await write(
      `UPDATE enhanced_messages SET text = 'Altered' WHERE id = 12`,
      `DELETE FROM enhanced_messages WHERE id = 13`,
      `UPDATE enhanced_messages SET sent_at = sent_at + 500000 WHERE id = 14`,
      // Passes capture by.
      `UPDATE messages SET content = 'passed by' WHERE id = 15`,
      `DELETE FROM messages WHERE id = 16`,
      'DELETE FROM changeover_queue',
    );
    expect(await legacyRows()).not.toEqual(old);
    expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    await expectWhole();
    expect(await database.reader.all('SELECT text FROM enhanced_messages WHERE id = 15')).toEqual([
      { text: 'passed by' },
    ]);
  });

  it('goes back over what the old app has deleted and nobody has applied yet', async () => {
    await asOldApp(location, `DELETE FROM messages WHERE id IN (3, ${String(sent[0]?.legacyId)})`);
    expect(await back(database)).toMatchObject({ stage: 'LEGACY' });
    expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    await expectWhole();
    expect(
      await count(`enhanced_messages WHERE client_id = 'one' AND removed_at IS NOT NULL`),
    ).toBe(1);
  });

  it('does not go back while a message has no old row', async () => {
    // As if the mirror had been deleted by something that passes capture by.
    const gone = String(sent[0]?.legacyId);
    await write(`DELETE FROM messages WHERE id = ${gone}`, 'DELETE FROM changeover_queue');
    await expect(back(database)).rejects.toMatchObject({
      code: 'WOULD_LOSE_ROWS',
      message: expect.stringContaining('1 messages whose old row is gone'),
    });
    expect((await readState(database)).stage).toBe('VERIFIED');
  });

  it('does not go back when a message without one came after it had looked', async () => {
    const disturbed = withParts(database, {
      restructure: async (work) => {
        const late = await send(direct, 'late');
        await write(
          `DELETE FROM messages WHERE id = ${late.legacyId}`,
          'DELETE FROM changeover_queue',
        );
        return database.restructure(work);
      },
    });
    await expect(back(disturbed)).rejects.toMatchObject({
      code: 'WOULD_LOSE_ROWS',
      message: expect.stringContaining('sent meanwhile'),
    });
    expect((await readState(database)).stage).toBe('VERIFIED');
  });

  it('keeps its zone: it was made in that one', async () => {
    await back(database);
    const zone = findZone('Europe/Berlin');
    if (zone === undefined) throw new Error('There is no such zone');
    await expect(open(location, { zone })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining('LEGACY_TIMEZONE=UTC'),
    });
  });
});

import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { applyQueued } from '../../src/changeover/apply.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database, Queryable } from '../../src/database/database.js';
import { type App, appOn } from '../helpers/app.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { contextOf, legacyDatabase, migrate } from '../helpers/legacy.js';

const [ADA, BOB] = ['1', '2'] as const;

const SEND =
  'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id legacyId text status } }';

interface Sent {
  readonly id: string;
  readonly legacyId: string;
}

describe.each(ENGINES)('entries of mirrors, on %s', (engine) => {
  let database: Database;
  let app: App;
  let direct: string;
  let group: string;

  const write = (...statements: string[]): Promise<void> =>
    database.transaction(async (transaction) => {
      for (const statement of statements) await transaction.run(statement);
    });

  const queued = async (): Promise<string[]> =>
    (
      await database.reader.all<{ id: string }>(
        `SELECT CAST(legacy_id AS text) AS id FROM changeover_queue WHERE source = 'messages' ORDER BY legacy_id`,
      )
    ).map(({ id }) => id);

  let calls = 0;
  const send = async (conversationId: string, text: string, more: object = {}): Promise<Sent> => {
    calls += 1;
    const { sendMessage } = await app.get<{ sendMessage: Sent }>(ADA, SEND, {
      input: { conversationId, clientId: `call ${calls}`, text, ...more },
    });
    return sendMessage;
  };

  const served = async ({ id }: Sent): Promise<object> => {
    const { message } = await app.get<{ message: object }>(
      ADA,
      `{ message: node(id: "${id}") { ... on Message { text status kind sender { id } conversation { id } } } }`,
    );
    return message;
  };

  /** What apply is still to do, and what verify says when it has done that. */
  async function settle(): Promise<void> {
    await applyQueued(contextOf(database));
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
    expect(await queued()).toEqual([]);
  }

  beforeEach(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 40 }));
    await migrate(database);
    app = await appOn(database);
    const started = await app.get<{ direct: { id: string }; group: { id: string } }>(
      ADA,
      `mutation { direct: startDirectConversation(userId: "usr_${BOB}") { id }
        group: createGroup(input: { participantIds: ["usr_${BOB}"] }) { id } }`,
    );
    direct = started.direct.id;
    group = started.group.id;
  });

  it('are taken away with the message, where apply would have nothing to do', async () => {
    const first = await send(direct, 'one');
    await send(group, 'two');
    await Promise.all([direct, group, direct].map((to, n) => send(to, `together ${n}`)));
    await send(direct, 'an answer', { replyToId: first.id });
    await app.get(
      ADA,
      `mutation { createMessage(senderId: ${ADA}, recipientId: ${BOB}, content: "by the old API") { id } }`,
    );
    expect(await queued()).toEqual([]);
    // Nothing was left for apply to mend, either.
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
    await settle();
  });

  it('take no entry of anybody else with them', async () => {
    await write(
      `INSERT INTO messages (sender_id, recipient_id, content) VALUES (${BOB}, ${ADA}, 'by the old app')`,
    );
    const before = await queued();
    expect(before).toHaveLength(1);
    await send(direct, 'one');
    expect(await queued()).toEqual(before);
    await settle();
  });

  const touches =
    engine === 'sqlite'
      ? (body: string): string[] => [
          `CREATE TRIGGER touching AFTER INSERT ON messages WHEN NEW.content LIKE 'touch%' BEGIN ${body}; END`,
        ]
      : (body: string): string[] => [
          `CREATE FUNCTION touching() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body}; RETURN NULL; END $$`,
          `CREATE TRIGGER touching AFTER INSERT ON messages FOR EACH ROW WHEN (NEW.content LIKE 'touch%') EXECUTE FUNCTION touching()`,
        ];

  it.each([
    [
      'text',
      `UPDATE messages SET content = upper(content) WHERE id = NEW.id`,
      { text: 'TOUCH ME' },
    ],
    [
      'status',
      `UPDATE messages SET status = 'delivered' WHERE id = NEW.id`,
      { status: 'DELIVERED' },
    ],
    ['type', `UPDATE messages SET type = 'image' WHERE id = NEW.id`, { kind: 'IMAGE' }],
  ])('stay where a trigger of the old app has written another %s', async (_, body, other) => {
    await write(...touches(body));
    const sent = await send(direct, 'touch me');
    expect(await queued()).toContain(sent.legacyId);
    expect(await served(sent)).not.toMatchObject(other);
    await settle();
    expect(await served(sent)).toMatchObject(other);
  });

  it.each([
    ['sender', `UPDATE messages SET sender_id = 3 WHERE id = NEW.id`],
    ['time', `UPDATE messages SET created_at = '2001-02-03 04:05:06' WHERE id = NEW.id`],
    ['recipient', `UPDATE messages SET recipient_id = 3 WHERE id = NEW.id`],
    ['group', `UPDATE messages SET group_id = 4711, recipient_id = NULL WHERE id = NEW.id`],
    ['thread', `UPDATE messages SET recipient_id = NULL WHERE id = NEW.id`],
  ])('stay where a trigger of the old app has written another %s, or none', async (_, body) => {
    await write(...touches(body));
    const sent = await send(direct, 'touch me');
    expect(await queued()).toContain(sent.legacyId);
    await settle();
  });

  it('stay of rows that a trigger of the old app writes beside a mirror', async () => {
    await write(
      ...touches(
        `INSERT INTO messages (sender_id, recipient_id, content) VALUES (${BOB}, ${ADA}, 'I am away')`,
      ),
    );
    const sent = await send(direct, 'touch me');
    const left = await queued();
    expect(left).toHaveLength(1);
    expect(left).not.toContain(sent.legacyId);
    await settle();
  });

  it('stay where the row is one that nobody could have sent by now', async () => {
    // A conversation whose last message is of the future: what follows it has to be later still.
    await write(
      `UPDATE conversations SET last_position = last_position + 40000000000000000 WHERE id = ${direct.slice(5)}`,
    );
    const sent = await send(direct, 'after the future');
    expect(await queued()).toEqual([sent.legacyId]);
  });

  if (engine === 'sqlite') {
    it('stay where another row had the number before, and left something behind', async () => {
      const remove = (id: string): Promise<void> =>
        write(
          `DELETE FROM messages WHERE id = ${id}`,
          // As in a table whose numbers are given out again.
          `UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM messages) WHERE name = 'messages'`,
        );
      const { legacyId: lastId } = await send(direct, 'to be deleted');
      await remove(lastId);
      const again = await send(direct, 'with the number of another one');
      expect(again.legacyId).toBe(lastId);
      await settle();
      expect(await served(again)).toMatchObject({ text: 'with the number of another one' });
      // One that was in quarantine.
      await write(`INSERT INTO messages (sender_id, content) VALUES (${ADA}, 'to nobody')`);
      await settle();
      const [bad] = await database.reader.all<{ id: string }>(
        'SELECT CAST(max(id) AS text) AS id FROM messages',
      );
      await remove(bad?.id ?? '');
      // Where that has passed capture by, nothing else says that the row is another one.
      await write('DELETE FROM changeover_queue');
      const third = await send(direct, 'with the number of one in quarantine');
      expect(third.legacyId).toBe(bad?.id);
      expect(await queued()).toContain(third.legacyId);
      await settle();
    });
  }

  it('stay where they are not as new as the message, as when a clock was set back', async () => {
    // The end of the queue is read too far ahead: what was made before it is left for apply.
    const ahead = (transaction: Queryable): Queryable => ({
      all: async <Row extends object>(
        sql: string,
        parameters?: Parameters<Queryable['all']>[1],
      ) => {
        const rows = await transaction.all<Row>(sql, parameters);
        return rows.map((row) =>
          'queueEnd' in row
            ? { ...row, queueEnd: engine === 'sqlite' ? '4000000000' : 'f'.repeat(32) }
            : row,
        );
      },
      run: (sql, parameters) => transaction.run(sql, parameters),
    });
    app = await appOn(
      withParts(database, {
        transaction: (work) => database.transaction((transaction) => work(ahead(transaction))),
      }),
      { books: database },
    );
    const sent = await send(direct, 'one');
    expect(await queued()).toEqual([sent.legacyId]);
    await settle();
  });

  it('say of all that the new side and the old one differ in, whatever both write', async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('send' as const), to: fc.integer({ min: 0, max: 1 }) }),
      fc.record({ do: fc.constant('insert' as const), odd: fc.boolean() }),
      fc.record({ do: fc.constant('edit' as const), which: fc.nat(60) }),
      fc.record({ do: fc.constant('delete' as const), newest: fc.boolean(), which: fc.nat(60) }),
      fc.record({ do: fc.constant('apply' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        for (const each of steps) {
          if (each.do === 'send') await send(each.to === 0 ? direct : group, `sent`);
          else if (each.do === 'insert')
            await write(
              `INSERT INTO messages (sender_id, recipient_id, content) VALUES (${BOB}, ${each.odd ? 'NULL' : ADA}, 'raw')`,
            );
          else if (each.do === 'edit')
            await write(`UPDATE messages SET content = 'edited' WHERE id = ${each.which}`);
          else if (each.do === 'delete')
            await write(
              `DELETE FROM messages WHERE id = ${each.newest ? '(SELECT max(id) FROM messages)' : each.which}`,
            );
          else await applyQueued(contextOf(database));
        }
        await settle();
      }),
      { numRuns: 6 },
    );
  });
});

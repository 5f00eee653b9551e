import { beforeEach, describe, expect, it } from '@jest/globals';
import { applyQueued } from '../../src/changeover/apply.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database, Queryable } from '../../src/database/database.js';
import { type App, appOn, type Outcome } from '../helpers/app.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { contextOf, legacyDatabase, migrate } from '../helpers/legacy.js';

const [ADA, BOB, CY] = ['1', '2', '3'] as const;

const SEND =
  'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id legacyId text conversation { id } } }';

interface Sent {
  readonly id: string;
  readonly legacyId: string;
  readonly text: string;
  readonly conversation: { readonly id: string };
}

/** A database that gives back what is inserted into the old table in another order. */
function inAnotherOrder(database: Database): { database: Database; turned: () => number } {
  let turned = 0;
  const turning = (transaction: Queryable): Queryable => ({
    all: async <Row extends object>(sql: string, parameters?: Parameters<Queryable['all']>[1]) => {
      const rows = await transaction.all<Row>(sql, parameters);
      if (!sql.startsWith('INSERT INTO "messages"') || rows.length < 2) return rows;
      turned += 1;
      return rows.reverse();
    },
    run: (sql, parameters) => transaction.run(sql, parameters),
  });
  return {
    database: withParts(database, {
      transaction: (work) => database.transaction((transaction) => work(turning(transaction))),
    }),
    turned: () => turned,
  };
}

describe.each(ENGINES)('messages that are sent at once, on %s', (engine) => {
  let database: Database;

  beforeEach(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 40 }));
    await migrate(database);
  });

  const idOf = async (app: App, mutation: string): Promise<string> => {
    const [answer] = Object.values(await app.get<Record<string, { id: string }>>(ADA, mutation));
    return answer?.id ?? '';
  };

  const conversationsIn = (app: App): Promise<string[]> =>
    Promise.all([
      idOf(app, `mutation { startDirectConversation(userId: "usr_${BOB}") { id } }`),
      idOf(app, `mutation { startDirectConversation(userId: "usr_${CY}") { id } }`),
      idOf(app, `mutation { createGroup(input: { participantIds: ["usr_${BOB}"] }) { id } }`),
    ]);

  /** Sends the same text to each conversation, many times over, with some that are refused in between. */
  async function sendAll(app: App): Promise<void> {
    const conversations = await conversationsIn(app);
    const send = (conversationId: string, clientId: string, text: string): Promise<Outcome> =>
      app.ask(ADA, SEND, { input: { conversationId, clientId, text } });
    const asked = conversations.flatMap((conversation, place) =>
      Array.from({ length: 10 }, (_, n) => ({
        conversation,
        text: n % 2 === 0 ? 'the same' : String(n),
        clientId: `${place} ${n}`,
      })),
    );
    const outcomes = await Promise.all([
      ...asked.map(({ conversation, clientId, text }) => send(conversation, clientId, text)),
      // A retry that comes together with what it retries, one that says something else, and one to nobody.
      send(conversations[0] ?? '', '0 0', 'the same'),
      send(conversations[0] ?? '', '0 1', 'something else'),
      send('conv_987654', 'nowhere', 'lost'),
    ]);
    const [retried, other, lost] = outcomes.slice(asked.length);
    const sent = outcomes
      .slice(0, asked.length)
      .map(({ data }) => (data as { sendMessage: Sent } | null)?.sendMessage);
    expect(sent.map((one) => [one?.conversation.id, one?.text])).toEqual(
      asked.map(({ conversation, text }) => [conversation, text]),
    );
    expect(new Set(sent.map((one) => one?.id)).size).toBe(asked.length);
    expect(retried?.data).toEqual({ sendMessage: sent[0] });
    expect([other?.code, lost?.code]).toEqual(['IDEMPOTENCY_CONFLICT', 'NOT_FOUND']);

    // Each mirror is that of its message, before anybody looks for differences.
    const rows = await database.reader.all<{ id: string; to: string | null; content: string }>(
      `SELECT CAST(id AS text) AS id, CAST(recipient_id AS text) AS "to", content FROM messages`,
    );
    const byId = new Map(rows.map((row) => [row.id, row]));
    const recipients = [BOB, CY, null];
    sent.forEach((one, n) => {
      expect(byId.get(one?.legacyId ?? '')).toEqual({
        id: one?.legacyId,
        to: recipients[Math.floor(n / 10)],
        content: one?.text,
      });
    });
    await applyQueued(contextOf(database));
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  }

  it('have a mirror each, and an answer each', async () => {
    await sendAll(await appOn(database));
  });

  it('have their own mirrors although the database gives the rows back in another order', async () => {
    const { database: turning, turned } = inAnotherOrder(database);
    await sendAll(await appOn(turning, { books: database }));
    // Once, and then each row by itself.
    expect(turned()).toBe(1);
  });

  if (engine === 'postgres')
    it('have their own mirrors although a trigger of the old app rewrites them', async () => {
      await database.transaction(async (transaction) => {
        await transaction.run(
          `CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.content := NEW.content || '!'; RETURN NEW; END $$`,
        );
        await transaction.run(
          'CREATE TRIGGER swap BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION swap()',
        );
      });
      const app = await appOn(database);
      const [conversationId = ''] = await conversationsIn(app);
      const texts = Array.from({ length: 10 }, (_, n) => `text ${n}`);
      const sent = await Promise.all(
        texts.map((text) =>
          app.get<{ sendMessage: Sent }>(ADA, SEND, {
            input: { conversationId, clientId: text, text },
          }),
        ),
      );
      for (const { sendMessage } of sent) {
        const rows = await database.reader.all(
          `SELECT content FROM messages WHERE id = ${sendMessage.legacyId}`,
        );
        expect(rows).toEqual([{ content: `${sendMessage.text}!` }]);
      }
      // The new side follows what the old app made of them.
      await applyQueued(contextOf(database));
      expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
    });
});

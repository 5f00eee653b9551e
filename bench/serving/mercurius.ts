import { fastify } from 'fastify';
import { mercurius } from 'mercurius';
import pg from 'pg';
import { columnsOf, type Input, makeFloorTable } from './floor-on-sqlite.js';
import { serveUsage } from './usage.js';

/**
 * What somebody writes by hand in a day on Mercurius, with its compiled queries: a statement for each message, committed by
 * itself, and its own publishing. No members are asked for, no events kept, no old table.
 */
const [, , url = '', port = '0'] = process.argv;

async function inserter(): Promise<(input: Input, sentAt: string) => Promise<string>> {
  if (!url.startsWith('postgres')) {
    const table = await makeFloorTable(url);
    return async (input, sentAt) => String(await table.insert(input, sentAt));
  }
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  await pool.query(`CREATE TABLE messages ${columnsOf('BIGSERIAL')}`);
  return async ({ conversationId, clientId, text }, sentAt) => {
    const { rows } = await pool.query<{ id: string }>({
      name: 'insert',
      text: 'INSERT INTO messages (conversation, client_id, content, sent_at) VALUES ($1, $2, $3, $4) RETURNING id',
      values: [conversationId, clientId, text, sentAt],
    });
    return rows[0]?.id ?? '';
  };
}

const insert = await inserter();
const app = fastify();
await app.register(mercurius, {
  schema: `
    type Query { hello: String }
    type User { id: ID! name: String! }
    type Message { id: ID! text: String! sentAt: String! sender: User! }
    input SendMessageInput { conversationId: ID! clientId: String! text: String! }
    type Mutation { sendMessage(input: SendMessageInput!): Message! }
    type Subscription { messageAdded(conversationId: ID!): Message! }`,
  jit: 1,
  resolvers: {
    Mutation: {
      sendMessage: async (_: unknown, { input }: { input: Input }, { pubsub }) => {
        const sentAt = new Date().toISOString();
        const id = `msg_${await insert(input, sentAt)}`;
        const message = { id, text: input.text, sentAt, sender: { id: 'usr_1', name: 'Somebody' } };
        void pubsub.publish({ topic: input.conversationId, payload: { messageAdded: message } });
        return message;
      },
    },
    Subscription: {
      messageAdded: {
        subscribe: (_: unknown, { conversationId }: { conversationId: string }, { pubsub }) =>
          pubsub.subscribe(conversationId),
      },
    },
  },
  subscription: { fullWsTransport: true },
});
await app.listen({ port: Number(port), host: '127.0.0.1' });
serveUsage();

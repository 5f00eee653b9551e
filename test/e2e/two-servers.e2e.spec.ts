import { beforeAll, describe, expect, it } from '@jest/globals';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { issueToken } from '../../src/auth/tokens.service.js';
import { atTheEnd, ENGINES, urlOf } from '../helpers/databases.js';
import { Heard } from '../helpers/heard.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';
import { HAS_REDIS, OwnRedis } from '../helpers/own-redis.js';
import { ask, serve } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

// More than one process on a database is for PostgreSQL.
const isHere = HAS_REDIS && ENGINES.includes('postgres');

(isHere ? describe : describe.skip)('two servers on one database', () => {
  let redis: OwnRedis;
  let urls: readonly string[];
  let conversation: string;

  const tokenOf = (id: number): Promise<string> =>
    issueToken({ id: String(id), phone: `080${String(id).padStart(8, '0')}` }, SECRET);

  beforeAll(async () => {
    const { database, location } = await legacyDatabase('postgres', { messages: 200 });
    await migrate(database);
    await database.close();
    redis = await OwnRedis.start();
    const environment = {
      DATABASE_URL: urlOf(location),
      JWT_SECRET: SECRET,
      REDIS_URL: redis.url,
    };
    urls = [(await serve(environment)).url, (await serve(environment)).url];
    const { data } = await ask(
      urls[0] ?? '',
      await tokenOf(1),
      'mutation { startDirectConversation(userId: "usr_2") { id } }',
    );
    conversation = (data as { startDirectConversation: { id: string } }).startDirectConversation.id;
  });

  async function send(url: string, text: string): Promise<void> {
    const { errors } = await ask(
      url,
      await tokenOf(1),
      'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id } }',
      { input: { conversationId: conversation, clientId: text, text } },
    );
    expect(errors).toBeUndefined();
  }

  async function follow(url: string): Promise<Heard<string>> {
    const { data } = await ask(url, await tokenOf(2), '{ eventCursor }');
    const heard = new Heard<string>();
    const authorization = `Bearer ${await tokenOf(2)}`;
    const client = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { authorization },
    });
    atTheEnd(async () => {
      await client.dispose();
    }, 'closes');
    client.subscribe<{ events: { message?: { text: string } } }>(
      {
        query: `subscription ($after: String) { events(after: $after) { ... on MessageAdded { message { text } } } }`,
        variables: { after: (data as { eventCursor: string }).eventCursor },
      },
      {
        next: ({ data: told }) => {
          const text = told?.events.message?.text;
          if (text !== undefined) heard.add(text);
        },
        error: (error) => {
          heard.fail(error);
        },
        complete: () => undefined,
      },
    );
    return heard;
  }

  it('tell each other’s messages once and in order, with Redis, without it, and when it is back', async () => {
    const heard = [await follow(urls[0] ?? ''), await follow(urls[1] ?? '')];
    const sent: string[] = [];
    const sendByBoth = async (): Promise<void> => {
      for (const url of [...urls, ...urls]) {
        const text = `words ${sent.length}`;
        sent.push(text);
        await send(url, text);
      }
      for (const each of heard) await each.until(({ length }) => length >= sent.length);
    };
    await sendByBoth();
    await redis.stop();
    await sendByBoth();
    await redis.start();
    await sendByBoth();
    for (const { items } of heard) expect(items).toEqual(sent);
  });
});

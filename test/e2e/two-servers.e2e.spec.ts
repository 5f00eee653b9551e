import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { issueToken } from '../../src/auth/tokens.service.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { GATHER_MS } from '../../src/presence/roster.js';
import { withDatabase } from '../drills/place.js';
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
  let location: DatabaseLocation;
  let environment: Record<string, string>;
  let servers: Awaited<ReturnType<typeof serve>>[];
  let urls: readonly string[];
  let conversation: string;

  const tokenOf = (id: number): Promise<string> =>
    issueToken({ id: String(id), phone: `080${String(id).padStart(8, '0')}` }, SECRET);

  beforeAll(async () => {
    const legacy = await legacyDatabase('postgres', { messages: 200 });
    ({ location } = legacy);
    await migrate(legacy.database);
    await legacy.database.close();
    redis = await OwnRedis.start();
    environment = {
      DATABASE_URL: urlOf(location),
      JWT_SECRET: SECRET,
      REDIS_URL: redis.url,
    };
    servers = [await serve(environment), await serve(environment)];
    urls = servers.map(({ url }) => url);
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

  /** One who is there, as long as he follows what somebody else does. */
  async function watch(url: string, viewer: number): Promise<Heard<string>> {
    const heard = new Heard<string>();
    const authorization = `Bearer ${await tokenOf(viewer)}`;
    const client = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { authorization },
      retryAttempts: 0,
    });
    atTheEnd(async () => {
      await client.dispose();
    }, 'closes');
    client.subscribe<{ events: { presence?: Shown; user?: { id: string }; typing?: boolean } }>(
      {
        query: `subscription { events {
          ... on PresenceUpdated { presence { user { id } status customStatus lastSeenAt } }
          ... on TypingChanged { user { id } typing } } }`,
      },
      {
        next: ({ data }) => {
          const { presence, user, typing } = data?.events ?? {};
          if (presence !== undefined)
            heard.add(
              `${presence.user.id} ${presence.status} ${String(presence.customStatus)} ${presence.lastSeenAt === null ? '' : 'seen'}`,
            );
          if (user !== undefined) heard.add(`${user.id} types: ${String(typing)}`);
        },
        // The server that it is connected to is killed here.
        error: () => undefined,
        complete: () => undefined,
      },
    );
    return heard;
  }

  it('tell each other who is there and who types, until one is killed, and while Redis is away', async () => {
    const [here = '', there = ''] = urls;
    const mutate = async (url: string, viewer: number, mutation: string): Promise<void> => {
      const { errors } = await ask(url, await tokenOf(viewer), `mutation { ${mutation} }`);
      expect(errors).toBeUndefined();
    };
    const bob = await watch(there, 2);
    for (let n = 0; bob.items.length === 0; n += 1) {
      await mutate(there, 2, `setPresence(status: ONLINE, customStatus: "here ${n}") { status }`);
      await sleep(50);
    }
    await watch(here, 1);
    await bob.until((items) => items.includes('usr_1 ONLINE null '));
    const typing = async (url: string, viewer: number): Promise<unknown> =>
      (
        await ask(
          url,
          await tokenOf(viewer),
          `{ conversation(id: "${conversation}") { typing { id } } }`,
        )
      ).data;
    // With words that are in the database by the time that the other one hears of them.
    await mutate(here, 1, 'setPresence(status: BUSY, customStatus: "writing") { status }');
    await bob.until((items) => items.includes('usr_1 BUSY writing '));
    await mutate(
      here,
      1,
      `setTyping(conversationId: "${conversation}", typing: true) { expiresAt }`,
    );
    await bob.until((items) => items.includes('usr_1 types: true'));
    expect(await typing(there, 2)).toEqual({ conversation: { typing: [{ id: 'usr_1' }] } });
    await mutate(
      there,
      1,
      `setTyping(conversationId: "${conversation}", typing: false) { expiresAt }`,
    );
    await bob.until((items) => items.includes('usr_1 types: false'));
    expect(await typing(here, 2)).toEqual({ conversation: { typing: [] } });

    const statusAt = async (url: string, of: number): Promise<string | undefined> => {
      const { data } = await ask(
        url,
        await tokenOf(2),
        `{ presence(userIds: ["usr_${of}"]) { status } }`,
      );
      return (data as { presence: { status: string }[] }).presence[0]?.status;
    };
    const stored = (): Promise<string[]> =>
      withDatabase(urlOf(location), async ({ reader }) =>
        (
          await reader.all<{ status: string }>(
            'SELECT status FROM user_presence WHERE user_id IN (1, 2) ORDER BY user_id',
          )
        ).map(({ status }) => status),
      );
    // A third one begins: nobody goes for that.
    const third = await serve(environment);
    while ((await statusAt(third.url, 1)) !== 'BUSY') await sleep(50);
    await sleep(GATHER_MS + 1_000);
    expect(await stored()).toEqual(['BUSY', 'ONLINE']);
    expect(bob.items.at(-1)).toBe('usr_1 types: false');

    // Nobody is known to be there on the others, and to be gone from them either.
    await redis.stop();
    while ((await statusAt(there, 1)) !== 'OFFLINE') await sleep(100);
    expect(await statusAt(here, 1)).toBe('BUSY');
    expect(await stored()).toEqual(['BUSY', 'ONLINE']);
    await redis.start();
    while ((await statusAt(there, 1)) !== 'BUSY') await sleep(100);

    // Those who live see that she is gone, and write it down.
    third.child.kill('SIGKILL');
    servers[0]?.child.kill('SIGKILL');
    await bob.until((items) => items.at(-1) === 'usr_1 OFFLINE writing seen');
    while ((await stored()).join() !== 'OFFLINE,ONLINE') await sleep(100);
    expect(await statusAt(there, 1)).toBe('OFFLINE');
  });
});

interface Shown {
  readonly user: { readonly id: string };
  readonly status: string;
  readonly customStatus: string | null;
  readonly lastSeenAt: string | null;
}

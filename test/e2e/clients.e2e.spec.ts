import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { type Client, createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { issueToken } from '../../src/auth/tokens.service.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { asOldApp, atTheEnd, ENGINES, onServer, open, urlOf } from '../helpers/databases.js';
import { Heard } from '../helpers/heard.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';
import { ask, serve } from '../helpers/programs.js';
import { codeFor, SECRET, signInOn } from '../helpers/sign-in.js';

type Told = Readonly<Record<string, unknown>>;

const EVENTS = `subscription E($after: String) { events(after: $after) {
  __typename cursor
  ... on MessageAdded { message { id text conversation { id } } }
  ... on MessageChanged { message { id text status } }
  ... on MessageRemoved { messageId }
  ... on ConversationLeft { conversationId }
  ... on ConversationChanged { conversation { id } }
} }`;

describe.each(ENGINES)('clients of a server on %s', (engine) => {
  let location: DatabaseLocation;
  let url: string;
  let child: ChildProcess;
  let environment: Record<string, string>;
  let sent = 0;

  beforeAll(async () => {
    const legacy = await legacyDatabase(engine, { messages: 200 });
    ({ location } = legacy);
    await migrate(legacy.database);
    await legacy.database.close();
    environment = { DATABASE_URL: urlOf(location), JWT_SECRET: SECRET };
    ({ url, child } = await serve(environment));
  });

  const tokenOf = (id: number): Promise<string> =>
    issueToken({ id: String(id), phone: `080${String(id).padStart(8, '0')}` }, SECRET);

  const get = async <Data>(
    viewer: number,
    query: string,
    variables: Record<string, unknown> = {},
  ): Promise<Data> => {
    const { data, errors } = await ask(url, await tokenOf(viewer), query, variables);
    if (errors !== undefined) throw new Error(`${JSON.stringify(errors)}: ${query}`);
    return data as Data;
  };

  const send = async (viewer: number, conversationId: string, text: string): Promise<string> => {
    sent += 1;
    const input = { conversationId, text, clientId: `client ${sent}` };
    const { sendMessage } = await get<{ sendMessage: { id: string } }>(
      viewer,
      'mutation S($input: SendMessageInput!) { sendMessage(input: $input) { id } }',
      { input },
    );
    return sendMessage.id;
  };

  const group = async (...others: number[]): Promise<string> => {
    const { createGroup } = await get<{ createGroup: { id: string } }>(
      1,
      'mutation G($input: CreateGroupInput!) { createGroup(input: $input) { id } }',
      { input: { name: 'Group', participantIds: others.map((id) => `usr_${id}`) } },
    );
    return createGroup.id;
  };

  const cursorOf = async (viewer: number): Promise<string> =>
    (await get<{ eventCursor: string }>(viewer, '{ eventCursor }')).eventCursor;

  /** A client of graphql-ws that comes back, however often it is cut off. */
  const connect = (token: string): Client => {
    const client = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token}` },
      retryAttempts: Number.POSITIVE_INFINITY,
      retryWait: () => sleep(50),
      shouldRetry: () => true,
    });
    atTheEnd(async () => {
      // It may be on its way back to a server that was ended before it: that attempt fails.
      await Promise.allSettled([client.dispose()]);
    });
    return client;
  };

  /** Follows the events of a person as docs/protocol.md says: with the cursor of the last one, whenever it connects. */
  const follow = (client: Client, after: string | null): Heard<Told> => {
    const heard = new Heard<Told>();
    const payload = { query: EVENTS, variables: { after } };
    client.subscribe<{ events: Told }>(payload, {
      next: ({ data, errors }) => {
        const event = data?.events;
        if (event === undefined) {
          heard.fail(errors);
          return;
        }
        payload.variables.after = String(event.cursor);
        // Who comes and goes is a signal, and comes in between.
        if (event.__typename !== 'PresenceUpdated') heard.add(event);
      },
      error: (error) => {
        heard.fail(error);
      },
      complete: () => undefined,
    });
    return heard;
  };

  /** Subscribes to one field, and waits until it is certain that nothing is missed from here on. */
  const listen = async <Item>(
    client: Client,
    query: string,
    ping: () => Promise<unknown>,
    isPing: (item: Item) => boolean,
  ): Promise<Heard<Item>> => {
    const heard = new Heard<Item>();
    client.subscribe<Record<string, Item>>(
      { query },
      {
        next: ({ data, errors }) => {
          const [item] = Object.values(data ?? {});
          if (item === undefined) heard.fail(errors);
          else heard.add(item);
        },
        error: (error) => {
          heard.fail(error);
        },
        complete: () => undefined,
      },
    );
    const hasBegun = (items: readonly Item[]): boolean => items.some(isPing);
    while (!hasBegun(heard.items)) {
      await ping();
      await Promise.race([heard.until(hasBegun), sleep(200)]);
    }
    return heard;
  };

  const texts = (events: readonly Told[]): unknown[] =>
    events
      .filter(({ __typename }) => __typename === 'MessageAdded')
      .map(({ message }) => (message as { text: string }).text);
  const has =
    (text: string) =>
    (events: readonly Told[]): boolean =>
      texts(events).includes(text);

  it('are there for others for as long as they are connected, on any device, and then were last seen', async () => {
    const presence = async (): Promise<unknown> =>
      (
        await get<{ presence: unknown[] }>(
          1,
          '{ presence(userIds: ["usr_7"]) { status lastSeenAt } }',
        )
      ).presence[0];
    const watching = await listen<{ status: string; user: { id: string } }>(
      connect(await tokenOf(1)),
      'subscription { presenceChanged(userIds: ["usr_7", "usr_1"]) { status user { id } } }',
      async () => {
        for (const status of ['BUSY', 'AWAY'])
          await get(1, `mutation { setPresence(status: ${status}) { status } }`);
      },
      ({ user }) => user.id === 'usr_1',
    );
    const seen = (): string[] =>
      watching.items.filter(({ user }) => user.id === 'usr_7').map(({ status }) => status);
    expect(await presence()).toEqual({ status: 'OFFLINE', lastSeenAt: null });
    const devices = [connect(await tokenOf(7)), connect(await tokenOf(7))];
    for (const device of devices) follow(device, null);
    await watching.until(() => seen().length === 1);
    expect(await presence()).toEqual({ status: 'ONLINE', lastSeenAt: null });
    await devices[0]?.dispose();
    await devices[1]?.dispose();
    await watching.until(() => seen().length === 2);
    expect(seen()).toEqual(['ONLINE', 'OFFLINE']);
    await send(1, await group(2), 'counted');
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const valueOf = (name: string): number =>
      Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1]);
    expect(valueOf('segue_connections\\{door="graphql"\\}')).toBeGreaterThan(0);
    expect(valueOf('segue_subscribers')).toBeGreaterThan(0);
    expect(valueOf('segue_people_online')).toBeGreaterThan(0);
    expect(valueOf('segue_deliveries_total')).toBeGreaterThan(1);
    expect(valueOf('segue_commit_messages_sum')).toBeGreaterThan(0);
    expect(valueOf('segue_changeover_stage\\{stage="VERIFIED"\\}')).toBe(1);
    expect(await presence()).toEqual({
      status: 'OFFLINE',
      lastSeenAt: expect.stringMatching(/^20/),
    });
  });

  it('get each event once and in order, however often the connection is cut', async () => {
    const conversation = await group(2);
    const client = connect(await tokenOf(2));
    const heard = follow(client, await cursorOf(2));
    const said: string[] = [];
    const say = async (text: string): Promise<void> => {
      said.push(text);
      await send(1, conversation, text);
    };
    for (let n = 0; n < 40; n += 1) {
      await say(`message ${n}`);
      // In the middle of what it is being told.
      if (n % 10 === 5) client.terminate();
    }
    await heard.until(has('message 20'));
    // And by the server, which ends and comes back; the old app goes on writing meanwhile.
    const { port } = new URL(url);
    const others = await Promise.all(Array.from({ length: 8 }, () => subscribed()));
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
    for (const { closed, said: told } of others) {
      expect(await closed).toBe(1012);
      // One that is complete is not begun again.
      expect(told.items.map(({ type }) => type)).not.toContain('complete');
    }
    await asOldApp(
      location,
      `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at)
       VALUES (1, 2, 'while it was away', 'text', 'sent', CURRENT_TIMESTAMP)`,
    );
    ({ url, child } = await serve({ ...environment, PORT: port }));
    await heard.until(has('while it was away'));
    said.push('while it was away');
    await say('the last one');
    await heard.until(has('the last one'));
    expect(texts(heard.items)).toEqual(said);
    const cursors = heard.items.map(({ cursor }) => cursor);
    expect(new Set(cursors).size).toBe(cursors.length);
    // As long as there is a server to take leave of.
    await client.dispose();
  });

  if (engine === 'postgres') {
    /** Ends the server's connections to its database again and again. @returns ends that */
    const torment = (everyMs: number): (() => Promise<void>) => {
      const { pathname } = new URL(urlOf(location));
      const over = new AbortController();
      const tormented = (async (): Promise<void> => {
        while (!over.signal.aborted) {
          await onServer(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${pathname.slice(1)}' AND application_name = 'segue'`,
          );
          await sleep(everyMs);
        }
      })();
      return async () => {
        over.abort();
        await tormented;
      };
    };

    /** As a client does whose message was not acknowledged: the same one again. */
    const sendUntilTaken = async (conversationId: string, text: string): Promise<void> => {
      const input = { conversationId, text, clientId: text };
      for (;;) {
        const { data, errors } = await ask(
          url,
          await tokenOf(1),
          'mutation S($input: SendMessageInput!) { sendMessage(input: $input) { id } }',
          { input },
        );
        if (data != null) return;
        expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['UNAVAILABLE']);
      }
    };

    it('begin to listen while the database ends connections, and are told of no error', async () => {
      const conversation = await group(2);
      const [token, after] = [await tokenOf(2), await cursorOf(2)];
      const letBe = torment(5);
      const all = [];
      for (let n = 0; n < 30; n += 1) {
        all.push(follow(connect(token), after));
        await sleep(20);
      }
      await letBe();
      await sendUntilTaken(conversation, 'you are all there');
      for (const heard of all) await heard.until(has('you are all there'));
    });

    it('get no event without its content when the database ends connections, and miss none', async () => {
      const conversation = await group(2);
      const heard = follow(connect(await tokenOf(2)), await cursorOf(2));
      const letBe = torment(150);
      const said = Array.from({ length: 60 }, (_, n) => `through it, ${n}`);
      for (const text of said) await sendUntilTaken(conversation, text);
      await letBe();
      await heard.until(has(said.at(-1) ?? ''));
      expect(texts(heard.items)).toEqual(said);
    });
  }

  it('hear nothing of a conversation any more from when they are removed, on a subscription that is open', async () => {
    const conversation = await group(2, 3);
    const own = await group(3);
    const heard = follow(connect(await tokenOf(3)), await cursorOf(3));
    await send(1, conversation, 'before');
    await heard.until(has('before'));
    await get(
      1,
      'mutation R($c: ID!) { removeParticipant(conversationId: $c, userId: "usr_3") { id } }',
      {
        c: conversation,
      },
    );
    await send(2, conversation, 'after');
    await get(1, 'mutation U($c: ID!) { updateGroup(id: $c, input: { name: "Other" }) { id } }', {
      c: conversation,
    });
    await send(1, own, 'elsewhere');
    await heard.until(has('elsewhere'));
    expect(heard.items.map(({ __typename }) => __typename)).toEqual([
      'MessageAdded',
      'ConversationLeft',
      'MessageAdded',
    ]);
    expect(heard.items[1]).toMatchObject({ conversationId: conversation });
  });

  it('hear of what old clients and raw SQL write, and old clients of what new ones do', async () => {
    const heard = follow(connect(await tokenOf(2)), await cursorOf(2));
    const createMessage = (content: string): Promise<unknown> =>
      get(
        1,
        'mutation C($content: String!) { createMessage(senderId: 1, recipientId: 2, content: $content) { id } }',
        { content },
      );
    const old = await listen<{ content: string }>(
      connect(await tokenOf(2)),
      'subscription { newMessage(userId: 2) { id content sender_id } }',
      () => createMessage('ping'),
      ({ content }) => content === 'ping',
    );
    await createMessage('by an old client');
    await asOldApp(
      location,
      `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at)
       VALUES (1, 2, 'by raw SQL', 'text', 'sent', CURRENT_TIMESTAMP)`,
    );
    await heard.until(has('by raw SQL'));
    const { startDirectConversation } = await get<{ startDirectConversation: { id: string } }>(
      1,
      'mutation { startDirectConversation(userId: "usr_2") { id } }',
    );
    await send(1, startDirectConversation.id, 'by a new client');
    await heard.until(has('by a new client'));
    await old.until((items) => items.some(({ content }) => content === 'by a new client'));
    const said = ['by an old client', 'by raw SQL', 'by a new client'];
    expect(texts(heard.items).filter((text) => text !== 'ping')).toEqual(said);
    expect(old.items.map(({ content }) => content).filter((text) => text !== 'ping')).toEqual(said);
  });

  /** A connection that speaks the protocol by hand. */
  const raw = async (
    parameters: Told,
  ): Promise<{ socket: WebSocket; closed: Promise<number>; said: Heard<Told> }> => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    atTheEnd(() => {
      socket.terminate();
      return Promise.resolve();
    });
    const said = new Heard<Told>();
    socket.on('message', (data: Buffer) => {
      said.add(JSON.parse(data.toString()) as Told);
    });
    // A broken connection is closed too.
    socket.on('error', () => undefined);
    const closed = new Promise<number>((resolve) => {
      socket.once('close', resolve);
    });
    await once(socket, 'open');
    socket.send(JSON.stringify({ type: 'connection_init', payload: parameters }));
    return { socket, closed, said };
  };

  /** One that follows the events by hand. */
  const subscribed = async (): ReturnType<typeof raw> => {
    const connection = await raw({ authorization: `Bearer ${await tokenOf(2)}` });
    const { socket, said } = connection;
    await said.until((messages) => messages.length === 1);
    const payload = { query: EVENTS, variables: { after: await cursorOf(2) } };
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload }));
    return connection;
  };

  it('are refused without a token, and sent away when their session ends', async () => {
    expect(await (await raw({ authorization: 'Bearer nonsense' })).closed).toBe(4403);
    // Who says nothing may sign in, and is told nothing.
    const anonymous = await raw({});
    await anonymous.said.until((messages) =>
      messages.some(({ type }) => type === 'connection_ack'),
    );
    anonymous.socket.send(
      JSON.stringify({ id: '1', type: 'subscribe', payload: { query: EVENTS } }),
    );
    await anonymous.said.until((messages) => messages.some(({ id }) => id === '1'));
    expect(JSON.stringify(anonymous.said.items)).toContain('UNAUTHENTICATED');
    const database = await open(location);
    const parts = signInOn(database);
    const phone = '08000000004';
    const { account, refresh } = await parts.signIn.verify(
      phone,
      await codeFor(parts, phone),
      null,
    );
    const token = await parts.tokens.issueFor(account, refresh.sessionId);
    const { closed, said } = await raw({ authorization: `Bearer ${token}` });
    await said.until((messages) => messages.some(({ type }) => type === 'connection_ack'));
    expect((await ask(url, token, 'mutation { signOut { signedOut } }')).data).toEqual({
      signOut: { signedOut: true },
    });
    expect(await closed).toBe(4403);
  });

  it('are told what is wrong with a document, and stay connected', async () => {
    const { socket, said } = await raw({ authorization: `Bearer ${await tokenOf(4)}` });
    await said.until((messages) => messages.some(({ type }) => type === 'connection_ack'));
    for (const [id, query, code] of [
      ['1', '{ me {', 'GRAPHQL_PARSE_FAILED'],
      ['2', `{ ${'me '.repeat(2_001)} }`, 'GRAPHQL_PARSE_FAILED'],
      ['3', '{ nothingOfTheKind }', 'GRAPHQL_VALIDATION_FAILED'],
      ['4', '{ nothingOfTheKind }', 'GRAPHQL_VALIDATION_FAILED'],
    ] as const) {
      socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query } }));
      await said.until((messages) => messages.some((message) => message.id === id));
      expect(said.items.find((message) => message.id === id)).toMatchObject({
        type: 'error',
        payload: [{ extensions: { code } }],
      });
    }
    // Twice the same document, with other variables.
    const query = 'query P($ids: [ID!]!) { presence(userIds: $ids) { user { id } } }';
    for (const user of ['usr_1', 'usr_2']) {
      socket.send(
        JSON.stringify({
          id: user,
          type: 'subscribe',
          payload: { query, variables: { ids: [user] } },
        }),
      );
      await said.until((messages) => messages.some(({ id }) => id === user));
      expect(said.items.find(({ id }) => id === user)).toMatchObject({
        type: 'next',
        payload: { data: { presence: [{ user: { id: user } }] } },
      });
    }
  });

  it('that do not read are dropped, hold nobody up, and miss nothing when they come back', async () => {
    const { startDirectConversation } = await get<{ startDirectConversation: { id: string } }>(
      1,
      'mutation { startDirectConversation(userId: "usr_3") { id } }',
    );
    const conversation = startDirectConversation.id;
    const after = await cursorOf(3);
    const { socket, closed, said } = await raw({
      authorization: `Bearer ${await tokenOf(3)}`,
    });
    await said.until((messages) => messages.length === 1);
    socket.send(
      JSON.stringify({
        id: '1',
        type: 'subscribe',
        payload: { query: EVENTS, variables: { after } },
      }),
    );
    await send(1, conversation, 'the first one');
    await said.until((messages) => messages.length === 2);
    socket.pause();
    const other = follow(connect(await tokenOf(1)), await cursorOf(1));
    // More than what the system's buffers take.
    const text = (n: number): string => `${n} ${'x'.repeat(60_000)}`;
    const MESSAGES = 300;
    const rows = Array.from(
      { length: MESSAGES },
      (_, n) => `(1, 3, '${text(n)}', 'text', 'sent', CURRENT_TIMESTAMP)`,
    );
    const statements: string[] = [];
    while (rows.length > 0)
      statements.push(
        `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at) VALUES ${rows.splice(0, 10).join(', ')}`,
      );
    // At once, as an import does.
    await asOldApp(location, 'BEGIN', ...statements, 'COMMIT');
    await other.until((events) => texts(events).length === MESSAGES);
    expect(texts(other.items)).toEqual(Array.from({ length: MESSAGES }, (_, n) => text(n)));
    // Who does not read does not see that he is cut off, but cannot write any more.
    while (socket.readyState !== WebSocket.CLOSED) {
      if (socket.readyState === WebSocket.OPEN) socket.ping();
      await Promise.race([closed, sleep(100)]);
    }
    const seen = said.items.flatMap(({ payload }) => {
      const { data } = (payload ?? {}) as { data?: { events: Told } };
      return data === undefined ? [] : [data.events];
    });
    const rest = follow(connect(await tokenOf(3)), String(seen.at(-1)?.cursor));
    await rest.until((events) => seen.length + events.length > MESSAGES);
    await send(1, conversation, 'the last one');
    await rest.until(has('the last one'));
    await other.until(has('the last one'));
    expect(texts([...seen, ...rest.items])).toEqual(['the first one', ...texts(other.items)]);
  }, 600_000);
});

describe.each(ENGINES)('clients of a server before a changeover, on %s', (engine) => {
  it('hear of new rows by the old API, and are told that the new one does not answer yet', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    await database.close();
    const { url } = await serve({ DATABASE_URL: urlOf(location), JWT_SECRET: SECRET });
    const token = await issueToken({ id: '2', phone: '08000000002' }, SECRET);
    const sender = await issueToken({ id: '1', phone: '08000000001' }, SECRET);
    const refused = await ask(
      url,
      sender,
      'mutation { sendMessage(input: { conversationId: "conv_1", clientId: "a", text: "x" }) { id } }',
    );
    expect(refused.errors?.[0]?.extensions.code).toBe('NOT_EXPANDED');

    const client = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token}` },
    });
    atTheEnd(async () => {
      await client.dispose();
    });
    const heard = new Heard<string>();
    client.subscribe<{ newMessage: { content: string } }>(
      { query: 'subscription { newMessage(userId: 2) { content } }' },
      {
        next: ({ data }) => {
          heard.add(data?.newMessage.content ?? 'nothing');
        },
        error: (error) => {
          heard.fail(error);
        },
        complete: () => undefined,
      },
    );
    // It begins when it is asked for, which nobody is told: so there are several.
    let n = 0;
    while (heard.items.length < 3) {
      n += 1;
      await ask(
        url,
        sender,
        'mutation C($content: String!) { createMessage(senderId: 1, recipientId: 2, content: $content) { id } }',
        { content: `row ${n}` },
      );
      await Promise.race([heard.until((items) => items.length >= 3), sleep(200)]);
    }
    const [first = ''] = heard.items;
    const from = Number(first.split(' ')[1]);
    expect(heard.items).toEqual(heard.items.map((_, place) => `row ${from + place}`));
  });
});

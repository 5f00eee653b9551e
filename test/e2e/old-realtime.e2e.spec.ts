import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { io, type Socket } from 'socket.io-client';
import { issueToken } from '../../src/auth/tokens.service.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { atTheEnd, ENGINES, urlOf, using } from '../helpers/databases.js';
import { Heard } from '../helpers/heard.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';
import { ask, serve } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

type Told = Readonly<Record<string, unknown>>;

/** An old client, and all that it has been told. */
interface OldClient {
  readonly socket: Socket;
  readonly heard: Heard<{ event: string } & Told>;
  say(event: string, given: unknown): Promise<Told>;
  of(event: string): Told[];
}

describe.each(ENGINES)('realtime clients of the old app, on %s', (engine) => {
  let location: DatabaseLocation;
  let url: string;
  let child: ChildProcess;
  let environment: Record<string, string>;

  beforeAll(async () => {
    const legacy = await legacyDatabase(engine, { messages: 50 });
    ({ location } = legacy);
    await migrate(legacy.database);
    await legacy.database.close();
    environment = { DATABASE_URL: urlOf(location), JWT_SECRET: SECRET };
    ({ url, child } = await serve(environment));
  });

  const tokenOf = (id: number): Promise<string> =>
    issueToken({ id: String(id), phone: `080${String(id).padStart(8, '0')}` }, SECRET);

  const get = async <Data>(viewer: number, query: string): Promise<Data> => {
    const { data, errors } = await ask(url, await tokenOf(viewer), query);
    if (errors !== undefined) throw new Error(`${JSON.stringify(errors)}: ${query}`);
    return data as Data;
  };

  const connect = async (id: number): Promise<OldClient> => {
    const socket = io(url, { auth: { token: await tokenOf(id) }, reconnectionDelay: 50 });
    atTheEnd(() => {
      socket.disconnect();
      return Promise.resolve();
    }, 'closes');
    const heard = new Heard<{ event: string } & Told>();
    socket.onAny((event: string, told: Told) => {
      heard.add({ ...told, event });
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('connect_error', reject);
    });
    return {
      socket,
      heard,
      say: (event, given) => socket.timeout(10_000).emitWithAck(event, given) as Promise<Told>,
      of: (event) => heard.items.filter((item) => item.event === event),
    };
  };

  /** Two clients, each of whom certainly hears the other one. */
  const pair = async (a: number, b: number): Promise<[OldClient, OldClient]> => {
    const clients: [OldClient, OldClient] = [await connect(a), await connect(b)];
    for (const [from, to, peer] of [
      [clients[0], clients[1], b],
      [clients[1], clients[0], a],
    ] as const)
      while (to.of('typing').length === 0 || to.of('new_message').length === 0) {
        await from.say('send_message', { recipientId: peer, content: 'are you there?' });
        for (const typing of [true, false]) await from.say('typing', { recipientId: peer, typing });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    return clients;
  };

  const socketIdOf = async (id: number): Promise<unknown> =>
    using(location, async ({ reader }) => {
      const [row] = await reader.all<{ socketId: string | null }>(
        `SELECT socket_id AS "socketId" FROM users WHERE id = ${id}`,
      );
      return row?.socketId;
    });

  it('write to each other, and to new clients, in both directions', async () => {
    const [ada, bob] = await pair(1, 2);
    const answer = await ada.say('send_message', {
      recipientId: 2,
      content: 'by the old way',
      clientId: 'old 1',
    });
    const message = answer.message as { id: number; content: string };
    expect(message).toMatchObject({
      sender_id: 1,
      recipient_id: 2,
      content: 'by the old way',
      type: 'text',
      status: 'sent',
    });
    const isTold = (text: string) => (): boolean =>
      bob.of('new_message').some(({ content }) => content === text);
    await bob.heard.until(isTold('by the old way'));
    expect(bob.of('new_message').at(-1)).toEqual({ ...message, event: 'new_message' });
    // A retry makes no second one, and tells nobody.
    expect(
      await ada.say('send_message', {
        recipientId: 2,
        content: 'by the old way',
        clientId: 'old 1',
      }),
    ).toEqual(answer);
    const { directConversation } = await get<{
      directConversation: { id: string; lastMessage: { text: string; legacyId: string } };
    }>(2, '{ directConversation(userId: "usr_1") { id lastMessage { text legacyId } } }');
    expect(directConversation.lastMessage).toEqual({
      text: 'by the old way',
      legacyId: String(message.id),
    });
    await get(
      1,
      `mutation { sendMessage(input: { conversationId: "${directConversation.id}", clientId: "new 1", text: "by the new way" }) { id } }`,
    );
    await bob.heard.until(isTold('by the new way'));
    expect(
      bob.of('new_message').filter(({ content }) => content === 'by the old way'),
    ).toHaveLength(1);
    // What one wrote himself is not news to him.
    expect(ada.of('new_message').filter(({ sender_id }) => sender_id === 1)).toEqual([]);
  });

  it('are told what became of their messages, whichever way it was read', async () => {
    const [ada, bob] = await pair(1, 2);
    const send = async (content: string): Promise<number> => {
      const { message } = await ada.say('send_message', { recipientId: 2, content });
      return (message as { id: number }).id;
    };
    const first = await send('to be read the old way');
    expect(await bob.say('mark_read', { messageId: first })).toMatchObject({
      message: { id: first, status: 'read' },
    });
    const says = (id: number, status: string) => (): boolean =>
      ada.of('message_status').some((told) => told.messageId === id && told.status === status);
    await ada.heard.until(says(first, 'read'));
    const both = [await send('to be read'), await send('the new way')];
    const { directConversation } = await get<{
      directConversation: { id: string; lastMessage: { id: string } };
    }>(2, '{ directConversation(userId: "usr_1") { id lastMessage { id } } }');
    const { id, lastMessage } = directConversation;
    for (const verb of ['markDelivered', 'markRead'])
      await get(
        2,
        `mutation { ${verb}(conversationId: "${id}", upToMessageId: "${lastMessage.id}") { status } }`,
      );
    for (const one of both)
      for (const status of ['delivered', 'read']) await ada.heard.until(says(one, status));
    const told = ada
      .of('message_status')
      .filter(({ messageId }) => both.includes(Number(messageId)));
    expect(told.map(({ messageId, status }) => [messageId, status])).toEqual([
      ...both.map((one) => [one, 'delivered']),
      ...both.map((one) => [one, 'read']),
    ]);
    expect(told[0]).toEqual({
      event: 'message_status',
      messageId: both[0],
      userId: 2,
      status: 'delivered',
      timestamp: expect.stringMatching(/^20.*Z$/),
    });
  });

  it('see who types and who is there, and stand in their account while they are', async () => {
    // People of whom no other test has left a connection.
    const [ada, bob] = await pair(5, 6);
    await ada.say('typing', { recipientId: 6, typing: true });
    await bob.heard.until(() => bob.of('typing').at(-1)?.typing === true);
    expect(bob.of('typing').at(-1)).toEqual({
      event: 'typing',
      userId: 5,
      recipientId: 6,
      groupId: null,
      typing: true,
    });
    // Sent, it is typed.
    await ada.say('send_message', { recipientId: 6, content: 'typed' });
    await bob.heard.until(() => bob.of('typing').at(-1)?.typing === false);
    while ((await socketIdOf(6)) !== bob.socket.id)
      await new Promise((resolve) => setTimeout(resolve, 50));
    await get(6, 'mutation { setPresence(status: BUSY) { status } }');
    const isShown = (status: string) => (): boolean =>
      ada.of('presence').some((told) => told.userId === 6 && told.status === status);
    await ada.heard.until(isShown('busy'));
    bob.socket.disconnect();
    await ada.heard.until(isShown('offline'));
    expect(ada.of('presence').at(-1)).toMatchObject({
      userId: 6,
      lastSeen: expect.stringMatching(/^20.*Z$/),
    });
    while ((await socketIdOf(6)) !== null) await new Promise((resolve) => setTimeout(resolve, 50));
  });

  it('are told what was wrong with what they sent, and go on', async () => {
    const ada = await connect(1);
    for (const [event, given, words] of [
      ['send_message', { recipientId: 2 }, /^content is missing/],
      ['send_message', { content: 'to whom?' }, /exactly one of them/],
      ['send_message', { recipientId: 'Bob', content: 'x' }, /^recipientId is "Bob"/],
      ['send_message', 'hello', /^Send an object/],
      ['send_message', { recipientId: 2, content: 'x', clientId: '' }, /^clientId is ""/],
      [
        'send_message',
        { recipientId: 2, content: 'x', clientId: 'half \uD800' },
        /^clientId is "half/,
      ],
      ['send_message', { recipientId: 2, content: 'x', clientId: 'NUL \0' }, /^clientId is "NUL/],
      ['mark_read', { messageId: 2 ** 40 }, /^messageId is 1099511627776/],
      ['typing', { recipientId: 2, typing: 'yes' }, /^typing is "yes"/],
      ['typing', { typing: true }, /exactly one of them/],
    ] as const)
      expect({ event, given, answer: await ada.say(event, given) }).toMatchObject({
        answer: { error: { code: 'BAD_USER_INPUT', message: expect.stringMatching(words) } },
      });
    expect(await ada.say('send_message', { recipientId: 4711, content: 'x' })).toMatchObject({
      error: { code: 'RECIPIENT_GONE' },
    });
    expect(await ada.say('mark_read', { messageId: 4711 })).toMatchObject({
      error: { code: 'NOT_FOUND' },
    });
    expect(await ada.say('typing', { groupId: 4711, typing: true })).toMatchObject({
      error: { code: 'NOT_FOUND' },
    });
    // Who asks for no answer is told all the same.
    ada.socket.emit('mark_read', {});
    await ada.heard.until(() => ada.of('exception').length > 0);
    expect(ada.of('exception')).toMatchObject([{ code: 'BAD_USER_INPUT' }]);
    expect(
      await ada.say('send_message', { recipientId: 2, content: 'all the same' }),
    ).toMatchObject({ message: { content: 'all the same' } });
  });

  it.each([
    ['no token', {}],
    ['nonsense', { token: 'nonsense' }],
  ])('are not let in with %s', async (_, auth) => {
    const socket = io(url, { auth, reconnection: false, forceNew: true });
    const error = await new Promise<{ message: string; data?: unknown }>((resolve) => {
      socket.once('connect_error', resolve);
    });
    socket.disconnect();
    expect(error.data).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(error.message).toMatch(/token/i);
  });

  it('come back by themselves when the server ends, is killed, or is started anew', async () => {
    const [ada, bob] = await pair(1, 2);
    const { port } = new URL(url);
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const back = [ada, bob].map(
        ({ socket }) =>
          new Promise<void>((resolve) => {
            socket.once('connect', resolve);
          }),
      );
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
      ({ url, child } = await serve({ ...environment, PORT: port }));
      await Promise.all(back);
      const text = `after ${signal}`;
      const isTold = (): boolean => bob.of('new_message').some(({ content }) => content === text);
      while (!isTold()) {
        // The same message, however often it is sent: he may not have listened yet when it was.
        await ada.say('send_message', { recipientId: 2, content: text });
        await Promise.race([
          bob.heard.until(isTold),
          new Promise((resolve) => setTimeout(resolve, 200)),
        ]);
      }
    }
  });
});

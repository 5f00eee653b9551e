import { setImmediate } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { ExecutionResult } from 'graphql';
import type { Database, Queryable } from '../../src/database/database.js';
import { type App, appOn, listening } from '../helpers/app.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

/**
 * A database that notes the statements of its reader, and runs them one after the other: what is loaded together then
 * depends on the operation alone, and not on which answer comes first.
 */
function withNotes(database: Database): { database: Database; statements: string[] } {
  const statements: string[] = [];
  let last: Promise<unknown> = Promise.resolve();
  const next = <Result>(sql: string, work: () => Promise<Result>): Promise<Result> => {
    statements.push(sql);
    const before = last;
    const result = (async () => {
      await before.catch(() => undefined);
      // What waited for the one before asks first.
      await setImmediate();
      return work();
    })();
    last = result;
    return result;
  };
  const { reader } = database;
  const noted: Queryable = {
    all: (sql, parameters) => next(sql, () => reader.all(sql, parameters)),
    run: (sql, parameters) => next(sql, () => reader.run(sql, parameters)),
  };
  return { database: withParts(database, { reader: noted }), statements };
}

const LIST = `query L($first: Int) { conversations(first: $first) { edges { node {
  id title name kind lastActivityAt participantCount isMarkedUnread createdBy { name }
  participants(first: 3) { edges { node { role user { id name phone } } } }
  myParticipant { role lastReadMessageId }
  lastMessage { text sender { name phone } status receipts(first: 5) { edges { node { status user { name } } } } replyTo { text } }
  unreadCount firstUnreadMessage { id text sender { name } }
  messages(last: 3) { edges { node { text status sender { name } } } pageInfo { hasPreviousPage } }
} } pageInfo { hasNextPage } } }`;

const PAGE = `query P($id: ID!, $last: Int) { conversation(id: $id) { messages(last: $last) { edges { node {
  text status conversation { id } sender { name phone } replyTo { text sender { name } }
  receipts { edges { node { status at user { name } } } } } } } } }`;

const EVENTS = `subscription { events { cursor
  ... on MessageAdded { message { text status sender { name phone presence { status lastSeenAt } } replyTo { text sender { name } }
    conversation { title unreadCount isMarkedUnread myParticipant { role lastReadMessageId } lastMessage { text sender { name } }
      participants(first: 20) { edges { node { user { name } } } } } } }
  ... on ReceiptUpdated { receipt { status user { name phone } } conversation { title unreadCount } } } }`;

const SEND = `mutation S($input: SendMessageInput!) { sendMessage(input: $input) { id } }`;

/** What the hub asks each second, whatever happens. */
function isLookingForMore(sql: string): boolean {
  return sql.includes('FROM event_log');
}

const GROUPS = 30;
const MESSAGES = 50;

describe.each(ENGINES)('the statements of a list, whatever its size, on %s', (engine) => {
  let app: App;
  let statements: string[];
  let longest: string;

  beforeAll(async () => {
    const legacy = await legacyDatabase(engine, { messages: 0 });
    await migrate(legacy.database);
    const noting = withNotes(legacy.database);
    ({ statements } = noting);
    app = await appOn(noting.database, { books: legacy.database });

    const send = async (viewer: string, input: object): Promise<string> =>
      (await app.get<{ sendMessage: { id: string } }>(viewer, SEND, { input })).sendMessage.id;
    const read = (viewer: string, conversationId: string, messageId: string): Promise<unknown> =>
      app.get(
        viewer,
        'mutation R($c: ID!, $m: ID!) { markRead(conversationId: $c, upToMessageId: $m) { status } }',
        { c: conversationId, m: messageId },
      );
    const groups: string[] = [];
    // Half of them have no name, and are called by their members, who differ from one to the next.
    // All of them are on the first page of participants, so that nobody is left to be looked up in some lists only.
    for (let n = 0; n < GROUPS; n += 1) {
      const others = [2 + (n % 11), 2 + ((n + 3) % 11)];
      const { createGroup } = await app.get<{ createGroup: { id: string } }>(
        '1',
        'mutation G($input: CreateGroupInput!) { createGroup(input: $input) { id } }',
        {
          input: {
            name: n % 2 === 0 ? null : `Group ${n}`,
            participantIds: others.map((id) => `usr_${id}`),
          },
        },
      );
      groups.push(createGroup.id);
      const [writer = 2, reader = 3] = others;
      const own = { conversationId: createGroup.id };
      const first = await send('1', { ...own, clientId: `${n} a`, text: 'one' });
      await read(String(reader), createGroup.id, first);
      for (const text of ['two', 'three'])
        await send(String(writer), {
          ...own,
          clientId: `${n} ${text}`,
          text,
          replyToId: first,
        });
    }
    longest = groups.at(-1) ?? '';
    const members = ['1', String(2 + ((GROUPS - 1) % 11)), String(2 + ((GROUPS + 2) % 11))];
    let last = '';
    for (let n = 0; n < MESSAGES; n += 1) {
      const sender = members[n % 3] ?? '1';
      last = await send(sender, {
        conversationId: longest,
        clientId: `long ${n}`,
        text: `message ${n}`,
        ...(last === '' || n % 2 === 0 ? {} : { replyToId: last }),
      });
      if (n % 10 === 9) await read(members[1] ?? '', longest, last);
    }
  });

  /** What an operation gives, and the statements that it took. */
  const noted = async (
    document: string,
    variables: Record<string, unknown>,
  ): Promise<{ data: unknown; asked: string[] }> => {
    statements.length = 0;
    const data = await app.get('1', document, variables);
    const asked = statements.map((sql) => sql.replaceAll(/\s+/g, ' ').slice(0, 160));
    return { data, asked };
  };

  it('is the same for 3 conversations and for 30', async () => {
    const few = await noted(LIST, { first: 3 });
    const many = await noted(LIST, { first: GROUPS });
    const edges = (count: number): unknown =>
      Array<unknown>(count).fill({
        node: expect.objectContaining({ lastMessage: expect.anything() }),
      });
    expect(few.data).toMatchObject({ conversations: { edges: edges(3) } });
    expect(many.data).toMatchObject({ conversations: { edges: edges(GROUPS) } });
    expect(many.asked).toEqual(few.asked);
  });

  it('is the same for 5 messages and for 50', async () => {
    const few = await noted(PAGE, { id: longest, last: 5 });
    const many = await noted(PAGE, { id: longest, last: MESSAGES });
    const edges = (count: number): unknown => Array<unknown>(count).fill(expect.anything());
    expect(few.data).toMatchObject({ conversation: { messages: { edges: edges(5) } } });
    expect(many.data).toMatchObject({ conversation: { messages: { edges: edges(MESSAGES) } } });
    expect(many.asked).toEqual(few.asked);
  });

  it('is the same for an event that 3 are told, and for 11', async () => {
    const members = Array.from({ length: 11 }, (_, index) => String(index + 2));
    const group = async (others: readonly string[]): Promise<string> => {
      const { createGroup } = await app.get<{ createGroup: { id: string } }>(
        '1',
        'mutation G($input: CreateGroupInput!) { createGroup(input: $input) { id } }',
        { input: { name: null, participantIds: others.map((id) => `usr_${id}`) } },
      );
      return createGroup.id;
    };
    /** What it takes to tell so many, who listen on two devices each, of a message and of what has become of it. */
    const told = async (others: readonly string[]): Promise<string[]> => {
      const conversationId = await group(others);
      const streams: AsyncGenerator<ExecutionResult>[] = [];
      for (const who of [...others, ...others]) streams.push(await app.follow(who, EVENTS));
      let heard = streams.map((stream) => stream.next());
      await listening(app, streams.length);
      const asked: string[] = [];
      const { sendMessage } = await app.get<{ sendMessage: { id: string } }>('1', SEND, {
        input: { conversationId, clientId: `told to ${others.length}`, text: 'told' },
      });
      const note = async (what: unknown): Promise<void> => {
        const results = await Promise.all(heard);
        for (const { value } of results) expect(value).toMatchObject({ data: { events: what } });
        heard = streams.map((stream) => stream.next());
        asked.push(
          ...statements
            .filter((sql) => !isLookingForMore(sql))
            .map((sql) => sql.replaceAll(/\s+/g, ' ').slice(0, 160)),
        );
      };
      statements.length = 0;
      await note({ message: { text: 'told', conversation: { unreadCount: 1 } } });
      statements.length = 0;
      await app.get(
        others[0] ?? '',
        'mutation R($c: ID!, $m: ID!) { markRead(conversationId: $c, upToMessageId: $m) { status } }',
        { c: conversationId, m: sendMessage.id },
      );
      await note({ receipt: { status: 'READ' } });
      for (const stream of streams) void stream.return(undefined);
      await Promise.all(heard);
      return asked;
    };
    const few = await told(members.slice(0, 3));
    expect(few).not.toHaveLength(0);
    expect(await told(members)).toEqual(few);
  });
});

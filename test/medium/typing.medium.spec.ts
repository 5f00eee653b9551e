import { beforeEach, describe, expect, it } from '@jest/globals';
import type { Database } from '../../src/database/database.js';
import { type App, appOn, listening } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

const [ADA, BOB, CY] = ['1', '2', '3'] as const;

const EVENTS = `subscription { events { __typename cursor
  ... on TypingChanged { conversationId typing user { id } } ... on MessageAdded { message { text } } } }`;

type Told = Record<string, unknown> & { readonly __typename: string; readonly cursor: string };

describe.each(ENGINES)('typing, on %s', (engine) => {
  let database: Database;
  let app: App;
  let group: string;

  beforeEach(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 20 }));
    await migrate(database);
    app = await appOn(database);
    const made = await app.get(
      ADA,
      `mutation { createGroup(input: { name: "three", participantIds: ["usr_${BOB}", "usr_${CY}"] }) { id } }`,
    );
    group = (made.createGroup as { id: string }).id;
  });

  const type = (who: string, typing = true, id = group): ReturnType<App['ask']> =>
    app.ask(
      who,
      `mutation { setTyping(conversationId: "${id}", typing: ${typing}) { expiresAt } }`,
    );
  const send = (who: string, text: string): Promise<unknown> =>
    app.get(
      who,
      `mutation { sendMessage(input: { conversationId: "${group}", clientId: "${text}", text: "${text}" }) { id } }`,
    );
  const typists = async (who: string): Promise<unknown> => {
    const { conversation } = await app.get(
      who,
      `{ conversation(id: "${group}") { typing { id } } }`,
    );
    return (conversation as { typing: { id: string }[] }).typing.map(({ id }) => id);
  };

  /** Begins to listen; gives all that is told up to a message of this text, which is the end of it. */
  async function told(who: string): Promise<(until: string) => Promise<Told[]>> {
    const stream = await app.follow(who, EVENTS);
    const before = app.hub.listening;
    let next = stream.next();
    await listening(app, before + 1);
    const heard: Told[] = [];
    return async (until) => {
      for (;;) {
        const { value } = (await next) as { value: { data: { events: Told } } };
        next = stream.next();
        const event = value.data.events;
        if ((event.message as { text: string } | undefined)?.text === until) break;
        heard.push(event);
      }
      await stream.return(undefined);
      return heard.filter(({ __typename }) => __typename === 'TypingChanged');
    };
  }

  it('is told to the other members who listen, with the cursor of the last event before it', async () => {
    const heard = new Map<string, (until: string) => Promise<Told[]>>();
    for (const who of [ADA, BOB, CY]) heard.set(who, await told(who));
    const { eventCursor } = await app.get(ADA, '{ eventCursor }');
    const before = await database.reader.all('SELECT count(*) AS count FROM events');
    expect(await type(ADA)).toMatchObject({ code: null });
    expect(await typists(BOB)).toEqual([`usr_${ADA}`]);
    expect(await typists(ADA)).toEqual([]);
    expect(await type(ADA, false)).toMatchObject({ data: { setTyping: { expiresAt: null } } });
    expect(await typists(BOB)).toEqual([]);
    // Nothing was written.
    expect(await database.reader.all('SELECT count(*) AS count FROM events')).toEqual(before);
    await send(BOB, 'the end');
    for (const [who, read] of heard) {
      const told = await read('the end');
      expect({ who, told }).toEqual({
        who,
        told:
          who === ADA
            ? []
            : [true, false].map((typing) => ({
                __typename: 'TypingChanged',
                cursor: eventCursor,
                conversationId: group,
                typing,
                user: { id: `usr_${ADA}` },
              })),
      });
    }
  });

  it('ends when the message is sent', async () => {
    const read = await told(BOB);
    await type(ADA);
    await send(ADA, 'typed');
    expect(await typists(BOB)).toEqual([]);
    await send(ADA, 'the end');
    expect((await read('the end')).map(({ typing }) => typing)).toEqual([true, false]);
  });

  it('is nothing to strangers and to who was removed, and cannot be said by them', async () => {
    const [stranger] = await database.reader.all<{ id: string }>(
      `SELECT CAST(id AS text) AS id FROM users WHERE id NOT IN (1, 2, 3) ORDER BY id LIMIT 1`,
    );
    await type(CY);
    const read = await told(CY);
    await app.get(
      ADA,
      `mutation { removeParticipant(conversationId: "${group}", userId: "usr_${CY}") { id } }`,
    );
    // Who was removed does not type here any more.
    expect(await typists(BOB)).toEqual([]);
    await type(ADA);
    for (const who of [stranger?.id ?? '', CY]) {
      expect(await type(who)).toMatchObject({ code: 'NOT_FOUND' });
    }
    expect(await type(ADA, true, 'conv_4711')).toMatchObject({ code: 'NOT_FOUND' });
    expect(await type(ADA, true, 'nonsense')).toMatchObject({ code: 'NOT_FOUND' });
    expect(await typists(CY)).toEqual([]);
    // Something that he is told, to see that nothing came before it.
    const { createGroup } = await app.get(
      ADA,
      `mutation { createGroup(input: { participantIds: ["usr_${CY}"] }) { id } }`,
    );
    await app.get(
      ADA,
      `mutation { sendMessage(input: { conversationId: "${(createGroup as { id: string }).id}", clientId: "end", text: "the end" }) { id } }`,
    );
    expect(await read('the end')).toEqual([]);
  });

  it('can be followed for one conversation alone', async () => {
    const stream = await app.follow(
      BOB,
      `subscription { typingChanged(conversationId: "${group}") { typing user { id } } }`,
    );
    const first = stream.next();
    await listening(app, 1);
    const read = await told(BOB);
    await type(CY);
    expect(await first).toMatchObject({
      value: { data: { typingChanged: { typing: true, user: { id: `usr_${CY}` } } } },
    });
    await stream.return(undefined);
    await send(ADA, 'the end');
    expect(await read('the end')).toHaveLength(1);
  });
});

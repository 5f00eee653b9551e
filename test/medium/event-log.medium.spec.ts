import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Database, Queryable } from '../../src/database/database.js';
import { readCursor, writeCursor } from '../../src/events/cursor.js';
import { type Delivery, EventHub } from '../../src/events/event-hub.js';
import { forgetEvents } from '../../src/events/event-log.js';
import { type App, appOn } from '../helpers/app.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

const EVENTS = `subscription ($after: String) { events(after: $after) { __typename cursor
  ... on MessageAdded { message { text } } ... on ResyncRequired { reason } } }`;

interface Told {
  readonly __typename: string;
  readonly cursor: string;
  readonly message?: { readonly text: string };
  readonly reason?: string;
}

describe.each(ENGINES)('the event log on %s', (engine) => {
  let database: Database;
  let app: App;
  let conversation: string;
  let sent = 0;

  beforeAll(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 50 }));
    await migrate(database);
    app = await appOn(database, { side: 'new' });
    const { startDirectConversation } = await app.get(
      '1',
      'mutation { startDirectConversation(userId: "usr_2") { id } }',
    );
    conversation = (startDirectConversation as { id: string }).id;
  });

  async function send(): Promise<string> {
    sent += 1;
    const text = `words ${sent}`;
    await app.get(
      '1',
      `mutation ($conversation: ID!, $text: String!) {
         sendMessage(input: { conversationId: $conversation, clientId: $text, text: $text }) { id } }`,
      { conversation, text },
    );
    return text;
  }

  const cursor = async (): Promise<string> =>
    String((await app.get('2', '{ eventCursor }')).eventCursor);

  /** The next events of the second person after a cursor. */
  async function told(after: string, count: number): Promise<Told[]> {
    const stream = await app.follow('2', EVENTS, { after });
    const events: Told[] = [];
    try {
      while (events.length < count) {
        const next = await stream.next();
        if (next.done === true) throw new Error('The stream has ended');
        events.push((next.value.data as { events: Told }).events);
      }
      return events;
    } finally {
      await stream.return(undefined);
    }
  }

  const texts = (events: readonly Told[]): (string | undefined)[] =>
    events.map(({ message, __typename }) => message?.text ?? __typename);

  const resync = (reason: RegExp): object => ({
    __typename: 'ResyncRequired',
    reason: expect.stringMatching(reason),
  });

  it('gives what was missed in order, then what comes, from any of its cursors', async () => {
    const begin = await cursor();
    const missed = [await send(), await send(), await send()];
    const events = await told(begin, 3);
    expect(texts(events)).toEqual(missed);
    expect(texts(await told(events[0]?.cursor ?? '', 2))).toEqual(missed.slice(1));
    const last = told(events[2]?.cursor ?? '', 1);
    const next = await send();
    expect(texts(await last)).toEqual([next]);
  });

  it('refuses what is no cursor, and says so', async () => {
    await expect(app.follow('2', EVENTS, { after: 'nonsense' })).rejects.toThrow(/is no cursor/);
  });

  it('forgets what is older than it has to be kept, and never what is not; who was away too long is told', async () => {
    const old = await cursor();
    const first = await send();
    const between = (await told(old, 1))[0]?.cursor ?? '';
    await send();
    // At the length that it has without a setting.
    expect(await forgetEvents(database, 30 * 86_400)).toBe(0);
    expect(texts(await told(old, 1))).toEqual([first]);
    await database.transaction((transaction) =>
      transaction.run('UPDATE events SET at = at - 40 * 86400 * CAST(1000000 AS bigint)'),
    );
    const [before] = await database.reader.all<{ count: number | string }>(
      'SELECT count(*) AS count FROM events',
    );
    // All but the newest, in slices of two.
    expect(await forgetEvents(database, 30 * 86_400, 2)).toBe(Number(before?.count) - 1);
    for (const cursorOf of [old, between])
      expect((await told(cursorOf, 1))[0]).toMatchObject(
        resync(/older than what the event log keeps/),
      );
    const next = send();
    expect(texts(await told(await cursor(), 1))).toEqual([await next]);
  });

  it('knows a cursor that is ahead of it, of another log, or of a part that a restore has lost', async () => {
    await send();
    const place = readCursor(await cursor());
    if (place === null) throw new Error('The cursor cannot be read');
    for (const [wrong, reason] of [
      [{ ...place, id: place.id + 10 }, /ahead of the event log/],
      [{ ...place, epoch: '0123456789abcdef' }, /of another event log/],
      [{ ...place, at: String(BigInt(place.at) - 1n) }, /another event in the place/],
    ] as const) {
      const [first] = await told(writeCursor(wrong), 1);
      expect(first).toMatchObject(resync(reason));
      // It goes on behind that.
      const next = await send();
      expect(texts(await told(first?.cursor ?? '', 1))).toEqual([next]);
    }
  });

  it('leaves out nothing for who begins to listen while it is looked up who else is told', async () => {
    await send();
    const before = readCursor(await cursor());
    if (before === null) throw new Error('The cursor cannot be read');
    const repeat = (count: number): Promise<void> =>
      database.transaction(async (transaction) => {
        for (let n = 0; n < count; n += 1)
          await transaction.run(
            `INSERT INTO events (kind, conversation_id, message_id, at)
             SELECT kind, conversation_id, message_id, at FROM events WHERE id = :id`,
            { id: before.id },
          );
      });
    // His first page, of 200 events, ends between where the hub has read to and what it is about to tell.
    await repeat(100);
    let lookedUp = (): void => undefined;
    let goOn = (): void => undefined;
    const isLookedUp = new Promise<void>((resolve) => (lookedUp = resolve));
    const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
    const reader: Queryable = {
      run: (...statement) => database.reader.run(...statement),
      all: async (sql, parameters) => {
        if (sql.includes('AS "eventId"')) {
          lookedUp();
          await mayGoOn;
        }
        return database.reader.all(sql, parameters);
      },
    };
    const hub = new EventHub(withParts(database, { reader }), (message) => {
      throw new Error(message);
    });
    const there = await hub.subscribe('1', null);
    const first = there.next();
    while (hub.listening < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    await repeat(200);
    hub.wake();
    await isLookedUp;
    const late = await hub.subscribe('2', before);
    const ids: number[] = [];
    while (ids.length < 200) ids.push(eventOf(await late.next()));
    const next = late.next();
    while (hub.listening < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    goOn();
    await first;
    // One more, so that a gap would be seen at once.
    await repeat(1);
    hub.wake();
    const logged = await database.reader.all<{ id: number | string }>(
      'SELECT id FROM events WHERE id > :id ORDER BY id',
      { id: before.id },
    );
    const expected = logged.map(({ id }) => Number(id));
    ids.push(eventOf(await next));
    expect(ids).toEqual(expected.slice(0, 201));
    while (ids.length < 301) ids.push(eventOf(await late.next()));
    expect(ids).toEqual(expected);
    await hub.stop();
  });
});

function eventOf({ value }: IteratorResult<Delivery>): number {
  const delivery = value as Delivery;
  if (!('event' in delivery)) throw new Error('That is no event');
  return delivery.event.id;
}

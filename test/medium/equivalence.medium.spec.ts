import { beforeAll, describe, expect, it } from '@jest/globals';
import { applyQueued } from '../../src/changeover/apply.js';
import { replayQuarantine } from '../../src/changeover/quarantine.js';
import { verify } from '../../src/changeover/verify.js';
import { DevicesService } from '../../src/users/devices.service.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { type App, appOn } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { contextOf, legacyDatabase, migrate } from '../helpers/legacy.js';
import { EVENTS, HISTORY, Replica, STATE, type ToldEvent } from '../helpers/replica.js';

/** Ada and Bob are in nearly everything; Cy comes and goes; Dee is in nothing that is not hers. The last two are new. */
const [ADA, BOB, CY, DEE] = ['1', '2', '9003', '9004'] as const;
const PEOPLE = [ADA, BOB, CY, DEE];

type Data = Record<string, unknown>;

const SEND = `mutation ($conversation: ID!, $client: String!, $text: String!, $reply: ID) {
  sendMessage(input: { conversationId: $conversation, clientId: $client, text: $text, replyToId: $reply }) { id legacyId } }`;
const MARK = (verb: string): string =>
  `mutation ($conversation: ID!, $message: ID!) { ${verb}(conversationId: $conversation, upToMessageId: $message) { status upToMessageId } }`;

describe.each(ENGINES)('state before + events = state after, on %s', (engine: EngineName) => {
  let database: Database;
  let app: App;
  let direct: string;
  let group: string;
  const sent: Record<string, { id: string; legacyId: string }> = {};
  /** What each of them knows: from the beginning on by events alone. */
  const replicas = new Map<string, Replica>();

  beforeAll(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 40, seed: 3 }));
    await database.transaction(async (transaction) => {
      for (const id of [CY, DEE])
        await transaction.run(`INSERT INTO users (id, phone) VALUES (${id}, '0900${id}')`);
      // Old groups: Ada, Bob and Cy wrote in one, Dee in another.
      for (const [sender, to] of [
        [ADA, 77],
        [BOB, 77],
        [CY, 77],
        [DEE, 78],
      ] as const)
        await transaction.run(
          `INSERT INTO messages (sender_id, group_id, content, created_at) VALUES (${sender}, ${to}, 'old words', '2020-01-01 00:00:00')`,
        );
    });
    await migrate(database);
    app = await appOn(database, { side: 'new' });
    ({ direct } = await conversations());
  });

  async function conversations(): Promise<{ direct: string; old: string }> {
    const { startDirectConversation } = await app.get(
      ADA,
      `mutation { startDirectConversation(userId: "usr_${BOB}") { id } }`,
    );
    const [old] = await database.reader.all<{ id: string }>(
      `SELECT 'conv_' || CAST(id AS text) AS id FROM conversations WHERE legacy_group_id = 77`,
    );
    return { direct: (startDirectConversation as { id: string }).id, old: old?.id ?? '' };
  }

  /** What everybody is shown. */
  const stateOf = async (userId: string): Promise<Replica> =>
    new Replica(await app.get(userId, STATE));

  /** Runs a change, and has everybody follow it by its events. Returns who was told what. */
  async function followed(change: () => Promise<unknown>): Promise<Record<string, string[]>> {
    const { eventCursor } = await app.get(ADA, '{ eventCursor }');
    for (const userId of PEOPLE)
      if (!replicas.has(userId)) replicas.set(userId, await stateOf(userId));
    await change();
    await applyQueued(contextOf(database));
    const told: Record<string, string[]> = {};
    for (const [userId, replica] of replicas) {
      const events = await eventsAfter(userId, String(eventCursor));
      let isJustRead = false;
      for (const event of events) {
        const before = replica.known();
        const unknown = replica.apply(event);
        if (unknown !== null) replica.fill(unknown, await app.get(userId, HISTORY(unknown)));
        // An event that changes nothing is one too many, but for those of messages that were read in between.
        if (!isJustRead)
          expect({ event, known: replica.known() }).not.toEqual({ event, known: before });
        isJustRead ||= unknown !== null;
      }
      expect({ userId, known: replica.known() }).toEqual({
        userId,
        known: (await stateOf(userId)).known(),
      });
      if (events.length > 0) told[userId] = events.map(({ __typename }) => __typename);
    }
    return told;
  }

  /** The events that one is given after a cursor, up to one that he alone is told of. */
  async function eventsAfter(userId: string, after: string): Promise<ToldEvent[]> {
    const stream = await app.follow(userId, EVENTS, { after });
    const events: ToldEvent[] = [];
    const mark = await markFor(userId);
    try {
      for (;;) {
        const next = await stream.next();
        if (next.done === true) throw new Error('The stream has ended');
        const result = next.value as { data?: { events: ToldEvent }; errors?: unknown };
        if (result.data == null) throw new Error(JSON.stringify(result.errors));
        const event = result.data.events;
        if (event.__typename === 'DeviceChanged' && (event.device as Data).deviceId === mark) break;
        events.push(event);
      }
    } finally {
      await stream.return(undefined);
      await asOldApp(`DELETE FROM devices WHERE device_id = '${mark}'`)();
    }
    return events;
  }

  let marks = 0;
  async function markFor(userId: string): Promise<string> {
    marks += 1;
    const deviceId = `mark ${marks}`;
    const devices = new DevicesService(database, DEFAULT_MAPPING);
    await database.transaction((transaction) =>
      devices.getOrCreate(transaction, userId, { deviceId }),
    );
    app.hub.wake();
    return deviceId;
  }

  const asOldApp =
    (...statements: string[]) =>
    async (): Promise<void> =>
      database.transaction(async (transaction) => {
        for (const statement of statements) await transaction.run(statement);
      });

  const send =
    (name: string, userId: string, to: () => string, more: Data = {}) =>
    async (): Promise<void> => {
      const { sendMessage } = await app.get(userId, SEND, {
        conversation: to(),
        client: name,
        text: `words of ${name}`,
        ...more,
      });
      sent[name] = sendMessage as { id: string; legacyId: string };
    };
  const message = (name: string): { id: string; legacyId: string } => {
    const found = sent[name];
    if (found === undefined) throw new Error(`${name} was not sent`);
    return found;
  };

  it('for what new clients do', async () => {
    const ask =
      (userId: string, query: string, variables: () => Data = () => ({})) =>
      () =>
        app.get(userId, query, variables());
    const mark = (userId: string, verb: string, name: string, to = (): string => direct) =>
      ask(userId, MARK(verb), () => ({ conversation: to(), message: message(name).id }));
    const inDirect = (): string => direct;
    const inGroup = (): string => group;

    expect(
      await followed(ask(DEE, `mutation { startDirectConversation(userId: "usr_${CY}") { id } }`)),
    ).toEqual({ [CY]: ['ConversationChanged'], [DEE]: ['ConversationChanged'] });
    // Once more: it is there.
    expect(
      await followed(ask(CY, `mutation { startDirectConversation(userId: "usr_${DEE}") { id } }`)),
    ).toEqual({});

    const added = { [ADA]: ['MessageAdded'], [BOB]: ['MessageAdded'] };
    expect(await followed(send('first', ADA, inDirect))).toEqual(added);
    expect(await followed(send('first', ADA, inDirect))).toEqual({});
    expect(await followed(send('second', BOB, inDirect, { reply: message('first').id }))).toEqual(
      added,
    );
    const received = { [ADA]: ['ReceiptUpdated'], [BOB]: ['ReceiptUpdated'] };
    expect(await followed(mark(BOB, 'markDelivered', 'first'))).toEqual(received);
    expect(await followed(mark(BOB, 'markRead', 'first'))).toEqual(received);
    // Nothing new, and nothing backwards.
    expect(await followed(mark(BOB, 'markRead', 'first'))).toEqual({});
    expect(await followed(mark(BOB, 'markDelivered', 'first'))).toEqual({});
    expect(await followed(mark(ADA, 'markRead', 'second'))).toEqual(received);
    const unread = ask(
      ADA,
      'mutation ($id: ID!) { markUnread(conversationId: $id) { id } }',
      () => ({
        id: direct,
      }),
    );
    expect(await followed(unread)).toEqual({ [ADA]: ['ConversationChanged'] });
    expect(await followed(unread)).toEqual({});
    expect(await followed(mark(ADA, 'markRead', 'second'))).toEqual({
      [ADA]: ['ConversationChanged'],
    });

    const create = async (): Promise<void> => {
      const { createGroup } = await app.get(
        ADA,
        `mutation { createGroup(input: { clientId: "g", name: "Friends", participantIds: ["usr_${BOB}"] }) { id } }`,
      );
      group = (createGroup as { id: string }).id;
    };
    const changed = { [ADA]: ['ConversationChanged'], [BOB]: ['ConversationChanged'] };
    expect(await followed(create)).toEqual(changed);
    expect(await followed(create)).toEqual({});
    expect(await followed(send('in the group', ADA, inGroup))).toEqual(added);
    const rename = ask(
      ADA,
      'mutation ($id: ID!) { updateGroup(id: $id, input: { name: "Old friends" }) { id } }',
      () => ({ id: group }),
    );
    expect(await followed(rename)).toEqual(changed);
    expect(await followed(rename)).toEqual({});
    const add = ask(
      ADA,
      `mutation ($id: ID!) { addParticipants(conversationId: $id, userIds: ["usr_${CY}"]) { id } }`,
      () => ({ id: group }),
    );
    expect(await followed(add)).toEqual({ ...changed, [CY]: ['ConversationChanged'] });
    expect(await followed(add)).toEqual({});
    expect(await followed(send('to all three', BOB, inGroup))).toEqual({
      ...added,
      [CY]: ['MessageAdded'],
    });
    for (const [userId, verb] of [
      [ADA, 'markRead'],
      [CY, 'markDelivered'],
      [CY, 'markRead'],
    ] as const)
      expect(await followed(mark(userId, verb, 'to all three', inGroup))).toEqual({
        ...received,
        [CY]: ['ReceiptUpdated'],
      });
    expect(
      await followed(
        ask(
          ADA,
          `mutation ($id: ID!) { removeParticipant(conversationId: $id, userId: "usr_${CY}") { id } }`,
          () => ({ id: group }),
        ),
      ),
    ).toEqual({ ...changed, [CY]: ['ConversationLeft'] });
    expect(await followed(send('without him', ADA, inGroup))).toEqual(added);
    expect(await followed(add)).toEqual({ ...changed, [CY]: ['ConversationChanged'] });
    expect(
      await followed(
        ask(ADA, 'mutation ($id: ID!) { leaveConversation(id: $id) { conversationId } }', () => ({
          id: group,
        })),
      ),
    ).toEqual({
      [ADA]: ['ConversationLeft'],
      [BOB]: ['ConversationChanged'],
      [CY]: ['ConversationChanged'],
    });
  });

  it('for what old clients do', async () => {
    const old = (await conversations()).old;
    expect(old).not.toBe('');
    expect(
      await followed(async () => {
        const { createMessage } = await app.get(
          BOB,
          `mutation { createMessage(senderId: ${BOB}, recipientId: ${ADA}, content: "by the old API") { id } }`,
        );
        const { id } = createMessage as { id: number };
        sent.old = { id: `msg_${id}`, legacyId: String(id) };
      }),
    ).toEqual({ [ADA]: ['MessageAdded'], [BOB]: ['MessageAdded'] });
    const read = (): Promise<Data> =>
      app.get(ADA, `mutation { markMessageAsRead(id: ${message('old').legacyId}) { status } }`);
    expect(await followed(read)).toEqual({ [ADA]: ['MessageChanged'], [BOB]: ['MessageChanged'] });
    expect(await followed(read)).toEqual({});
    const everybody = (kind: string): Data => ({ [ADA]: [kind], [BOB]: [kind], [CY]: [kind] });
    expect(
      await followed(() =>
        app.get(
          CY,
          `mutation { createMessage(senderId: ${CY}, groupId: 77, content: "to the old group") { id } }`,
        ),
      ),
    ).toEqual(everybody('MessageAdded'));
  });

  it('for what the old app writes', async () => {
    const both = (...kinds: string[]): Data => ({ [ADA]: kinds, [BOB]: kinds });
    const row = (id: number, recipient: string, text: string): string =>
      `INSERT INTO messages (id, sender_id, recipient_id, content) VALUES (${id}, ${ADA}, ${recipient}, '${text}')`;
    const write = (...statements: string[]): Promise<Record<string, string[]>> =>
      followed(asOldApp(...statements));

    expect(await write(row(900_001, BOB, 'raw words'))).toEqual(both('MessageAdded'));
    expect(await write(`UPDATE messages SET content = 'raw Words' WHERE id = 900001`)).toEqual(
      both('MessageChanged'),
    );
    expect(await write('UPDATE messages SET content = content WHERE id = 900001')).toEqual({});
    for (const status of ['delivered', 'read', 'sent'])
      expect(await write(`UPDATE messages SET status = '${status}' WHERE id = 900001`)).toEqual(
        both('MessageChanged'),
      );
    expect(await write(`UPDATE messages SET type = 'image' WHERE id = 900001`)).toEqual(
      both('MessageChanged'),
    );
    expect(await write(row(900_002, BOB, 'two'), row(900_003, BOB, 'three'))).toEqual(
      both('MessageAdded', 'MessageAdded'),
    );
    // To somebody else: out of one conversation and into another.
    expect(await write(`UPDATE messages SET recipient_id = ${CY} WHERE id = 900003`)).toEqual({
      [ADA]: ['ConversationChanged', 'MessageRemoved', 'MessageAdded'],
      [BOB]: ['MessageRemoved'],
      [CY]: ['ConversationChanged', 'MessageAdded'],
    });
    expect(await write('UPDATE messages SET id = 900004 WHERE id = 900002')).toEqual(
      both('MessageRemoved', 'MessageAdded'),
    );
    expect(
      await write(
        engine === 'sqlite'
          ? `REPLACE INTO messages (id, sender_id, recipient_id, content) VALUES (900004, ${ADA}, ${BOB}, 'replaced')`
          : `INSERT INTO messages (id, sender_id, recipient_id, content) VALUES (900004, ${ADA}, ${BOB}, 'replaced')
               ON CONFLICT (id) DO UPDATE SET content = excluded.content`,
      ),
    ).toEqual(both('MessageChanged'));
    expect(await write('DELETE FROM messages WHERE id = 900004')).toEqual(both('MessageRemoved'));
    // Written and taken back at once: nobody has seen it.
    expect(
      await write(row(900_005, BOB, 'gone'), 'DELETE FROM messages WHERE id = 900005'),
    ).toEqual({});

    // A mirror, edited and deleted by the old app; its instant is finer than the old column.
    await send('mirrored', BOB, () => direct)();
    const { legacyId } = message('mirrored');
    expect(
      await write(`UPDATE messages SET content = 'edited by the old app' WHERE id = ${legacyId}`),
    ).toEqual(both('MessageChanged'));
    expect(await write(`DELETE FROM messages WHERE id = ${legacyId}`)).toEqual(
      both('MessageRemoved'),
    );
    // Its client's retry gives what is left of it, and no second one.
    expect(await followed(send('mirrored', BOB, () => direct))).toEqual({});

    const grouped = (sender: string, to = 77): string =>
      `INSERT INTO messages (sender_id, group_id, content) VALUES (${sender}, ${to}, 'to the group')`;
    expect(await write(grouped(ADA))).toEqual({ ...both('MessageAdded'), [CY]: ['MessageAdded'] });
    // By who was in no group: he is in it from then on, and sees it as the old app shows it.
    expect(await write(grouped(DEE))).toEqual({
      ...both('ConversationChanged', 'MessageAdded'),
      [CY]: ['ConversationChanged', 'MessageAdded'],
      [DEE]: ['ConversationChanged', 'MessageAdded'],
    });
    expect(await write(grouped(DEE, 79))).toEqual({
      [DEE]: ['ConversationChanged', 'MessageAdded'],
    });
    // What has no thread any more leaves it for quarantine, and comes back.
    expect(await write(row(900_006, BOB, 'to be lost'))).toEqual(both('MessageAdded'));
    expect(await write('UPDATE messages SET recipient_id = NULL WHERE id = 900006')).toEqual(
      both('MessageRemoved'),
    );
    expect(await write(`UPDATE messages SET recipient_id = ${BOB} WHERE id = 900006`)).toEqual(
      both('MessageAdded'),
    );
    expect(await followed(() => replayQuarantine(contextOf(database), { all: true }))).toEqual({});
  });

  it('and the sides are the same after all of it', async () => {
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  });
});

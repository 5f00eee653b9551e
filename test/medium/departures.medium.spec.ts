import { describe, expect, it } from '@jest/globals';
import { applyQueued } from '../../src/changeover/apply.js';
import { expand } from '../../src/changeover/expand.js';
import { rollback } from '../../src/changeover/rollback.js';
import { verify } from '../../src/changeover/verify.js';
import type { Database } from '../../src/database/database.js';
import { type App, appOn } from '../helpers/app.js';
import { asOldApp, ENGINES } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

const ADA = '9001';
/** Whose account goes, and whose id somebody else gets. */
const BOB = '9002';

const BETWEEN = `INSERT INTO messages (sender_id, recipient_id, content, created_at)`;
const BOB_IS_GONE = `DELETE FROM users WHERE id = ${BOB}`;
const ACCOUNT = (phone: string): string =>
  `INSERT INTO users (id, phone) VALUES (${BOB}, '${phone}')`;
const STRANGER_COMES = ACCOUNT('0700 stranger');

interface Thread {
  readonly id: string;
  readonly title: string;
  readonly participants: { edges: { node: { user: { id: string } | null } }[] };
  readonly messages: { edges: { node: { text: string } }[] };
}

const THREAD = `id title participants(first: 5) { edges { node { user { id } } } } messages(first: 50) { edges { node { text } } }`;

/** What somebody has in his list of conversations: the texts of each. */
async function threadsOf(app: App, who: string): Promise<string[][]> {
  const { conversations } = await app.get<{ conversations: { edges: { node: Thread }[] } }>(
    who,
    `{ conversations(first: 50) { edges { node { ${THREAD} } } } }`,
  );
  return conversations.edges.map(({ node }) => node.messages.edges.map((edge) => edge.node.text));
}

/** The conversation of Ada and whoever has Bob's id, as one of them sees it. */
async function direct(app: App, who: string): Promise<Thread | null> {
  const { directConversation } = await app.get<{ directConversation: Thread | null }>(
    who,
    `{ directConversation(userId: "usr_${who === ADA ? BOB : ADA}") { ${THREAD} } }`,
  );
  return directConversation;
}

const textsIn = (thread: Thread | null): string[] =>
  (thread?.messages.edges ?? []).map(({ node }) => node.text);

const peopleIn = (thread: Thread | null): (string | null)[] =>
  (thread?.participants.edges ?? []).map(({ node }) => node.user?.id ?? null);

describe.each(ENGINES)('an account whose id is given out again, on %s', (engine) => {
  /** Ada and Bob have written to each other, and Bob in a group. */
  async function old(): Promise<{
    database: Database;
    write: (...sql: string[]) => Promise<void>;
  }> {
    const { database, location } = await legacyDatabase(engine, { messages: 0 });
    // An old app without foreign keys: with them, the rows of an account go with it, or it cannot go.
    const write = (...sql: string[]): Promise<void> =>
      asOldApp(location, ...(engine === 'sqlite' ? ['PRAGMA foreign_keys = OFF'] : []), ...sql);
    if (engine === 'postgres')
      for (const { name } of await database.reader.all<{ name: string }>(
        `SELECT conname AS name FROM pg_constraint WHERE conrelid = 'messages'::regclass AND contype = 'f'`,
      ))
        await write(`ALTER TABLE messages DROP CONSTRAINT "${name}"`);
    await write(
      `INSERT INTO users (id, phone) VALUES (${ADA}, '0700 ada')`,
      ACCOUNT('0700 bob'),
      `${BETWEEN} VALUES (${ADA}, ${BOB}, 'dear Bob', '2020-01-01 00:00:00')`,
      `${BETWEEN} VALUES (${BOB}, ${ADA}, 'dear Ada', '2020-01-02 00:00:00')`,
      `INSERT INTO messages (sender_id, group_id, content, created_at) VALUES (${BOB}, 77, 'dear all', '2020-01-03 00:00:00')`,
    );
    return { database, write };
  }

  async function moved(): Promise<{
    database: Database;
    write: (...sql: string[]) => Promise<void>;
    app: App;
    apply: () => Promise<unknown>;
  }> {
    const { database, write } = await old();
    await migrate(database);
    const app = await appOn(database);
    return { database, write, app, apply: () => applyQueued(contextOf(database)) };
  }

  it.each(['at once', 'later'])('inherits none of its threads, when it comes %s', async (when) => {
    const { database, write, app, apply } = await moved();
    const id = (await direct(app, ADA))?.id;
    await write(BOB_IS_GONE);
    if (when === 'later') {
      await apply();
      await write(`${BETWEEN} VALUES (${ADA}, ${BOB}, 'are you there?', '2020-01-04 00:00:00')`);
      await apply();
    }
    await write(STRANGER_COMES);
    await apply();
    expect(await threadsOf(app, BOB)).toEqual([]);
    expect(await direct(app, BOB)).toBeNull();
    expect(await app.get(BOB, `{ node(id: "${id}") { id } }`)).toEqual({ node: null });
    expect(
      await app.ask(
        BOB,
        `mutation { sendMessage(input: { conversationId: "${id}", clientId: "1", text: "me?" }) { id } }`,
      ),
    ).toMatchObject({ code: 'NOT_FOUND' });
    // Who was left behind has the thread, and nobody else's name in it.
    const left = await direct(app, ADA);
    expect(textsIn(left).slice(0, 2)).toEqual(['dear Bob', 'dear Ada']);
    expect(peopleIn(left)).toEqual([`usr_${ADA}`, null]);
    expect(left?.title).toBe('Unknown');
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  });

  it.each([
    [
      'the old app has written to him',
      async ({
        write,
        apply,
      }: {
        write: (sql: string) => Promise<void>;
        apply: () => Promise<unknown>;
      }) => {
        await write(`${BETWEEN} VALUES (${ADA}, ${BOB}, 'who are you?', '2020-02-01 00:00:00')`);
        await apply();
      },
      ['who are you?'],
    ],
    [
      'a new client has written to him',
      async ({ app }: { app: App }) => {
        const id = (await direct(app, ADA))?.id;
        await app.get(
          ADA,
          `mutation { sendMessage(input: { conversationId: "${id}", clientId: "1", text: "who are you?" }) { id } }`,
        );
      },
      ['who are you?'],
    ],
    [
      'he has begun it himself',
      async ({ app }: { app: App }) => {
        await app.get(BOB, `mutation { startDirectConversation(userId: "usr_${ADA}") { id } }`);
      },
      [],
    ],
    [
      'he has written in it by the old API',
      async ({ app }: { app: App }) => {
        await app.get(
          BOB,
          `mutation { createMessage(senderId: ${BOB}, recipientId: ${ADA}, content: "hello") { id } }`,
        );
      },
      ['hello'],
    ],
  ])('sees a thread from then on when %s', async (_, begin, texts) => {
    const { database, write, app, apply } = await moved();
    await write(BOB_IS_GONE);
    await apply();
    await write(STRANGER_COMES);
    await apply();
    const { eventCursor } = await app.get(BOB, '{ eventCursor }');
    await begin({ write, apply, app });
    await apply();
    expect(await threadsOf(app, BOB)).toEqual([texts]);
    const [hisView, herView] = [await direct(app, BOB), await direct(app, ADA)];
    expect(textsIn(hisView)).toEqual(texts);
    expect(peopleIn(hisView).sort()).toEqual([`usr_${ADA}`, `usr_${BOB}`]);
    expect(textsIn(herView)).toEqual(['dear Bob', 'dear Ada', ...texts]);
    // Both are told, and he of nothing from before.
    for (const [who, kinds] of [
      [BOB, ['ConversationChanged', ...texts.map(() => 'MessageAdded')]],
      [ADA, ['ConversationChanged', ...texts.map(() => 'MessageAdded')]],
    ] as const) {
      const stream = await app.follow(
        who,
        'subscription ($after: String) { events(after: $after) { __typename } }',
        { after: eventCursor },
      );
      const told: unknown[] = [];
      while (told.length < kinds.length) {
        const next = (await stream.next()) as {
          value: { data: { events: { __typename: string } } };
        };
        told.push(next.value.data.events.__typename);
      }
      await stream.return(undefined);
      expect({ who, told }).toEqual({ who, told: kinds });
    }
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
  });

  it('has all of its threads again when it comes back with its number, as a restored table does', async () => {
    const { write, app, apply } = await moved();
    await write(BOB_IS_GONE);
    await apply();
    await write(ACCOUNT('0700 bob'));
    await apply();
    expect(textsIn(await direct(app, BOB))).toEqual(['dear Bob', 'dear Ada']);
    expect((await threadsOf(app, BOB)).map(({ length }) => length).sort()).toEqual([1, 2]);
    // The same within one transaction of the old app, and in one slice of the queue.
    await write(BOB_IS_GONE, ACCOUNT('0700 bob'));
    await apply();
    expect(textsIn(await direct(app, BOB))).toEqual(['dear Bob', 'dear Ada']);
    expect(peopleIn(await direct(app, ADA))).toEqual([`usr_${ADA}`, `usr_${BOB}`]);
  });

  it('inherits nothing where it was gone before the copy, or went between expand and the copy', async () => {
    for (const isExpanded of [false, true]) {
      const { database, write } = await old();
      if (isExpanded) {
        await expand(contextOf(database), EXPAND);
        await write(BOB_IS_GONE, STRANGER_COMES);
      } else await write(BOB_IS_GONE);
      await migrate(database);
      if (!isExpanded) await write(STRANGER_COMES);
      await applyQueued(contextOf(database));
      const app = await appOn(database);
      expect({ isExpanded, threads: await threadsOf(app, BOB) }).toEqual({
        isExpanded,
        threads: [],
      });
      expect(textsIn(await direct(app, ADA))).toEqual(['dear Bob', 'dear Ada']);
    }
  });

  it('inherits nothing after a rollback and a second copy either, but what was written since', async () => {
    const { database, write, app, apply } = await moved();
    await write(BOB_IS_GONE);
    await apply();
    await write(STRANGER_COMES);
    await apply();
    await rollback(contextOf(database), {
      to: 'EXPANDED',
      migrationsTable: EXPAND.migrationsTable,
    });
    await migrate(database);
    expect(await threadsOf(app, BOB)).toEqual([]);
    await rollback(contextOf(database), {
      to: 'EXPANDED',
      migrationsTable: EXPAND.migrationsTable,
    });
    const now =
      engine === 'sqlite'
        ? `strftime('%Y-%m-%d %H:%M:%f', 'now')`
        : `clock_timestamp() AT TIME ZONE 'UTC'`;
    await write(`${BETWEEN} VALUES (${ADA}, ${BOB}, 'who are you?', ${now})`);
    await migrate(database);
    expect(await threadsOf(app, BOB)).toEqual([['who are you?']]);
    expect(textsIn(await direct(app, ADA))).toEqual(['dear Bob', 'dear Ada', 'who are you?']);
  });
});

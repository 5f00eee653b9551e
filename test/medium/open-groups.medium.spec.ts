import { describe, expect, it } from '@jest/globals';
import type { Database } from '../../src/database/database.js';
import { type App, appOn } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

const GROUP = 900;

const say = (app: App, who: string, text: string): ReturnType<App['ask']> =>
  app.ask(
    who,
    `mutation { createMessage(senderId: ${who}, groupId: ${GROUP}, content: "${text}") { content group_id } }`,
  );

const heardBy = async (app: App, who: string): Promise<unknown> =>
  (
    await app.get<{ groupMessages: { content: string }[] }>(
      who,
      `{ groupMessages(groupId: ${GROUP}) { content } }`,
    )
  ).groupMessages.map(({ content }) => content);

describe.each(ENGINES)('writing in a group of the old app, on %s', (engine) => {
  const moved = async (): Promise<Database> => {
    const { database } = await legacyDatabase(engine, { messages: 20 });
    await migrate(database);
    return database;
  };

  it('is for those who have written in it, before and after the changeover', async () => {
    const { database } = await legacyDatabase(engine, { messages: 20 });
    for (const prepare of [() => Promise.resolve(), () => migrate(database)]) {
      await prepare();
      const outcome = await say(await appOn(database), '1', 'who is there?');
      expect(outcome).toMatchObject({ data: null, code: 'FORBIDDEN' });
      expect(outcome.message).toContain('groupId is 900');
    }
    expect(await database.reader.all('SELECT 1 AS one FROM messages WHERE group_id = 900')).toEqual(
      [],
    );
  });

  it('is for everybody where groups are open, before the changeover', async () => {
    const { database } = await legacyDatabase(engine, { messages: 20 });
    const app = await appOn(database, { hasOpenGroups: true });
    expect(await say(app, '1', 'hello')).toMatchObject({ code: null });
    expect(await say(app, '2', 'hi')).toMatchObject({ code: null });
    for (const who of ['1', '2']) expect(await heardBy(app, who)).toEqual(['hello', 'hi']);
  });

  it.each(['old', 'new'] as const)(
    'is for everybody where groups are open, and new clients see it, with the %s side answering',
    async (side) => {
      const database = await moved();
      const app = await appOn(database, { hasOpenGroups: true, side });
      expect(await say(app, '1', 'hello')).toMatchObject({
        data: { createMessage: { content: 'hello', group_id: GROUP } },
      });
      expect(await say(app, '2', 'hi')).toMatchObject({ code: null });
      expect(await heardBy(app, '1')).toEqual(['hello', 'hi']);
      const { conversations } = await app.get<{
        conversations: {
          edges: {
            node: {
              kind: string;
              participants: { edges: { node: { role: string; user: { id: string } } }[] };
              messages: { edges: { node: { text: string } }[] };
            };
          }[];
        };
      }>(
        '2',
        `{ conversations(first: 1) { edges { node { kind
           participants(first: 5) { edges { node { role user { id } } } }
           messages(first: 5) { edges { node { text } } } } } } }`,
      );
      const node = conversations.edges[0]?.node;
      expect(node?.kind).toBe('GROUP');
      expect(node?.participants.edges.map((edge) => edge.node)).toEqual([
        { role: 'ADMIN', user: { id: 'usr_1' } },
        { role: 'MEMBER', user: { id: 'usr_2' } },
      ]);
      expect(node?.messages.edges.map((edge) => edge.node.text)).toContain('hi');
      // Who did not write in it sees nothing of it.
      expect(await heardBy(app, '3')).toEqual([]);
    },
  );
});

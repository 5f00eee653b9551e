import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type DocumentNode,
  type ExecutionResult,
  getNamedType,
  type GraphQLSchema,
  isLeafType,
  isObjectType,
  subscribe,
} from 'graphql';
import { applyQueued } from '../../src/changeover/apply.js';
import type { Database } from '../../src/database/database.js';
import { Documents } from '../../src/web/documents.js';
import { SharedResults } from '../../src/web/shared-results.js';
import { type App, appOn, listening } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { contextOf, legacyDatabase, migrate } from '../helpers/legacy.js';

/** Ada has Cy's number and Bob has not; Cy has neither a name nor a username. */
const [ADA, BOB, CY] = ['9001', '9002', '9003'] as const;
const VIEWERS = [ADA, BOB] as const;

/** How deep selections go below an event. */
const DEEPEST = 4;

interface Selection {
  /** As `MessageAdded.message.sender.name`. */
  readonly path: string;
  readonly document: string;
}

/** A subscription for each field of each type of events that is no object, to some depth. */
function selectionsOf(schema: GraphQLSchema): Selection[] {
  const event = schema.getType('Event');
  const selections: Selection[] = [];
  const walk = (type: unknown, path: readonly string[], types: readonly string[]): void => {
    if (!isObjectType(type)) return;
    for (const field of Object.values(type.getFields())) {
      const result = getNamedType(field.type);
      const further = [...path, field.name];
      if (isLeafType(result)) {
        const [kind = '', ...names] = further;
        selections.push({
          path: further.join('.'),
          document: `subscription { events { __typename cursor ... on ${kind} { ${names.join(' { ')} ${'}'.repeat(names.length)} } }`,
        });
      } else if (further.length <= DEEPEST && isObjectType(result) && !types.includes(result.name))
        walk(result, further, [...types, result.name]);
    }
  };
  if (event === undefined || !('resolveType' in event)) throw new Error('There are no events');
  for (const kind of schema.getPossibleTypes(event)) walk(kind, [kind.name], [kind.name]);
  return selections;
}

interface Told {
  readonly __typename: string;
  readonly cursor: string;
}

/** Fields that are listened to at once: what they ask of the database together waits for few connections. */
const TOGETHER = 60;

describe.each(ENGINES)('what two viewers are told at once, on %s', (engine) => {
  let database: Database;
  let app: App;

  beforeAll(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 0 }));
    await asOldApp(
      `INSERT INTO users (id, phone, name) VALUES (${ADA}, '08000009001', 'Ada'), (${BOB}, '08000009002', 'Bob')`,
      `INSERT INTO users (id, phone, name, username) VALUES (${CY}, '08000009003', '', '')`,
      `INSERT INTO contacts (owner_id, contact_user_id) VALUES (${ADA}, ${CY})`,
    );
    await migrate(database);
    app = await appOn(database);
  });

  const asOldApp = (...statements: string[]): Promise<void> =>
    database.transaction(async (transaction) => {
      for (const statement of statements) await transaction.run(statement);
    });

  const idOf = async (viewer: string, mutation: string): Promise<string> => {
    const [answer] = Object.values(await app.get<Record<string, { id: string }>>(viewer, mutation));
    return answer?.id ?? '';
  };
  let sent = 0;
  const send = (viewer: string, conversation: string, text: string): Promise<string> => {
    sent += 1;
    return idOf(
      viewer,
      `mutation { sendMessage(input: { conversationId: "${conversation}", clientId: "two ${sent}", text: "${text}" }) { id } }`,
    );
  };

  /** One of each kind of event. */
  let isBusy = false;
  let stopTyping = (): Promise<unknown> => Promise.resolve();

  // Else it expires while the next one listens.
  afterEach(() => stopTyping());

  async function change(): Promise<void> {
    const group = (name: string): Promise<string> =>
      idOf(
        ADA,
        `mutation { createGroup(input: { name: "${name}", participantIds: ["usr_${BOB}", "usr_${CY}"] }) { id } }`,
      );
    const [kept, left] = [await group('kept'), await group('left')];
    const first = await send(CY, kept, 'by who has no name');
    await send(ADA, kept, 'by a viewer');
    for (const viewer of VIEWERS)
      await app.get(
        viewer,
        `mutation { markRead(conversationId: "${kept}", upToMessageId: "${first}") { status } }`,
      );
    await app.get(
      ADA,
      `mutation { removeParticipant(conversationId: "${left}", userId: "usr_${BOB}") { id } }`,
    );
    const [changed, removed] = [await send(CY, kept, 'before'), await send(CY, kept, 'gone')];
    await asOldApp(
      `UPDATE messages SET content = 'after' WHERE id = ${changed.replace('msg_', '')}`,
      `DELETE FROM messages WHERE id = ${removed.replace('msg_', '')}`,
    );
    await applyQueued(contextOf(database));
    const type = (isTyping: boolean): Promise<unknown> =>
      app.get(
        CY,
        `mutation { setTyping(conversationId: "${kept}", typing: ${isTyping}) { __typename } }`,
      );
    let said = type(true);
    await said;
    // Said again, as a client does: a slow machine compares what it has told after more than 6 s.
    const typing = setInterval(() => {
      said = type(true);
    }, 1_000);
    stopTyping = async () => {
      clearInterval(typing);
      await said;
      return type(false);
    };
    // Another one each time, or nobody would be told.
    isBusy = !isBusy;
    await app.get(CY, `mutation { setPresence(status: ${isBusy ? 'BUSY' : 'AWAY'}) { status } }`);
  }

  /** What each of some subscriptions is told while one of each kind of event takes place. */
  async function told(
    streams: readonly AsyncIterableIterator<ExecutionResult>[],
  ): Promise<ExecutionResult[][]> {
    const heard = streams.map((): ExecutionResult[] => []);
    const places = streams.map(() => '');
    const reading = streams.map(async (stream, n) => {
      for await (const result of stream) {
        const event = (result.data as { events?: Told } | null | undefined)?.events;
        places[n] = event?.cursor ?? places[n] ?? '';
        // A signal's cursor says how far its reader had come.
        const isSignal = ['TypingChanged', 'PresenceUpdated'].includes(event?.__typename ?? '');
        heard[n]?.push(
          isSignal ? { ...result, data: { events: { ...event, cursor: 'a signal’s' } } } : result,
        );
      }
    });
    await listening(app, streams.length);
    await change();
    // Both are told of the last one, and nothing comes behind it.
    await idOf(
      ADA,
      `mutation { createGroup(input: { name: "end", participantIds: ["usr_${BOB}"] }) { id } }`,
    );
    const { eventCursor } = await app.get<{ eventCursor: string }>(ADA, '{ eventCursor }');
    while (!places.every((place) => place === eventCursor))
      await new Promise((resolve) => setImmediate(resolve));
    for (const stream of streams) await stream.return?.();
    await Promise.all(reading);
    return heard;
  }

  /** Declares each field to be the same for everybody, until the function that it gives is called. */
  function declareAll(): () => void {
    const undo: (() => void)[] = [];
    for (const type of Object.values(app.schema.getTypeMap()))
      if (isObjectType(type))
        for (const field of Object.values(type.getFields())) {
          const { extensions } = field;
          field.extensions = { ...extensions, isViewerIndependent: true };
          undo.push(() => {
            field.extensions = extensions;
          });
        }
    return () => {
      for (const each of undo) each();
    };
  }

  it.each([
    ['as it is declared', false],
    ['though it is declared to be the same for everybody', true],
  ])('is what each of them is told alone, of every field, %s', async (_, isAll) => {
    const undo = isAll ? declareAll() : () => undefined;
    const selections = selectionsOf(app.schema);
    const results = new SharedResults(app.schema);
    const documents = new Documents(app.schema);
    const read = (text: string): DocumentNode => {
      const document = documents.read(text);
      if ('kind' in document) return document;
      throw new AggregateError(document);
    };
    const heard: ExecutionResult[][] = [];
    for (let first = 0; first < selections.length; first += TOGETHER) {
      const streams: AsyncIterableIterator<ExecutionResult>[] = [];
      for (const { document } of selections.slice(first, first + TOGETHER))
        for (const viewer of VIEWERS)
          for (const begin of [
            (args: Parameters<typeof subscribe>[0]) => results.subscribe(args),
            subscribe,
          ]) {
            const args = await app.argumentsFor(viewer, document);
            const stream = await begin({ ...args, document: read(document) });
            if (!(Symbol.asyncIterator in stream)) throw new Error(JSON.stringify(stream));
            streams.push(stream);
          }
      heard.push(...(await told(streams)));
      await stopTyping();
    }
    undo();
    const shared = heard.filter((_, n) => n % 2 === 0).flat();
    expect(results.executed).toBeGreaterThan(0);
    expect(results.executed).toBeLessThan(shared.length);
    const differing: string[] = [];
    selections.forEach(({ path }, n) => {
      const [ada, adaAlone, bob, bobAlone] = heard.slice(4 * n, 4 * n + 4);
      expect({ path, ada, bob }).toEqual({ path, ada: adaAlone, bob: bobAlone });
      if (JSON.stringify(adaAlone) !== JSON.stringify(bobAlone)) differing.push(path);
    });
    expect(differing).toEqual(
      expect.arrayContaining([
        'MessageAdded.message.clientId',
        'MessageAdded.message.sender.name',
        'MessageAdded.message.sender.phone',
        'MessageAdded.message.conversation.unreadCount',
      ]),
    );
  });
});

import { setTimeout as sleep } from 'node:timers/promises';
import { EventPresenter } from '../../src/api/event-presenter.js';
import { type Event, MessageAdded } from '../../src/api/event.types.js';
import type { Database, Queryable } from '../../src/database/database.js';
import { GroupedWrites, type Outcome } from '../../src/database/grouped-writes.js';
import { postgresDialect } from '../../src/database/postgres/postgres-dialect.js';
import { SegueError } from '../../src/errors/segue-error.js';
import { type Place, writeCursor } from '../../src/events/cursor.js';
import { type Delivery, EventHub } from '../../src/events/event-hub.js';
import type { LoggedEvent } from '../../src/events/event-log.js';
import { globalId } from '../../src/graphql/global-ids.js';
import type { Loaders } from '../../src/graphql/loaders.js';
import {
  type MessageDraft,
  MessageWriter,
  type WrittenMessage,
} from '../../src/messages/message-writer.js';
import { Message } from '../../src/messages/message.types.js';
import type { ChaosFault } from './chaos-faults.js';

/**
 * The server with a fault of CHAOS_FAULT planted between its classes, as one of ours would be; `src` knows nothing of
 * it. Else it is the command line.
 */

/** How long a planted fault leaves a transaction open, in ms: so that others get in between. */
const OPEN_MS = 200;

type Write = (
  this: MessageWriter,
  transaction: Queryable,
  drafts: readonly MessageDraft[],
) => Promise<Outcome<WrittenMessage>[]>;
type Present = (
  this: EventPresenter,
  loaders: Loaders,
  viewerId: string,
  delivery: Delivery,
) => Promise<Event | null>;
type Subscribe = (
  this: EventHub,
  viewerId: string,
  after: Place | null,
) => Promise<AsyncGenerator<Delivery>>;
/** Puts a method in the place of one, which it is given. */
function replace<Method>(of: object, name: string, by: (original: Method) => Method): void {
  const original = Reflect.get(of, name) as Method;
  if (original === undefined) throw new Error(`There is no ${name} to plant a fault in`);
  Object.defineProperty(of, name, { value: by(original), configurable: true, writable: true });
}

/** What a fault needs of a hub, which shows it to nobody. */
interface HubInside {
  readonly database: Database;
  readonly subscribers: Iterable<{
    readonly viewerId: string;
    readonly isLive: boolean;
    push(delivery: Delivery): void;
  }>;
}

function announceBeforeCommit(): void {
  let hub: HubInside | undefined;
  const announced = new WeakMap<Delivery, string>();
  const shown = new Map<string, Message>();
  replace<Subscribe>(
    EventHub.prototype,
    'subscribe',
    (original) =>
      function (...given) {
        hub = this as unknown as HubInside;
        return original.apply(this, given);
      },
  );
  replace<Present>(
    EventPresenter.prototype,
    'present',
    (original) =>
      async function (loaders, viewerId, delivery) {
        const key = announced.get(delivery);
        const event =
          key === undefined ? await original.call(this, loaders, viewerId, delivery) : null;
        if (event instanceof MessageAdded) shown.set(viewerId, event.message);
        const like = shown.get(viewerId);
        if (key === undefined || like === undefined) return event;
        // What is not committed cannot be read: it looks as another one does.
        return Object.assign(new MessageAdded(), {
          cursor: writeCursor(delivery.place),
          message: Object.assign(new Message(), like, { id: globalId('Message', key) }),
        });
      },
  );
  let writes = 0;
  replace<Write>(
    MessageWriter.prototype,
    'write',
    (original) =>
      async function (transaction, drafts) {
        const outcomes = await original.call(this, transaction, drafts);
        writes += 1;
        if (writes % 20 !== 0 || hub === undefined) return outcomes;
        const [event] = await transaction.all<
          Omit<LoggedEvent, 'id'> & { id: number | string; epoch: string }
        >(
          `SELECT e.id, e.kind, CAST(e.conversation_id AS text) AS "conversationId", NULL AS "userId", CAST(e.message_id AS text) AS "messageId",
             NULL AS "subjectId", CAST(e.at AS text) AS at, l.epoch FROM events e, event_log l WHERE e.id = (SELECT max(id) FROM events)`,
        );
        const members = await transaction.all<{ userId: string }>(
          'SELECT CAST(user_id AS text) AS "userId" FROM conversation_participants WHERE conversation_id = CAST(:id AS bigint)',
          { id: event?.conversationId ?? null },
        );
        if (event === undefined) return outcomes;
        const { epoch, ...logged } = event;
        const id = Number(event.id);
        for (const subscriber of hub.subscribers) {
          if (!subscriber.isLive || !members.some(({ userId }) => userId === subscriber.viewerId))
            continue;
          const told = { ...logged, id };
          const delivery = { event: told, place: { epoch, id, at: event.at }, batch: [told] };
          announced.set(delivery, event.messageId ?? '');
          subscriber.push(delivery);
        }
        await sleep(OPEN_MS);
        throw new SegueError('UNAVAILABLE', 'planted: rolled back after it was announced');
      },
  );
}

function acknowledgeBeforeCommit(): void {
  interface Inside {
    readonly database: Database;
    work(transaction: Queryable, drafts: readonly unknown[]): Promise<Outcome<unknown>[]>;
  }
  type Tried = (this: Inside, drafts: readonly unknown[]) => Promise<Outcome<unknown>[]>;
  replace<Tried>(
    GroupedWrites.prototype,
    'tried',
    () =>
      function (drafts) {
        return new Promise((resolve, reject) => {
          this.database
            .transaction(async (transaction) => {
              resolve(await this.work(transaction, drafts));
              await sleep(OPEN_MS);
            })
            .catch(reject);
        });
      },
  );
}

function cursorByIdOnly(): void {
  // On PostgreSQL: ids are given without the lock of the log, and not in the order of commits.
  Reflect.set(postgresDialect, 'lockEventLog', []);
  replace<Write>(
    MessageWriter.prototype,
    'write',
    (original) =>
      async function (transaction, drafts) {
        const outcomes = await original.call(this, transaction, drafts);
        await sleep(OPEN_MS / 2);
        return outcomes;
      },
  );
  // On SQLite, which has one writer: a cursor's instant is not looked at, and its id is taken for that of the next event.
  replace<Subscribe>(
    EventHub.prototype,
    'subscribe',
    (original) =>
      async function (viewerId, after) {
        const { database } = this as unknown as HubInside;
        if (after === null || database.dialect.engine !== 'sqlite')
          return original.call(this, viewerId, after);
        const [next] = await database.reader.all<{ id: number; at: string }>(
          'SELECT id, CAST(at AS text) AS at FROM events WHERE id > :id ORDER BY id LIMIT 1',
          { id: after.id },
        );
        return original.call(this, viewerId, { ...after, ...next });
      },
  );
}

const FAULTS: Readonly<Record<ChaosFault, () => void>> = {
  'announce-before-commit': announceBeforeCommit,
  'acknowledge-before-commit': acknowledgeBeforeCommit,
  'cursor-by-id-only': cursorByIdOnly,
};

FAULTS[process.env.CHAOS_FAULT as ChaosFault]();
await import('../../src/cli.js');

import type { Server as HttpServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, type Socket } from 'socket.io';
import { clientNameOf } from '../auth/client-name.js';
import { contextOf, type SignedInGuard, type Viewer } from '../auth/viewer.js';
import { explainDatabaseError } from '../database/database-errors.js';
import { isUnfit } from '../database/texts.js';
import { messageOf, SegueError } from '../errors/segue-error.js';
import type { LegacyFeed } from './legacy-feed.js';
import type { LegacyMessage } from './legacy-message.type.js';
import type { LegacyWritesService } from './legacy-writes.service.js';
import type { OldSignals } from './old-signals.js';

/** The largest packet that a client may send, in bytes: as the largest request. */
const LARGEST_PACKET = 1_048_576;

/** How often it is asked whether the session of a connection still stands, in ms. */
const LOOK_MS = 5_000;

/** How long a feed waits for a database that is away, before it begins anew, in ms. */
const AWAY_MS = 1_000;

/** What a client may send, by name. */
const VERBS: readonly string[] = ['send_message', 'mark_read', 'typing'] satisfies (keyof Said)[];

/** What a client may send. */
interface Said {
  send_message: (given: unknown, answer?: Answer) => void;
  mark_read: (given: unknown, answer?: Answer) => void;
  typing: (given: unknown, answer?: Answer) => void;
}

/** What it is told. */
interface Heard {
  new_message: (message: LegacyMessage) => void;
  message_status: (status: OldStatus) => void;
  typing: (typing: OldTyping) => void;
  presence: (presence: OldPresence) => void;
  /** What went wrong with something that it asked no answer for. */
  exception: (error: OldError) => void;
}

export interface OldStatus {
  readonly messageId: number;
  /** Who has got it. */
  readonly userId: number;
  readonly status: string;
  readonly timestamp: string;
}

export interface OldTyping {
  readonly userId: number;
  readonly recipientId: number | null;
  readonly groupId: number | null;
  readonly typing: boolean;
}

export interface OldPresence {
  readonly userId: number;
  readonly status: string;
  readonly lastSeen: string | null;
}

interface OldError {
  readonly code: string;
  readonly message: string;
}

type Outcome = { readonly message?: LegacyMessage } | { readonly error: OldError };
type Answer = (outcome: Outcome) => void;
type OldSocket = Socket<Said, Heard>;

export interface OldRealtimeParts {
  readonly guard: SignedInGuard;
  readonly writes: LegacyWritesService;
  readonly feed: LegacyFeed;
  readonly signals: OldSignals;
  /** Told of each connection that begins, with its id; what it returns is called when it has ended. */
  readonly arrive: (userId: string, socketId: string) => () => void;
  /** Told of each thing that a client does, and what it calls itself. */
  readonly note: (operation: string, client: string) => void;
}

export interface OldRealtimeDoor {
  readonly connections: number;
  /** Ends all connections in a way that makes clients come back. */
  close(): Promise<void>;
}

/**
 * Serves the old app's realtime clients: socket.io at `/socket.io`, with the token in the handshake (`auth.token`, the query, or
 * an `authorization` header). What they send goes the way of the old API, and what they are told comes from the same events
 * as everybody's. What is told while a client is away is missed, as it always was: it asks again.
 * @param warn told what goes wrong with a connection
 */
export function serveOldRealtime(
  server: HttpServer,
  parts: OldRealtimeParts,
  warn: (message: string) => void,
): OldRealtimeDoor {
  const io = new Server<Said, Heard>(server, {
    path: '/socket.io',
    serveClient: false,
    maxHttpBufferSize: LARGEST_PACKET,
    // Upgrades of other paths are other doors' business.
    destroyUpgrade: false,
  });
  const viewers = new WeakMap<object, Viewer>();
  io.use((socket, next) => {
    viewerOf(parts.guard, socket).then(
      (viewer) => {
        viewers.set(socket, viewer);
        next();
      },
      (error: unknown) => {
        next(Object.assign(new Error(describe(error, warn).message), { data: describe(error) }));
      },
    );
  });
  io.on('connection', (socket) => {
    const viewer = viewers.get(socket);
    if (viewer === undefined) socket.disconnect(true);
    else new Connection(socket, viewer, parts, warn).begin();
  });
  const timer = setInterval(() => {
    for (const socket of io.sockets.sockets.values())
      viewerOf(parts.guard, socket).catch((error: unknown) => {
        // That the database is away says nothing about the session.
        if (error instanceof SegueError && error.code === 'UNAUTHENTICATED')
          socket.disconnect(true);
      });
  }, LOOK_MS);
  timer.unref();
  return {
    get connections() {
      return io.engine.clientsCount;
    },
    close: async () => {
      clearInterval(timer);
      // Not `disconnect`: who is sent away by that does not come back.
      io.engine.close();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** One client. */
class Connection {
  private readonly over = new AbortController();
  private readonly streams = new Set<AsyncIterator<unknown>>();

  constructor(
    private readonly socket: OldSocket,
    private readonly viewer: Viewer,
    private readonly parts: OldRealtimeParts,
    private readonly warn: (message: string) => void,
  ) {}

  begin(): void {
    const { socket, viewer, parts } = this;
    const client = clientNameOf(socket.handshake.headers, socket.handshake.auth);
    parts.note('socket.io', client);
    socket.onAny((event: string) => {
      if (VERBS.includes(event)) parts.note(`socket.io ${event}`, client);
    });
    const leave = parts.arrive(viewer.id, socket.id);
    socket.once('disconnect', () => {
      leave();
      this.over.abort();
      for (const stream of this.streams) void stream.return?.();
    });
    socket.on('send_message', (given, answer) => {
      this.answer(answer, async () => ({
        message: await parts.writes.create(viewer, readMessage(viewer, given)),
      }));
    });
    socket.on('mark_read', (given, answer) => {
      this.answer(answer, async () => ({
        message: await parts.writes.markAsRead(
          viewer,
          readInt('messageId', fieldsOf(given).messageId),
        ),
      }));
    });
    socket.on('typing', (given, answer) => {
      this.answer(answer, async () => {
        const { typing, ...to } = fieldsOf(given);
        if (typeof typing !== 'boolean') throw wrong('typing', typing, 'true or false');
        await parts.signals.setTyping(viewer, readPeer(to), typing);
        return {};
      });
    });
    this.follow(
      () => parts.feed.follow(viewer, Number(viewer.id)),
      ({ newMessage }) => socket.emit('new_message', newMessage),
    );
    this.follow(
      () => parts.signals.follow(viewer, this.over.signal),
      (signal) => {
        if (signal.event === 'message_status') socket.emit('message_status', signal.told);
        else if (signal.event === 'typing') socket.emit('typing', signal.told);
        else socket.emit('presence', signal.told);
      },
    );
  }

  private isOver(): boolean {
    return this.over.signal.aborted;
  }

  /** Does what was asked, and says what came of it: to who asked for an answer, or else when it failed. */
  private answer(answer: unknown, work: () => Promise<Outcome>): void {
    const give = typeof answer === 'function' ? (answer as Answer) : null;
    work().then(
      (outcome) => give?.(outcome),
      (error: unknown) => {
        const told = describe(error, this.warn);
        if (give === null) this.socket.emit('exception', told);
        else give({ error: told });
      },
    );
  }

  /** Hands on what comes, for as long as the connection lasts. */
  private follow<Item>(
    open: () => Promise<AsyncIterable<Item>>,
    tell: (item: Item) => unknown,
  ): void {
    const run = async (): Promise<void> => {
      while (!this.isOver())
        try {
          const stream = (await open())[Symbol.asyncIterator]();
          this.streams.add(stream);
          try {
            for (;;) {
              const next = await stream.next();
              if (next.done === true || this.isOver()) break;
              tell(next.value);
            }
          } finally {
            this.streams.delete(stream);
            await stream.return?.();
          }
        } catch (error) {
          if (explainDatabaseError(error) === null) throw error;
        } finally {
          await sleep(AWAY_MS, undefined, { signal: this.over.signal, ref: false }).catch(
            () => undefined,
          );
        }
    };
    run().catch((error: unknown) => {
      this.warn(`A socket.io client is told nothing more: ${messageOf(error)}`);
      this.socket.disconnect(true);
    });
  }
}

/** @throws SegueError UNAUTHENTICATED. */
function viewerOf(
  guard: SignedInGuard,
  { handshake }: { handshake: OldSocket['handshake'] },
): Promise<Viewer> {
  const { auth, query, headers } = handshake;
  const token: unknown = auth.token ?? query.token;
  const authorization =
    typeof token === 'string' ? `Bearer ${token.replace(/^Bearer +/i, '')}` : headers.authorization;
  return guard.viewerOf(contextOf(headers, { authorization }));
}

/** As over HTTP: its code and its sentence, and nothing of what is inside. */
function describe(error: unknown, warn: (message: string) => void = () => undefined): OldError {
  const known = explainDatabaseError(error);
  if (known !== null) return { code: known.code, message: known.message };
  warn(`A socket.io client was told of a fault: ${messageOf(error)}`);
  return { code: 'INTERNAL', message: 'Something went wrong in the server.' };
}

function readMessage(viewer: Viewer, given: unknown): Parameters<LegacyWritesService['create']>[1] {
  const { content, type, clientId, ...to } = fieldsOf(given);
  if (typeof content !== 'string') throw wrong('content', content, 'a text');
  if (type != null && typeof type !== 'string') throw wrong('type', type, 'a text');
  if (clientId != null && !isClientId(clientId))
    throw wrong('clientId', clientId, '1 to 64 characters, and no NUL or half of a surrogate pair');
  return {
    senderId: Number(viewer.id),
    ...readPeer(to),
    content,
    type: type ?? 'text',
    clientId: clientId ?? null,
  };
}

function isClientId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= 64 && !isUnfit(value);
}

function readPeer({ recipientId, groupId }: Record<string, unknown>): {
  recipientId: number | null;
  groupId: number | null;
} {
  return {
    recipientId: recipientId == null ? null : readInt('recipientId', recipientId),
    groupId: groupId == null ? null : readInt('groupId', groupId),
  };
}

function fieldsOf(given: unknown): Record<string, unknown> {
  if (typeof given !== 'object' || given === null)
    throw new SegueError(
      'BAD_USER_INPUT',
      'Send an object, as {"recipientId": 7, "content": "…"}.',
    );
  return given as Record<string, unknown>;
}

function readInt(name: string, value: unknown): number {
  // Some old clients send their numbers as text.
  const number = typeof value === 'string' && /^-?\d{1,10}$/.test(value) ? Number(value) : value;
  if (!Number.isInteger(number) || Math.abs(Number(number)) > 2 ** 31 - 1)
    throw wrong(name, value, 'a whole number of 32 bits');
  return Number(number);
}

function wrong(name: string, value: unknown, takes: string): SegueError {
  return new SegueError('BAD_USER_INPUT', `${name} is ${shown(value)}: it takes ${takes}.`);
}

/** Of what came from outside: there may be nothing to be shown of it. */
function shown(value: unknown): string {
  const text: unknown = JSON.stringify(value);
  return typeof text === 'string' ? text.slice(0, 100) : 'missing';
}

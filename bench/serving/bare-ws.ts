import sqlite3 from 'sqlite3';
import { type WebSocket, WebSocketServer } from 'ws';
import { serveUsage } from './usage.js';

/**
 * The floor: as little as a chat server can do. It takes apart what it is sent, commits in groups on SQLite with a sync of the
 * disk for each, answers, and hands on. No GraphQL, no sign-in, no members, no events, no old table.
 */
const [, , path = '', port = '0'] = process.argv;

interface Message {
  readonly id?: string;
  readonly type: string;
  readonly payload?: {
    readonly query: string;
    readonly variables: {
      readonly c?: string;
      readonly input?: { conversationId: string; text: string; clientId: string };
    };
  };
}

const database = new sqlite3.Database(path);
const run = (sql: string): Promise<void> =>
  new Promise((resolve, reject) => {
    database.run(sql, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
await run('PRAGMA journal_mode = WAL');
await run('PRAGMA synchronous = FULL');
await run(
  'CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation TEXT, client_id TEXT UNIQUE, content TEXT, sent_at TEXT)',
);
const insert = database.prepare(
  'INSERT INTO messages (conversation, client_id, content, sent_at) VALUES (?, ?, ?, ?)',
);

const listeners = new Map<string, Set<{ socket: WebSocket; id: string }>>();
let waiting: {
  socket: WebSocket;
  id: string;
  input: { conversationId: string; text: string; clientId: string };
}[] = [];
let isRunning = false;

async function commit(): Promise<void> {
  isRunning = true;
  while (waiting.length > 0) {
    const group = waiting;
    waiting = [];
    const sentAt = new Date().toISOString();
    await run('BEGIN');
    const ids = await Promise.all(
      group.map(
        ({ input: { conversationId, clientId, text } }) =>
          new Promise<number>((resolve, reject) => {
            insert.run(
              conversationId,
              clientId,
              text,
              sentAt,
              function (this: sqlite3.RunResult, error: Error | null) {
                if (error === null) resolve(this.lastID);
                else reject(error);
              },
            );
          }),
      ),
    );
    await run('COMMIT');
    group.forEach(({ socket, id, input: { conversationId, text } }, n) => {
      const message = { id: `msg_${ids[n]}`, sentAt };
      socket.send(
        JSON.stringify({ id, type: 'next', payload: { data: { sendMessage: message } } }),
      );
      socket.send(JSON.stringify({ id, type: 'complete' }));
      const payload = JSON.stringify({
        data: { messageAdded: { ...message, text, sender: { id: 'usr_1', name: 'Somebody' } } },
      });
      for (const listener of listeners.get(conversationId) ?? [])
        listener.socket.send(`{"id":"${listener.id}","type":"next","payload":${payload}}`);
    });
  }
  isRunning = false;
}

const server = new WebSocketServer({
  port: Number(port),
  host: '127.0.0.1',
  perMessageDeflate: false,
});
server.on('connection', (socket) => {
  socket.on('message', (data: Buffer) => {
    const { id = '', type, payload } = JSON.parse(data.toString()) as Message;
    if (type === 'connection_init') socket.send('{"type":"connection_ack"}');
    const { c, input } = payload?.variables ?? {};
    if (c !== undefined) {
      const set = listeners.get(c) ?? new Set();
      listeners.set(c, set.add({ socket, id }));
    }
    if (input !== undefined) {
      waiting.push({ socket, id, input });
      if (!isRunning) void commit();
    }
  });
});
server.once('listening', serveUsage);

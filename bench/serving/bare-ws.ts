import { type WebSocket, WebSocketServer } from 'ws';
import { type Input, makeFloorTable } from './floor-on-sqlite.js';
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
      readonly input?: Input;
    };
  };
}

const table = await makeFloorTable(path);
const listeners = new Map<string, Set<{ socket: WebSocket; id: string }>>();
let waiting: { socket: WebSocket; id: string; input: Input }[] = [];
let isRunning = false;

async function commit(): Promise<void> {
  isRunning = true;
  while (waiting.length > 0) {
    const group = waiting;
    waiting = [];
    const sentAt = new Date().toISOString();
    await table.run('BEGIN');
    const ids = await Promise.all(group.map(({ input }) => table.insert(input, sentAt)));
    await table.run('COMMIT');
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

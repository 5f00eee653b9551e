import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type Connect, LISTEN, type Member, type Order, SEND, type Sent } from './protocol.js';

/** How many connect at a time. */
const AT_ONCE = 50;

/** How long listeners may take at first to be told of what is sent to find out whether they listen, in ms. */
const LEAST_PATIENCE_MS = 50;

interface Flight {
  missing: number;
  readonly done: () => void;
}

/** Connects people to a server, and has them send and receive: a process of its own, which the server's CPU is not counted in. */
class Driver {
  private readonly flights = new Map<string, Flight>();
  private readonly senders: WebSocket[] = [];
  private sent = 0;
  private failure: Error | null = null;

  constructor(private readonly orders: Connect) {}

  async connect(): Promise<void> {
    const { listeners, senders } = this.orders;
    for (let n = 0; n < listeners.length; n += AT_ONCE)
      await Promise.all(
        listeners.slice(n, n + AT_ONCE).map(async (listener) => {
          const socket = await this.open(listener, (frame) => {
            this.receive(frame);
          });
          socket.send(
            JSON.stringify({
              id: 'l',
              type: 'subscribe',
              payload: { query: LISTEN, variables: { c: listener.conversationId } },
            }),
          );
        }),
      );
    for (const sender of senders)
      this.senders.push(
        await this.open(sender, (frame) => {
          this.acknowledge(frame);
        }),
      );
    // No answer says that a subscription has begun: everybody listens when everybody has heard.
    for (let n = 0; n < senders.length; n += 1)
      for (let patience = LEAST_PATIENCE_MS; ; patience *= 2)
        // What arrives later is of a message that nobody waits for.
        if (await Promise.race([this.send(n).then(() => true), sleep(patience, false)])) break;
    await sleep(1_000);
  }

  async run(seconds: number): Promise<Sent> {
    const taken: number[] = [];
    const began = performance.now();
    const until = began + seconds * 1_000;
    await Promise.all(
      this.senders.map(async (_, n) => {
        while (performance.now() < until) {
          const from = performance.now();
          await this.send(n);
          if (this.failure !== null) throw this.failure;
          taken.push(performance.now() - from);
        }
      }),
    );
    const tookSeconds = (performance.now() - began) / 1_000;
    taken.sort((a, b) => a - b);
    const at = (share: number): number => taken[Math.floor(taken.length * share)] ?? 0;
    return { messages: taken.length, seconds: tookSeconds, p50: at(0.5), p99: at(0.99) };
  }

  /** Resolves when it is acknowledged and everybody has it. */
  private send(number: number): Promise<void> {
    this.sent += 1;
    const id = `m${this.sent}`;
    const conversationId = this.orders.senders[number]?.conversationId;
    const input = { conversationId, clientId: `${process.pid} ${id}`, text: `<${id}>` };
    return new Promise((done) => {
      this.flights.set(id, { missing: this.orders.receivers + 1, done });
      this.senders[number]?.send(
        JSON.stringify({ id, type: 'subscribe', payload: { query: SEND, variables: { input } } }),
      );
    });
  }

  private receive(frame: string): void {
    const from = frame.indexOf('<m');
    if (from < 0) {
      if (!isOfProtocol(frame)) this.fail(frame);
      return;
    }
    this.land(frame.slice(from + 1, frame.indexOf('>', from)));
  }

  private acknowledge(frame: string): void {
    if (frame.includes('"errors"') || frame.includes('"error"')) this.fail(frame);
    else if (frame.includes('"next"')) {
      const from = frame.indexOf('"id":"m') + 6;
      this.land(frame.slice(from, frame.indexOf('"', from)));
    }
  }

  private land(id: string): void {
    const flight = this.flights.get(id);
    if (flight === undefined) return;
    flight.missing -= 1;
    if (flight.missing > 0) return;
    this.flights.delete(id);
    flight.done();
  }

  private fail(frame: string): void {
    this.failure ??= new Error(`The server said ${frame.slice(0, 500)}`);
    for (const { done } of this.flights.values()) done();
  }

  private async open({ token }: Member, onFrame: (frame: string) => void): Promise<WebSocket> {
    const socket = new WebSocket(this.orders.url, 'graphql-transport-ws', {
      perMessageDeflate: false,
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.once('open', () => {
        socket.send(
          JSON.stringify({
            type: 'connection_init',
            payload: { authorization: `Bearer ${token}` },
          }),
        );
      });
      socket.once('close', (code, reason) => {
        this.fail(`close ${code} ${String(reason)}`);
        reject(new Error(`The server closed a connection: ${code} ${String(reason)}`));
      });
      socket.once('message', () => {
        socket.on('message', (data: Buffer) => {
          onFrame(data.toString('latin1'));
        });
        resolve();
      });
    });
    return socket;
  }
}

function isOfProtocol(frame: string): boolean {
  return frame.includes('"ping"') || frame.includes('"pong"');
}

let driver: Driver | null = null;
process.on('message', (order: Order) => {
  void (async () => {
    try {
      if (order.do === 'connect') {
        driver = new Driver(order.with);
        await driver.connect();
        process.send?.({ done: true });
      } else process.send?.({ done: await driver?.run(order.seconds) });
    } catch (error) {
      process.send?.({ failed: String(error) });
    }
  })();
});

import { connect, createServer, type Server, type Socket } from 'node:net';

interface Link {
  readonly client: Socket;
  readonly server: Socket;
}

/** A bad network between clients and a server: TCP connections that end, stand still, or are there on one side only. */
export class Proxy {
  private readonly links = new Set<Link>();
  private readonly halves = new Set<Socket>();

  private constructor(
    private readonly listener: Server,
    readonly port: number,
  ) {}

  static async to(serverPort: number): Promise<Proxy> {
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const address = listener.address();
    if (address === null || typeof address === 'string') throw new Error('A proxy has no port');
    const proxy = new Proxy(listener, address.port);
    listener.on('connection', (client) => {
      proxy.link(client, connect(serverPort, '127.0.0.1'));
    });
    return proxy;
  }

  /** A connection of now; null when there is none. */
  pick(random: () => number): Link | null {
    return [...this.links][Math.floor(random() * this.links.size)] ?? null;
  }

  /** Ends it for both sides, with a reset. */
  cut({ client, server }: Link): void {
    client.resetAndDestroy();
    server.resetAndDestroy();
  }

  /** Lets nothing through, in either direction. */
  stall({ client, server }: Link): void {
    client.pause();
    server.pause();
  }

  goOn({ client, server }: Link): void {
    client.resume();
    server.resume();
  }

  /** Ends it for one side; the other one is told nothing, and hears nothing more. */
  halve(link: Link, ended: 'client' | 'server'): void {
    this.links.delete(link);
    const left = ended === 'client' ? link.server : link.client;
    this.halves.add(left);
    left.unpipe();
    left.on('error', () => undefined).on('close', () => this.halves.delete(left));
    // What it sends goes nowhere.
    left.resume();
    const gone = ended === 'client' ? link.client : link.server;
    gone
      .unpipe()
      .removeAllListeners('close')
      .on('error', () => undefined);
    gone.destroy();
  }

  /** Ends what stands still or is there on one side only. */
  heal(): void {
    for (const half of this.halves) half.destroy();
    for (const link of this.links) this.goOn(link);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.listener.close(resolve));
    for (const half of this.halves) half.destroy();
    for (const link of this.links) this.cut(link);
    await closed;
  }

  private link(client: Socket, server: Socket): void {
    const link = { client, server };
    this.links.add(link);
    client.pipe(server);
    server.pipe(client);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const)
      one
        // `close` comes after it, and ends the other side.
        .on('error', () => undefined)
        .on('close', () => {
          if (this.links.delete(link)) other.destroy();
        });
  }
}

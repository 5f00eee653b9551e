import { randomUUID } from 'node:crypto';
import { createClient } from '@redis/client';
import { messageOf } from '../errors/segue-error.js';

/** The longest rest between two tries to reach Redis, in ms. */
const LONGEST_REST_MS = 2_000;

/** What the processes on a database tell each other of one thing. */
export interface Topic<Message> {
  /** This process, under a name that another start of it does not get. */
  readonly node: string;
  /**
   * Says something to all processes, this one included.
   * @returns whether it was said: it is not said later, and nobody knows who heard it
   */
  say(message: Message): Promise<boolean>;
  /**
   * @param hear told what a node has said
   * @param ready told when something is heard from now on; what was said before that is lost
   */
  follow(hear: (message: Message, node: string) => void, ready?: () => void): void;
}

/**
 * Between the processes on a database, by way of Redis. Nothing may depend on it: what is said while Redis is away is lost,
 * and it goes on trying to reach it.
 */
export class Bus {
  private readonly speaker: ReturnType<typeof createClient>;
  private readonly listener: ReturnType<typeof createClient>;
  private readonly node = randomUUID();
  private readonly followed = new Map<
    string,
    { hear: (text: string) => void; ready: () => void }
  >();
  private told = '';
  private hasStopped = false;

  /**
   * @param url `redis://…` or `rediss://…`
   * @param name the same for all processes on a database, and for no others
   * @param warn told once of each failure that is another one than the last
   */
  constructor(
    url: string,
    private readonly name: string,
    private readonly warn: (message: string) => void,
  ) {
    this.speaker = createClient({
      url,
      // What could not be said at once need not be said later.
      disableOfflineQueue: true,
      socket: { reconnectStrategy: (tries) => Math.min(50 * 2 ** tries, LONGEST_REST_MS) },
    });
    this.listener = this.speaker.duplicate({ disableOfflineQueue: false });
    for (const client of [this.speaker, this.listener])
      client.on('error', (error: unknown) => {
        this.fail(error);
      });
  }

  /** @param name a topic of one kind of messages: what a process of another version says of it may have more in it */
  topic<Message>(name: string): Topic<Message> {
    const channel = `segue:${name}:${this.name}`;
    return {
      node: this.node,
      say: (message) => this.say(channel, JSON.stringify({ node: this.node, message })),
      follow: (hear, ready = () => undefined) => {
        this.followed.set(channel, {
          hear: (text) => {
            const said = parse(text);
            if (said === null)
              this.warn(`Somebody else speaks on ${channel} in Redis: ${text.slice(0, 100)}`);
            else hear(said.message as Message, said.node);
          },
          ready,
        });
      },
    };
  }

  /** Begins with what is followed by then, and goes on trying where Redis is away. */
  start(): void {
    this.listener.on('ready', () => {
      this.told = '';
      for (const { ready } of this.followed.values()) ready();
    });
    const connecting: Promise<unknown>[] = [this.speaker.connect(), this.listener.connect()];
    for (const [channel, { hear }] of this.followed)
      connecting.push(this.listener.subscribe(channel, hear));
    for (const each of connecting)
      each.catch((error: unknown) => {
        this.fail(error);
      });
  }

  private async say(channel: string, text: string): Promise<boolean> {
    if (!this.speaker.isReady) return false;
    try {
      await this.speaker.publish(channel, text);
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  stop(): void {
    this.hasStopped = true;
    for (const client of [this.speaker, this.listener]) if (client.isOpen) client.destroy();
  }

  private fail(error: unknown): void {
    // What was on its way fails because we ended it: Redis is well.
    if (this.hasStopped) return;
    const message = messageOf(error);
    if (message !== this.told)
      this.warn(
        `Redis cannot be reached (${message}): events of other processes come a second later, and who is there and who types is known of this process alone`,
      );
    this.told = message;
  }
}

/** Null for what no process of ours can have said. */
function parse(text: string): { node: string; message: unknown } | null {
  try {
    const said: unknown = JSON.parse(text);
    return typeof said === 'object' && said !== null && 'node' in said && 'message' in said
      ? (said as { node: string; message: unknown })
      : null;
  } catch {
    return null;
  }
}

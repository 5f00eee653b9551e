import { createClient } from '@redis/client';
import { messageOf } from '../errors/segue-error.js';

/** The longest rest between two tries to reach Redis, in ms. */
const LONGEST_REST_MS = 2_000;

/**
 * Tells the other processes on a database, over Redis, that something was committed, and is told by them. Nothing depends
 * on it: a wake-up that is lost, for as long as Redis is away too, is made up for by the look at the log every second.
 */
export class WakeUps {
  private readonly speaker: ReturnType<typeof createClient>;
  private readonly listener: ReturnType<typeof createClient>;
  private isSpeaking = false;
  private hasMore = false;
  private told = '';
  private hasStopped = false;

  /**
   * @param url `redis://…` or `rediss://…`
   * @param channel the same for all processes on a database, and for no others
   * @param warn told once of each failure that is another one than the last
   */
  constructor(
    url: string,
    private readonly channel: string,
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

  /** Listens from now on, and goes on trying where Redis is away. `wake` is called too when it was away and is back. */
  follow(wake: () => void): void {
    this.listener.on('ready', () => {
      this.told = '';
      wake();
    });
    const connecting = [
      this.speaker.connect(),
      this.listener.connect(),
      this.listener.subscribe(this.channel, wake),
    ];
    for (const each of connecting)
      each.catch((error: unknown) => {
        this.fail(error);
      });
  }

  /** Wakes the others: one message for all that is committed while the last one is on its way. */
  tell(): void {
    if (this.isSpeaking) {
      this.hasMore = true;
      return;
    }
    if (!this.speaker.isReady) return;
    this.isSpeaking = true;
    this.speaker
      .publish(this.channel, '')
      .catch((error: unknown) => {
        this.fail(error);
      })
      .finally(() => {
        this.isSpeaking = false;
        if (!this.hasMore) return;
        this.hasMore = false;
        this.tell();
      });
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
        `Redis cannot be reached (${message}): events of other processes come a second later`,
      );
    this.told = message;
  }
}

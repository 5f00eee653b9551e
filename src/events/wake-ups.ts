import type { Topic } from './bus.js';

/**
 * Tells the other processes on a database that something was committed, and is told by them. Nothing depends on it: a
 * wake-up that is lost is made up for by the look at the log every second.
 */
export class WakeUps {
  private isSpeaking = false;
  private hasMore = false;

  constructor(private readonly topic: Topic<null>) {}

  /** `wake` is called too when nothing was heard for a while and is again. */
  follow(wake: () => void): void {
    this.topic.follow((_, node) => {
      if (node !== this.topic.node) wake();
    }, wake);
  }

  /** Wakes the others: one message for all that is committed while the last one is on its way. */
  tell(): void {
    if (this.isSpeaking) {
      this.hasMore = true;
      return;
    }
    this.isSpeaking = true;
    void this.topic.say(null).then(() => {
      this.isSpeaking = false;
      if (!this.hasMore) return;
      this.hasMore = false;
      this.tell();
    });
  }
}

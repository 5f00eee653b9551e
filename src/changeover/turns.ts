import { setTimeout as sleep } from 'node:timers/promises';
import type { Manners } from '../database/dialect.js';

/** Time as it passes; tests have one of their own. */
export interface Clock {
  now(): number;
  /** @throws an AbortError when `stopping` is aborted, at once. */
  sleep(ms: number, stopping: AbortSignal | undefined): Promise<unknown>;
}

const CLOCK: Clock = {
  now: () => performance.now(),
  sleep: (ms, stopping) => sleep(ms, undefined, { signal: stopping }),
};

/**
 * Leaves others their turn between transactions that follow each other: after one that held its locks for so long, it
 * rests as long. That alone is not enough where whoever waits looks ever more seldom, as SQLite's busy handler does: so
 * that he meets a gap before he gives up, a longer one comes every now and then.
 *
 * The rest is made up before the next transaction, not after the last: what is done in between counts for it.
 */
export class Turns {
  private endedAt = -Infinity;
  private heldMs = 0;
  private gapAt = -Infinity;

  /** @param manners the engine's */
  constructor(
    private readonly manners: Manners,
    private readonly clock: Clock = CLOCK,
  ) {}

  /**
   * Waits until others have had their turn.
   * @throws an AbortError when `stopping` is aborted, at once.
   */
  async wait(stopping?: AbortSignal): Promise<void> {
    stopping?.throwIfAborted();
    const { gapMs, gapEveryMs } = this.manners;
    const now = this.clock.now();
    // The next one takes about as long as the last one did.
    const isGapDue = now - this.gapAt + 2 * this.heldMs > gapEveryMs;
    const restMs = Math.max(this.heldMs, isGapDue ? gapMs : 0);
    const left = this.endedAt + restMs - now;
    if (left > 0) await this.clock.sleep(left, stopping);
    if (this.clock.now() - this.endedAt >= gapMs) this.gapAt = this.clock.now();
  }

  /** A transaction has ended that held its locks for so long. */
  noteHeld(heldMs: number): void {
    this.heldMs = heldMs;
    this.endedAt = this.clock.now();
  }
}

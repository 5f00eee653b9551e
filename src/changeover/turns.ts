import { setTimeout as sleep } from 'node:timers/promises';
import type { Queryable } from '../database/database.js';
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
 * rests for the engine's part of that. That alone is not enough where whoever waits looks ever more seldom, as SQLite's busy handler does: so
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
    const { restShare, gapMs, gapEveryMs } = this.manners;
    const now = this.clock.now();
    // The next one takes about as long as the last one did.
    const isGapDue = now - this.gapAt + 2 * this.heldMs > gapEveryMs;
    const restMs = Math.max(this.heldMs * restShare, isGapDue ? gapMs : 0);
    const left = this.endedAt + restMs - now;
    if (left > 0) await this.clock.sleep(left, stopping);
    if (this.clock.now() - this.endedAt >= gapMs) this.gapAt = this.clock.now();
  }

  /** A transaction has ended that held its locks for so long. */
  noteHeld(heldMs: number): void {
    this.heldMs = heldMs;
    this.endedAt = this.clock.now();
  }

  /**
   * Runs a transaction after others had their turn. To wait for a lock of somebody else's is not to hold one.
   * @param run runs `work` in a transaction
   * @returns what `work` gave, and for how long the transaction held its locks, in ms
   * @throws what `run` throws; an AbortError when `stopping` is aborted while it waits.
   */
  async take<Result>(
    run: (work: (transaction: Queryable) => Promise<Result>) => Promise<Result>,
    work: (transaction: Queryable) => Promise<Result>,
    stopping?: AbortSignal,
  ): Promise<{ result: Result; heldMs: number }> {
    await this.wait(stopping);
    let began = this.clock.now();
    try {
      const result = await run((transaction) => {
        began = this.clock.now();
        return work(transaction);
      });
      return { result, heldMs: this.clock.now() - began };
    } finally {
      this.noteHeld(this.clock.now() - began);
    }
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import type { Queryable } from '../database/database.js';
import type { Manners } from '../database/dialect.js';
import { FIRST_BATCH_ROWS, IDLE_TARGET_MS, nextSize } from './batch-size.js';

/** Rows of the first batch beside somebody who writes. */
const FIRST_BUSY_ROWS = 500;

/** How long nobody else may have written for the old app to count as idle, in ms. */
const IDLE_AFTER_MS = 5_000;

/** The longest rest without a look around, in ms: what an operator wishes takes effect within a second. */
const LONGEST_REST_MS = 200;

/** How often the database is asked what it suffers from, in ms; and how much longer the rests are then. */
const ASK_EVERY_MS = 2_000;
const THROTTLED = 4;

/** The part of a second that a batch under a rate limit may be worth. */
const LIMITED_SHARE = 0.25;

/** What an operator wishes, read anew before each batch. */
export interface Wishes {
  readonly isPaused: boolean;
  /** Rows a second, at most; null: as fast as manners allow. */
  readonly rateLimit: number | null;
}

/**
 * How large the batches of a copy are, and how long it rests in between, so that whoever writes beside it gets his
 * turn. Rests are a matter of correctness: SQLite's writers wait by trying again and again, and one who finds the lock
 * taken each time gives up after his timeout, 1 s for many.
 *
 * While somebody else writes, a batch holds its locks for the engine's `busyTargetMs`, and the copy rests as long. When
 * nobody has for 5 s, it may hold them longer; the first foreign write brings it back.
 */
export class Pace {
  private size = FIRST_BATCH_ROWS;
  private mark: string | undefined;
  private foreignAt = -Infinity;
  private askedAt = -Infinity;
  private gapAt = performance.now();
  private throttle: string | null = null;
  private isWaitedFor = false;

  /** @param manners the engine's */
  constructor(private readonly manners: Manners) {}

  /** What it rests longer for, in a word of the engine's; null: nothing. */
  get throttledBy(): string | null {
    return this.isWaitedFor ? 'lock wait' : this.throttle;
  }

  /** Whether somebody else has written of late. */
  get isBusy(): boolean {
    return performance.now() - this.foreignAt < IDLE_AFTER_MS;
  }

  /** How long a batch may hold its locks at the moment, in ms. */
  get targetMs(): number {
    return this.isBusy ? this.manners.busyTargetMs : IDLE_TARGET_MS;
  }

  /** Rows of the next batch. */
  batchSize({ rateLimit }: Wishes): number {
    return rateLimit === null
      ? this.size
      : Math.max(1, Math.min(this.size, Math.round(rateLimit * LIMITED_SHARE)));
  }

  /** The next batch has half of the rows: the database refused one, or somebody waited for it. */
  halve(): void {
    this.size = Math.max(Math.floor(this.size / 2), 1);
  }

  /** Somebody else wrote. */
  noteForeignWrite(): void {
    // Nothing was measured yet of what a batch takes here.
    if (this.foreignAt === -Infinity) this.size = Math.min(this.size, FIRST_BUSY_ROWS);
    this.foreignAt = performance.now();
  }

  /** A transaction had to wait for so long until it could begin: only somebody else's can have kept it. */
  noteWait(waitedMs: number): void {
    if (waitedMs > this.manners.longWaitMs) this.noteForeignWrite();
  }

  /** Looks, at the end of a batch's transaction, whether somebody waits for what it holds: he would see it as slowness. */
  async lookForWaiters(transaction: Queryable): Promise<void> {
    this.isWaitedFor =
      this.manners.waiters !== null && (await transaction.all(this.manners.waiters)).length > 0;
    if (this.isWaitedFor) this.noteForeignWrite();
  }

  /** Looks whether somebody else wrote since the last look, and what the database suffers from. */
  async lookAround(connection: Queryable): Promise<void> {
    const [row] = await connection.all<Record<string, unknown>>(this.manners.foreignMark);
    const mark = String(Object.values(row ?? {})[0]);
    if (this.mark !== undefined && mark !== this.mark) this.noteForeignWrite();
    this.mark = mark;
    if (performance.now() - this.askedAt < ASK_EVERY_MS) return;
    this.askedAt = performance.now();
    const [sufferedFrom] =
      this.manners.throttles === null
        ? []
        : await connection.all<{ reason: string }>(this.manners.throttles);
    this.throttle = sufferedFrom?.reason ?? null;
  }

  /**
   * Rests after a batch.
   * @param batch.freeMs for how long it holds nothing by now: what is done between the end of its transaction and this
   *   counts for a gap
   * @param meanwhile called again and again in a longer rest
   */
  async rest(
    { rows, tookMs, freeMs }: { rows: number; tookMs: number; freeMs: number },
    { rateLimit }: Wishes,
    meanwhile: () => Promise<unknown>,
  ): Promise<void> {
    this.size = nextSize(this.size, (tookMs / rows) * this.size, this.targetMs);
    if (this.isWaitedFor) this.halve();
    const forRate = rateLimit === null ? 0 : (rows / rateLimit) * 1_000 - tookMs;
    const restMs = Math.max(this.mannerlyRest(tookMs, freeMs), forRate);
    for (let left = restMs; left > 0; left -= LONGEST_REST_MS) {
      await sleep(Math.min(left, LONGEST_REST_MS));
      if (left > LONGEST_REST_MS) await meanwhile();
    }
    if (freeMs + restMs >= this.manners.gapMs) this.gapAt = performance.now();
  }

  private mannerlyRest(tookMs: number, freeMs: number): number {
    if (this.throttledBy !== null) return tookMs * THROTTLED;
    if (this.targetMs < IDLE_TARGET_MS) return tookMs;
    // One who came at the worst moment has to find a gap before he gives up, however seldom he looks.
    return performance.now() - this.gapAt + IDLE_TARGET_MS > this.manners.gapEveryMs
      ? Math.max(this.manners.gapMs - freeMs, 0)
      : 0;
  }
}

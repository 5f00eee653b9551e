/** What a long step tells of itself. */
export interface Progress {
  readonly step: string;
  /** Rows done and rows in all, of this step. */
  readonly done: number;
  readonly total: number;
  /** Rows a second, of late; 0 when not known yet. */
  readonly rowsPerSecond: number;
  /** Seconds left at that rate; null when not known yet. */
  readonly secondsLeft: number | null;
  /** What it rests longer for, or waits for; null: nothing. */
  readonly throttledBy: string | null;
}

export type Report = (progress: Progress) => void;

/** The weight of the newest measurement in the moving average of the rate. */
const NEWEST = 0.3;

/** Counts the rows of a step, and says how fast they go. */
export class Meter {
  private rate = 0;
  private throttledBy: string | null = null;
  private last = performance.now();

  constructor(
    private readonly step: string,
    private readonly total: number,
    private readonly report: Report,
    private done = 0,
  ) {
    this.tell();
  }

  get rowsPerSecond(): number {
    return Math.round(this.rate);
  }

  add(rows: number): void {
    const now = performance.now();
    const rate = (rows / Math.max(now - this.last, 1)) * 1000;
    this.rate = this.rate === 0 ? rate : this.rate * (1 - NEWEST) + rate * NEWEST;
    this.last = now;
    this.done += rows;
    this.tell();
  }

  /** Says what the step rests for, or waits for, from now on. */
  throttle(by: string | null): void {
    if (by === this.throttledBy) return;
    this.throttledBy = by;
    // What it took before says nothing of what is left.
    this.last = performance.now();
    this.tell();
  }

  private tell(): void {
    const left = Math.max(this.total - this.done, 0);
    this.report({
      step: this.step,
      done: this.done,
      total: this.total,
      rowsPerSecond: this.rowsPerSecond,
      secondsLeft: this.rate > 0 ? Math.ceil(left / this.rate) : null,
      throttledBy: this.throttledBy,
    });
  }
}

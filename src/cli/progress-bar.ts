import { SingleBar } from 'cli-progress';
import type { Progress } from '../changeover/progress.js';
import { throttle } from './print.js';

/** How often a line is written where there is no terminal to draw on, in ms. */
const LINE_EVERY_MS = 5_000;

/** Draws progress on a terminal; in a log it writes a line now and then. It writes to stderr only. */
export class ProgressBar {
  private bar: SingleBar | undefined;
  private step = '';
  private lastLine = 0;

  constructor(private readonly enabled: boolean) {}

  show(progress: Progress): void {
    if (!this.enabled) return;
    if (process.stderr.isTTY) this.draw(progress);
    else this.write(progress);
  }

  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }

  private draw(progress: Progress): void {
    const payload = {
      step: progress.step.padEnd(13),
      rate: `${format(progress.rowsPerSecond)}/s`,
      left: leftOf(progress),
    };
    if (this.step !== progress.step) {
      this.stop();
      this.step = progress.step;
      this.bar = new SingleBar({
        format: '{step} [{bar}] {percentage}%  {value}/{total}  {rate}  {left}',
        barCompleteChar: '=',
        barIncompleteChar: ' ',
        hideCursor: true,
        stream: process.stderr,
      });
      this.bar.start(progress.total, progress.done, payload);
    }
    this.bar?.update(progress.done, payload);
  }

  private write(progress: Progress): void {
    const { step, done, total, rowsPerSecond } = progress;
    const now = performance.now();
    const isEdge = step !== this.step || done >= total || progress.throttledBy === 'disk';
    if (!isEdge && now - this.lastLine < LINE_EVERY_MS) return;
    this.step = step;
    this.lastLine = now;
    process.stderr.write(
      `${step}: ${format(done)} of ${format(total)}, ${format(rowsPerSecond)}/s, ${leftOf(progress)}\n`,
    );
  }
}

function format(value: number): string {
  return value.toLocaleString('en-US');
}

function leftOf({ secondsLeft, throttledBy }: Progress): string {
  const left = `${duration(secondsLeft)} left`;
  return throttledBy === null ? left : `${left}, throttled by ${throttle(throttledBy)}`;
}

function duration(seconds: number | null): string {
  if (seconds === null) return '?';
  const minutes = Math.floor(seconds / 60);
  return minutes === 0 ? `${seconds} s` : `${minutes} min ${seconds % 60} s`;
}

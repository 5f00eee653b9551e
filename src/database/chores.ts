import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors/segue-error.js';

/** One thing that is looked after as long as a server runs. */
export interface Chore {
  /** What is told when it fails, up to a colon. */
  readonly name: string;
  /** The least rest between two times, in ms, and how many times as long as it took. */
  readonly restMs: number;
  readonly rests: number;
  readonly run: (stopping: AbortSignal) => Promise<unknown>;
}

export interface ChoresOptions {
  /** How much longer each rest is. */
  readonly pace?: number;
  /** Failures that nobody has to be told of. */
  readonly isExpected?: (error: unknown) => boolean;
}

/** Does chores again and again, each for itself. One that fails is told once and tried again. */
export class Chores {
  private readonly stopping = new AbortController();
  private readonly running: Promise<unknown>;

  /** @param warn told once of each failure that is another one than the last of its chore */
  constructor(
    chores: readonly Chore[],
    private readonly warn: (message: string) => void,
    private readonly options: ChoresOptions = {},
  ) {
    this.running = Promise.all(chores.map((chore) => this.repeat(chore)));
  }

  /** Resolves when nothing of it touches the database any more. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async repeat({ name, restMs, rests, run }: Chore): Promise<void> {
    const { pace = 1, isExpected = () => false } = this.options;
    const { signal } = this.stopping;
    const isStopping = (): boolean => signal.aborted;
    let told = '';
    while (!isStopping()) {
      const started = performance.now();
      try {
        await run(signal);
        told = '';
      } catch (error) {
        // It may pass: the server goes on answering.
        const message = messageOf(error);
        if (!isExpected(error) && message !== told && !isStopping())
          this.warn(`${name}: ${message}`);
        told = message;
      }
      const rest = Math.max(restMs * pace, (performance.now() - started) * rests);
      // Rejects when it is aborted, which is the end of the rest too.
      await sleep(rest, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}

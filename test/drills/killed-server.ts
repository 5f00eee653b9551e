import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { exited, startServer } from './processes.js';

/** Longest time between two kills, in ms. */
const MOST_MS = 2_500;

/** A server on one address that is killed by SIGKILL at random moments, and started again at once. */
export class KilledServer {
  kills = 0;
  private child: ChildProcess | null = null;
  private isOver = false;
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly environment: NodeJS.ProcessEnv,
    private readonly random: () => number,
  ) {}

  async begin(): Promise<void> {
    this.child = await startServer(this.environment);
    this.running = this.kill();
  }

  /** The last one lives on until `end`. */
  async stopKilling(): Promise<void> {
    this.isOver = true;
    await this.running;
  }

  async end(): Promise<void> {
    await this.stopKilling();
    if (this.child === null) return;
    this.child.kill('SIGTERM');
    await exited(this.child);
  }

  private async kill(): Promise<void> {
    while (!this.isOver) {
      await sleep(300 + this.random() * MOST_MS);
      if (this.child === null) continue;
      this.child.kill('SIGKILL');
      await exited(this.child);
      this.kills += 1;
      this.child = await startServer(this.environment);
    }
  }
}

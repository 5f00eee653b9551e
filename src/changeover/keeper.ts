import { type Chore, Chores } from '../database/chores.js';
import { SegueError } from '../errors/segue-error.js';
import { Applier } from './apply.js';
import { backfill } from './backfill.js';
import { restoreCapture } from './capture-watch.js';
import type { ChangeoverContext } from './context.js';
import { Lease } from './lease.js';
import { hasPending } from './pending-rows.js';
import { replayQuarantine } from './quarantine.js';
import { compareNext } from './rolling-compare.js';
import { hasReached, readState } from './stage.js';

/**
 * Keeps both sides in step for as long as a server runs, on connections of its own:
 *
 * - what the old app wrote is applied, looked for every 0.2 s;
 * - capture triggers that were taken off are put on again, every 2 s;
 * - the rolling compare finds what passed capture by, with a twentieth of its time;
 * - rows in quarantine that somebody mended are taken up, every 5 s;
 * - a backfill that an operator started and that nobody goes on with is gone on with.
 *
 * Several servers and a command line may do so at once: who holds the lease does the work, and each look is short. A
 * chore that fails is told once and tried again: the server goes on answering.
 */
export class ChangeoverKeeper {
  private readonly chores: Chores;

  /**
   * @param warn told once of each failure that is another one than the last of its chore
   * @param options.applied called when something of the old app's was brought to the new side
   */
  constructor(
    private readonly context: ChangeoverContext,
    warn: (message: string) => void,
    { pace = 1, applied = () => undefined }: { pace?: number; applied?: () => void } = {},
  ) {
    const applier = new Applier(context);
    const { database } = context;
    const chores: Chore[] = [
      {
        name: 'What the old app wrote was not applied',
        restMs: 200,
        rests: 1,
        run: async (stopping) => {
          if (await this.isBegun())
            if (await hasPending(database.reader)) {
              await applier.drain(database.reader, (work) => Lease.once(database, work), {
                stopping,
              });
              applied();
            }
        },
      },
      {
        name: 'Capture was not looked after',
        restMs: 2_000,
        rests: 20,
        run: async () => {
          const put = await restoreCapture(context);
          if (put.length > 0)
            warn(`Capture was off and is on again (${put.join(', ')}): run 'segue verify'`);
        },
      },
      {
        name: 'The sides were not compared',
        restMs: 500,
        rests: 20,
        run: async () => {
          const look = await compareNext(context);
          if (look !== null && look.found.length > 0)
            warn(
              `${look.found.length} rows had passed capture by and are applied now: run 'segue verify'`,
            );
        },
      },
      {
        name: 'The quarantine was not looked at',
        restMs: 5_000,
        rests: 20,
        run: async () => {
          const { stage } = await readState(database);
          if (hasReached(stage, 'BACKFILLED') && stage !== 'CONTRACTED')
            await replayQuarantine(context, { all: false });
        },
      },
      {
        name: 'The backfill was not gone on with',
        restMs: 1_000,
        rests: 1,
        run: async (signal) => {
          if ((await readState(database)).stage === 'BACKFILLING') await backfill(context, signal);
        },
      },
    ];
    // Another runner is at work, and does the same.
    const isBusy = (error: unknown): boolean =>
      error instanceof SegueError && /^(RUNNER|LEASE)_/.test(error.code);
    this.chores = new Chores(chores, warn, { pace, isExpected: isBusy });
  }

  /** Resolves when nothing of it touches the database any more. */
  stop(): Promise<void> {
    return this.chores.stop();
  }

  private async isBegun(): Promise<boolean> {
    const { stage } = await readState(this.context.database);
    return stage !== 'LEGACY' && stage !== 'CONTRACTED';
  }
}

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Database, Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';

/** How long a claim lasts without a sign of life, in s. Every transaction of a runner is one. */
const LEASE_SECONDS = 30;

/**
 * The right to run the changeover: one process at a time, by a row with an expiry.
 *
 * The expiry only decides when another one may take over. What keeps two runners from mixing is the fence: each
 * transaction of a runner renews its lease, and is rolled back when the lease is somebody else's by then.
 */
export class Lease {
  private constructor(
    private readonly now: string,
    readonly holder: string,
  ) {}

  /**
   * Takes the lease when it is free, has run out, or belonged to a process of this host that is gone.
   * @throws SegueError RUNNER_ACTIVE naming the holder.
   */
  static async acquire(database: Database): Promise<Lease> {
    const { now } = database.dialect;
    const holder = `${hostname()}/${process.pid}/${randomUUID()}`;
    await database.transaction(async (transaction) => {
      const [current] = await transaction.all<{ holder: string; seconds: number | string }>(
        `SELECT holder, (expires_at - ${now}) / 1000000 AS seconds FROM changeover_lease WHERE name = 'runner'`,
      );
      if (current !== undefined && Number(current.seconds) >= 0 && !isGone(current.holder))
        throw new SegueError(
          'RUNNER_ACTIVE',
          `${current.holder} is running the changeover. Wait for it, or stop it: its lease then runs out in ${Number(current.seconds)} s.`,
        );
      const taken = await transaction.run(
        `INSERT INTO changeover_lease (name, holder, expires_at) VALUES ('runner', :holder, ${now} + ${LEASE_SECONDS}000000)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
           WHERE changeover_lease.holder = :previous`,
        { holder, previous: current?.holder ?? '' },
      );
      if (taken !== 1)
        throw new SegueError('RUNNER_ACTIVE', 'Another process took the lease at the same moment.');
    });
    return new Lease(now, holder);
  }

  /**
   * The fence: to be called in every transaction of the runner, before its commit.
   * @throws SegueError LEASE_LOST, which rolls the transaction back.
   */
  async renew(transaction: Queryable): Promise<void> {
    const renewed = await transaction.run(
      `UPDATE changeover_lease SET expires_at = ${this.now} + ${LEASE_SECONDS}000000
       WHERE name = 'runner' AND holder = :holder`,
      { holder: this.holder },
    );
    if (renewed !== 1)
      throw new SegueError(
        'LEASE_LOST',
        'Another process took the changeover over while this one was silent; this one stops.',
      );
  }

  async release(database: Database): Promise<void> {
    await database.transaction((transaction) =>
      transaction.run(`DELETE FROM changeover_lease WHERE name = 'runner' AND holder = :holder`, {
        holder: this.holder,
      }),
    );
  }
}

/** Whether the holder was a process of this host that does not exist any more: no need to wait for its lease. */
function isGone(holder: string): boolean {
  const [host, pid] = holder.split('/');
  if (host !== hostname() || pid === undefined) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

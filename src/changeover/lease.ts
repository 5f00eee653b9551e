import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { haveSameShifts } from '../config/zone.js';
import type { Database, Queryable, Session } from '../database/database.js';
import { isPassing } from '../database/database-errors.js';
import { getSettledZone } from '../database/settled-zone.js';
import { SegueError } from '../errors/segue-error.js';
import { SETTLED_ZONE } from './stage.js';

/** How long a claim lasts without a sign of life, in s. Every transaction of a runner is one. */
const LEASE_SECONDS = 30;

/** How often a transaction is tried that lost to another one, and the rest before the second time, in ms. */
const ATTEMPTS = 5;
const REST_MS = 200;

/**
 * The right to run the changeover: one process at a time, by a row with an expiry.
 *
 * The expiry only decides when another one may take over. What keeps two runners from mixing is the fence: each
 * transaction of a runner renews its lease, and is rolled back when the lease is somebody else's by then.
 */
export class Lease {
  private renewedAt = performance.now();

  private constructor(
    private readonly now: string,
    readonly holder: string,
  ) {}

  /**
   * Runs `work` under the lease, and gives it back.
   * @throws SegueError RUNNER_ACTIVE naming the holder.
   */
  static async hold<Result>(
    database: Database,
    work: (lease: Lease) => Promise<Result>,
  ): Promise<Result> {
    const lease = await Lease.acquire(database);
    try {
      const result = await work(lease);
      await lease.release(database);
      return result;
    } catch (error) {
      // What went wrong is told, not that the lease could not be given back for the same reason: it runs out by itself.
      await Promise.allSettled([lease.release(database)]);
      throw error;
    }
  }

  /**
   * Runs one transaction under the lease, for work that is too short to hold it: nobody else sees that it was taken.
   * It waits for another such transaction, and keeps everybody else's from beginning.
   * @throws SegueError RUNNER_ACTIVE naming the holder: who holds the lease does the work.
   */
  static once<Result>(
    database: Database,
    work: (transaction: Queryable) => Promise<Result>,
  ): Promise<Result> {
    return database.transaction(async (transaction) => {
      const lease = await Lease.claim(transaction, database);
      const result = await work(transaction);
      await lease.drop(transaction);
      return result;
    });
  }

  /**
   * Takes the lease when it is free, has run out, or belonged to a process of this host that is gone.
   * @throws SegueError RUNNER_ACTIVE naming the holder; BAD_CONFIG when this process reads old times in another zone.
   */
  static acquire(database: Database): Promise<Lease> {
    return database.transaction((transaction) => Lease.claim(transaction, database));
  }

  private static async claim(transaction: Queryable, database: Database): Promise<Lease> {
    const { now } = database.dialect;
    const holder = `${hostname()}/${process.pid}/${randomUUID()}`;
    const current = await findClaim(transaction, now);
    const active = current === null ? null : whyActive(current);
    if (active !== null) throw active;
    const taken = await transaction.run(
      `INSERT INTO changeover_lease (name, holder, expires_at) VALUES ('runner', :holder, ${now} + ${LEASE_SECONDS}000000)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
           WHERE changeover_lease.holder = :previous
             AND (changeover_lease.expires_at < ${now} OR changeover_lease.holder = :gone)`,
      {
        holder,
        previous: current?.holder ?? '',
        // Who was silent for a long transaction has renewed at its end, while this one waited for the row.
        gone: current !== null && isGone(current.holder) ? current.holder : '',
      },
    );
    if (taken !== 1)
      throw new SegueError('RUNNER_ACTIVE', 'Another process took the lease at the same moment.');
    // Asked when the database was opened; but it may have been expanded since, by another process.
    const settled = await getSettledZone(transaction, SETTLED_ZONE);
    const { zone } = database.dialect;
    if (settled !== null && !haveSameShifts(settled, zone))
      throw new SegueError(
        'BAD_CONFIG',
        `LEGACY_TIMEZONE is ${JSON.stringify(zone.name)}, and ${database.shown} was expanded with ${JSON.stringify(settled.name)} after this process was started: ` +
          `end it, and start it with LEGACY_TIMEZONE=${settled.name}.`,
      );
    return new Lease(now, holder);
  }

  /** The error that `acquire` would throw at the moment, or null; for a database that is expanded. */
  static async findConflict({ dialect, reader }: Database): Promise<SegueError | null> {
    const claim = await findClaim(reader, dialect.now);
    return claim === null ? null : whyActive(claim);
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

  /**
   * Runs `work` in a transaction behind the fence. One that lost to another transaction (a deadlock, a lock held for
   * too long) did nothing, and is tried again a few times: that the old app was busy must not end a run of hours.
   * @throws SegueError LEASE_LOST.
   */
  async fenced<Result>(
    session: Pick<Session, 'transaction'>,
    work: (transaction: Queryable) => Promise<Result>,
  ): Promise<Result> {
    for (let attempt = 1; ; attempt += 1)
      try {
        const result = await session.transaction(async (transaction) => {
          await this.renew(transaction);
          this.renewedAt = performance.now();
          const done = await work(transaction);
          // After a long one, what is committed must not have run out already.
          if (this.isDue) await this.renew(transaction);
          return done;
        });
        this.renewedAt = performance.now();
        return result;
      } catch (error) {
        if (attempt === ATTEMPTS || !isPassing(error)) throw error;
        // Not all at the same moment again.
        await sleep(REST_MS * attempt * (0.5 + Math.random()));
      }
  }

  /**
   * The heartbeat of a step that works outside of transactions: to be called between its statements.
   * @throws SegueError LEASE_LOST.
   */
  async keepAlive(session: Pick<Session, 'transaction'>): Promise<void> {
    if (this.isDue) await this.fenced(session, () => Promise.resolve());
  }

  /** A session that keeps the lease alive before each statement outside of its transactions. */
  keeping(session: Session): Session {
    return {
      all: async (sql, parameters) => {
        await this.keepAlive(session);
        return session.all(sql, parameters);
      },
      run: async (sql, parameters) => {
        await this.keepAlive(session);
        return session.run(sql, parameters);
      },
      transaction: (work) => session.transaction(work),
    };
  }

  private get isDue(): boolean {
    return performance.now() - this.renewedAt > (LEASE_SECONDS * 1000) / 3;
  }

  release(database: Database): Promise<void> {
    return database.transaction((transaction) => this.drop(transaction));
  }

  private async drop(transaction: Queryable): Promise<void> {
    await transaction.run(
      `DELETE FROM changeover_lease WHERE name = 'runner' AND holder = :holder`,
      { holder: this.holder },
    );
  }
}

interface Claim {
  readonly holder: string;
  /** Until it runs out; negative: since. */
  readonly seconds: number;
}

async function findClaim(queryable: Queryable, now: string): Promise<Claim | null> {
  const [claim] = await queryable.all<{ holder: string; seconds: number | string }>(
    `SELECT holder, (expires_at - ${now}) / 1000000 AS seconds FROM changeover_lease WHERE name = 'runner'`,
  );
  return claim === undefined ? null : { holder: claim.holder, seconds: Number(claim.seconds) };
}

/** The error for whoever would run beside the holder of this claim; null when it holds no more. */
function whyActive({ holder, seconds }: Claim): SegueError | null {
  if (seconds < 0 || isGone(holder)) return null;
  return new SegueError(
    'RUNNER_ACTIVE',
    `${holder} is running the changeover. Wait for it, or stop it: its lease then runs out in ${seconds} s.`,
  );
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

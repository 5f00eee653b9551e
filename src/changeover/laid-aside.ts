import type { Queryable } from '../database/database.js';
import { ReceiptWriter } from '../receipts/receipt-writer.js';
import { LOWEST_ID } from '../database/ids.js';
import { SOURCES } from './capture.js';
import type { ChangeoverContext } from './context.js';
import type { Lease } from './lease.js';
import { StagedSides } from './sides.js';
import { Turns } from './turns.js';

/** Accounts of one transaction. */
const ACCOUNTS = 1_000;

/**
 * What a rollback has to do when it lays the new side aside, beside changing the stage; and what brings that back.
 *
 * People made things there that the old table has no column for: receipts, names, groups without a message, clients' ids,
 * who answered what. So all of it stays where it is, and is read by nobody until the changeover goes forward again. Then
 * the backfill compares it with the old table, instead of copying that anew (`reconcile.ts`).
 */
export class LaidAside {
  private readonly receipts: ReceiptWriter;
  private readonly users: string;
  private readonly id: string;
  private readonly phone: string;

  constructor(private readonly context: ChangeoverContext) {
    const { database, mapping } = context;
    const { dialect } = database;
    this.receipts = new ReceiptWriter(dialect, new StagedSides(dialect, mapping));
    this.users = dialect.name(mapping.users.table);
    this.id = dialect.name(mapping.users.columns.id);
    this.phone = dialect.name(mapping.users.columns.phone);
  }

  /**
   * Writes receipts on those of their old rows that have still to get them, until nothing waits: in the old table they
   * have a form, and nobody writes them on while the new side lies aside.
   */
  async raiseReceipts(lease: Lease): Promise<void> {
    const { database } = this.context;
    const turns = new Turns(database.dialect.manners);
    for (;;) {
      const { result } = await turns.take(
        (work) => lease.fenced(database, work),
        (transaction) => this.receipts.raiseNext(transaction),
      );
      if (!result) return;
    }
  }

  /** The same of what has come since, in the transaction that changes the stage. */
  async raiseLast(transaction: Queryable): Promise<void> {
    while (await this.receipts.raiseNext(transaction));
  }

  /**
   * Writes down whose the accounts are, before capture goes off: who is deleted from then on leaves no entry, and who gets
   * his id would find his threads. In transactions of 1,000 accounts that leave others their turn; begun anew when it was
   * cut off. What is known of an account already stays: that was before capture went off the first time.
   * @throws SegueError LEASE_LOST.
   */
  async noteAccounts(lease: Lease): Promise<void> {
    const { database } = this.context;
    const turns = new Turns(database.dialect.manners);
    for (let after = LOWEST_ID; ;) {
      const { result }: { result: string | null } = await turns.take<string | null>(
        (work) => lease.fenced(database, work),
        async (transaction) => {
          const [page] = await transaction.all<{ last: string | null }>(
            `SELECT CAST(max(id) AS text) AS last FROM (SELECT ${this.id} AS id FROM ${this.users}
               WHERE ${this.id} > CAST(:after AS bigint) ORDER BY ${this.id} LIMIT ${ACCOUNTS}) AS page`,
            { after },
          );
          if (page?.last == null) return null;
          await transaction.run(
            `INSERT INTO known_accounts (user_id, phone)
             SELECT ${this.id}, CAST(${this.phone} AS text) FROM ${this.users}
             WHERE ${this.id} > CAST(:after AS bigint) AND ${this.id} <= CAST(:last AS bigint)
             ON CONFLICT (user_id) DO NOTHING`,
            { after, last: page.last },
          );
          return page.last;
        },
      );
      if (result === null) return;
      after = result;
    }
  }

  /** Queues the departure of each account that is gone since, or has another number: those who have their ids are others. */
  async queueDepartures(transaction: Queryable): Promise<void> {
    await transaction.run(
      `INSERT INTO changeover_queue (source, legacy_id, queued_at, phone)
       SELECT '${SOURCES.departures}', k.user_id, ${this.context.database.dialect.now}, k.phone FROM known_accounts k
       WHERE NOT EXISTS (SELECT 1 FROM ${this.users} u
         WHERE u.${this.id} = k.user_id AND CAST(u.${this.phone} AS text) IS NOT DISTINCT FROM k.phone)`,
    );
  }
}

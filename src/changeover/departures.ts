import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { lockLog } from '../events/event-log.js';
import { SOURCES } from './capture.js';

/**
 * Whose threads they are when the old app deletes an account and gives its id out again, as SQLite does of itself where
 * the newest row went. Who has the id then is somebody else, and gets none of them; where the phone number is the same he
 * came back, as everybody does when the table of accounts is restored.
 *
 * TRUNCATE is taken for the beginning of a restore: it says nothing of whose the accounts were, and vacates nothing.
 */
export class Departures {
  private readonly record: string;
  private readonly forget: string;
  private readonly isSame: string;

  constructor(
    private readonly dialect: Dialect,
    { users }: LegacyMapping,
  ) {
    const table = dialect.name(users.table);
    const [id, phone] = [dialect.name(users.columns.id), dialect.name(users.columns.phone)];
    const isBack = (userId: string, number: string): string =>
      `EXISTS (SELECT 1 FROM ${table} u WHERE u.${id} = ${userId} AND CAST(u.${phone} AS text) = ${number})`;
    const ofAccount =
      '(CAST(:account AS bigint) IS NULL OR q.legacy_id = CAST(:account AS bigint))';
    // The last of its departures, should it have had several.
    this.record = `INSERT INTO departed_accounts (user_id, phone, departed_at)
      SELECT q.legacy_id, max(q.phone), max(q.queued_at) FROM changeover_queue q
      WHERE q.source = '${SOURCES.departures}' AND q.legacy_id IS NOT NULL AND ${ofAccount}
        AND NOT EXISTS (SELECT 1 FROM changeover_queue n WHERE n.source = q.source AND n.legacy_id = q.legacy_id AND n.queued_at > q.queued_at)
      GROUP BY q.legacy_id
      ON CONFLICT (user_id) DO UPDATE SET phone = excluded.phone, departed_at = excluded.departed_at`;
    this.forget = `DELETE FROM departed_accounts WHERE ${isBack('departed_accounts.user_id', 'departed_accounts.phone')}
      AND (CAST(:account AS bigint) IS NULL OR user_id = CAST(:account AS bigint))`;
    this.isSame = `SELECT 1 AS one FROM departed_accounts d
      WHERE d.user_id = CAST(:account AS bigint) AND ${isBack('d.user_id', 'd.phone')}`;
  }

  /** Writes down who has left by what stands in the queue, before it is emptied. */
  async recordAll(transaction: Queryable): Promise<void> {
    await transaction.run(this.record, { account: null });
  }

  /**
   * An account was deleted, or came: its threads are vacant, or its own again. To be run in the transaction that takes the
   * entry out of the queue.
   * @param isServed whether there are new clients to be told
   */
  async settle(
    transaction: Queryable,
    { source, account }: { source: string; account: string },
    isServed: boolean,
  ): Promise<void> {
    const isDeparture = source === SOURCES.departures;
    if (isDeparture) await transaction.run(this.record, { account });
    const isBack = (await transaction.all(this.isSame, { account })).length > 0;
    if (isBack) await transaction.run(this.forget, { account });
    if (!isBack && !isDeparture) return;
    const becomes = { account, vacant: !isBack };
    const changed = 'user_id = CAST(:account AS bigint) AND vacant <> CAST(:vacant AS boolean)';
    const [found] = await transaction.all<{ count: number | string }>(
      `SELECT count(*) AS count FROM conversation_participants WHERE ${changed}`,
      becomes,
    );
    if (Number(found?.count) === 0) return;
    if (isServed) {
      await lockLog(transaction, this.dialect);
      await transaction.run(
        `INSERT INTO events (kind, conversation_id, at)
         SELECT 'ConversationChanged', conversation_id, ${this.dialect.now} FROM conversation_participants WHERE ${changed}`,
        becomes,
      );
    }
    await transaction.run(
      `UPDATE conversation_participants SET vacant = CAST(:vacant AS boolean) WHERE ${changed}`,
      becomes,
    );
  }

  /** Threads that were made anew, after an earlier copy was taken back: what is known of who has left holds for them too. */
  async vacate(transaction: Queryable): Promise<void> {
    await transaction.run(this.forget, { account: null });
    const ofDeparted = 'user_id IN (SELECT d.user_id FROM departed_accounts d)';
    await transaction.run(
      `UPDATE conversation_participants SET vacant = true WHERE ${ofDeparted} AND NOT vacant
         AND EXISTS (SELECT 1 FROM departed_accounts d JOIN conversations c ON c.id = conversation_participants.conversation_id
           WHERE d.user_id = conversation_participants.user_id AND c.last_position <= d.departed_at)`,
    );
    // Whoever has the id by now has used them since.
    await transaction.run(
      `UPDATE conversation_participants SET visible_from = d.departed_at, unread_from = d.departed_at
       FROM departed_accounts d WHERE d.user_id = conversation_participants.user_id AND NOT conversation_participants.vacant`,
    );
  }
}

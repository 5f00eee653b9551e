import { noteAction } from '../changeover/log.js';
import { hasTable } from '../changeover/shape.js';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { quoted } from '../database/old-table.js';
import { SegueError } from '../errors/segue-error.js';
import type { Account } from '../users/users.service.js';

/** Keeps who may look at the changeover and lead it: people who sign in like everybody else. */
export class Operators {
  private readonly find: string;

  constructor(
    private readonly database: Database,
    { users }: LegacyMapping,
  ) {
    const { dialect } = database;
    const u = quoted(dialect, users.columns);
    this.find = `SELECT 1 AS one FROM operators o JOIN ${dialect.name(users.table)} u ON u.${u.id} = o.user_id
      WHERE o.user_id = CAST(:id AS bigint) AND ${dialect.identical(`CAST(u.${u.phone} AS text)`, 'o.phone')}`;
  }

  /** Asked anew each time: who was revoked is none at once. Nobody is one before expand. */
  async has({ id }: Pick<Account, 'id'>): Promise<boolean> {
    if (!(await hasTable(this.database, 'operators'))) return false;
    return (await this.database.reader.all(this.find, { id })).length > 0;
  }

  /**
   * Makes somebody an operator, for as long as his account keeps its phone number.
   * @param by who says so, for the changeover's log
   * @throws SegueError WRONG_STAGE before expand.
   */
  async grant({ id, phone }: Account, by: string): Promise<void> {
    await this.checkExpanded();
    const { dialect } = this.database;
    await this.database.transaction(async (transaction) => {
      await transaction.run(
        `INSERT INTO operators (user_id, phone, granted_at, granted_by)
         VALUES (CAST(:id AS bigint), CAST(:phone AS text), ${dialect.now}, CAST(:by AS text))
         ON CONFLICT (user_id) DO UPDATE SET phone = excluded.phone, granted_at = excluded.granted_at, granted_by = excluded.granted_by`,
        { id, phone, by },
      );
      await noteAction(transaction, dialect.now, { who: by, did: `operator: user ${id}` });
    });
  }

  /**
   * @returns whether he was one
   * @throws SegueError WRONG_STAGE before expand.
   */
  async revoke({ id }: Pick<Account, 'id'>, by: string): Promise<boolean> {
    await this.checkExpanded();
    return this.database.transaction(async (transaction) => {
      const count = await transaction.run(
        'DELETE FROM operators WHERE user_id = CAST(:id AS bigint)',
        { id },
      );
      if (count > 0)
        await noteAction(transaction, this.database.dialect.now, {
          who: by,
          did: `operator: user ${id} no more`,
        });
      return count > 0;
    });
  }

  private async checkExpanded(): Promise<void> {
    if (!(await hasTable(this.database, 'operators')))
      throw new SegueError(
        'WRONG_STAGE',
        "There is no place to keep operators in before 'segue expand', or 'segue migrate'. Nothing was changed.",
      );
  }
}

import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import type { OldMessage, OldSide } from '../messages/old-side.js';
import { oldRows } from './old-rows.js';

/**
 * Writes on the old table what was written on the new side, in the old table's own terms: times in its zone and format,
 * statuses in its words. What its triggers, defaults and constraints make of a row is theirs to say: the capture triggers
 * see these rows as well, and where they came out otherwise the new side follows.
 */
export class Mirror implements OldSide {
  private readonly insert: string;
  private readonly raise: string;

  /** @param fillsLink whether `messages.conversation_id` is there to be filled */
  constructor(dialect: Dialect, mapping: LegacyMapping, fillsLink: boolean) {
    const { table, names } = oldRows(dialect, mapping);
    const time = dialect.legacyTime('CAST(:sentAt AS bigint)');
    const values: (readonly [column: string, value: string])[] = [
      [names.senderId, 'CAST(:senderId AS bigint)'],
      [names.recipientId, 'CAST(:recipientId AS bigint)'],
      [names.groupId, 'CAST(:groupId AS bigint)'],
      [names.content, 'CAST(:text AS text)'],
      [names.type, 'CAST(:kind AS text)'],
      [names.status, `'sent'`],
      [names.createdAt, time],
      ...(fillsLink ? [[names.conversationId, 'CAST(:conversationId AS bigint)'] as const] : []),
    ];
    this.insert = `INSERT INTO ${table} (${values.map(([column]) => column).join(', ')})
      SELECT ${values.map(([, value]) => value).join(', ')} WHERE CAST(:conversationId AS bigint) IS NOT NULL
      RETURNING CAST(${names.id} AS text) AS "newId"`;
    // A status that is none of these says something that is not ours to overwrite.
    this.raise = `UPDATE ${table} SET ${names.status} = CAST(:status AS text)
      WHERE ${names.id} IN (${dialect.idsIn('ids')}) AND (${dialect.exactly(names.status)} = 'sent'
        OR (CAST(:status AS text) = 'read' AND ${dialect.exactly(names.status)} = 'delivered'))`;
  }

  async addMessage(transaction: Queryable, message: OldMessage): Promise<string> {
    const [row] = await transaction.all<{ newId: string }>(this.insert, { ...message });
    if (row === undefined) throw new Error('The old table gave no id for a row');
    return row.newId;
  }

  async raiseStatuses(
    transaction: Queryable,
    legacyIds: readonly string[],
    status: 'delivered' | 'read',
  ): Promise<void> {
    if (legacyIds.length === 0) return;
    await transaction.run(this.raise, { ids: JSON.stringify(legacyIds), status });
  }
}

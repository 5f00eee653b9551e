import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';

/** What is told to who listens at the moment, and stands in no log: who missed it asks for the state. Ids are the database's. */
export interface Signal {
  readonly kind: 'TypingChanged';
  readonly conversationId: string;
  readonly userId: string;
  readonly typing: boolean;
}

/** Of some people, who may be told: that somebody types, the other members of the conversation. */
export async function findListeners(
  queryable: Queryable,
  dialect: Dialect,
  { conversationId, userId }: Signal,
  userIds: readonly string[],
): Promise<Set<string>> {
  const rows = await queryable.all<{ userId: string }>(
    `SELECT CAST(p.user_id AS text) AS "userId" FROM conversation_participants p
     WHERE p.conversation_id = CAST(:conversationId AS bigint) AND p.left_at IS NULL AND NOT p.vacant
       AND p.user_id IN (${dialect.idsIn('userIds')}) AND p.user_id <> CAST(:userId AS bigint)`,
    { conversationId, userId, userIds: JSON.stringify(userIds) },
  );
  return new Set(rows.map((row) => row.userId));
}

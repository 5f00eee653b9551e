import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';

/** What is told to who listens at the moment, and stands in no log: who missed it asks for the state. Ids are the database's. */
export type Signal =
  | {
      readonly kind: 'TypingChanged';
      readonly conversationId: string;
      readonly userId: string;
      readonly typing: boolean;
    }
  | { readonly kind: 'PresenceUpdated'; readonly userId: string };

/**
 * Of some people, who may be told: that somebody types, the other members of the conversation; of somebody's presence, he
 * himself and those who are in a conversation with him.
 */
export async function findListeners(
  queryable: Queryable,
  dialect: Dialect,
  signal: Signal,
  userIds: readonly string[],
): Promise<Set<string>> {
  const isIn = (member: string): string => `${member}.left_at IS NULL AND NOT ${member}.vacant`;
  const isAsked = (member: string): string => `${member}.user_id IN (${dialect.idsIn('userIds')})`;
  const [statement, conversationId] =
    signal.kind === 'TypingChanged'
      ? [
          `SELECT CAST(p.user_id AS text) AS "userId" FROM conversation_participants p
           WHERE p.conversation_id = CAST(:conversationId AS bigint) AND ${isIn('p')} AND ${isAsked('p')}
             AND p.user_id <> CAST(:userId AS bigint)`,
          signal.conversationId,
        ]
      : [
          `SELECT DISTINCT CAST(o.user_id AS text) AS "userId"
           FROM conversation_participants p JOIN conversation_participants o ON o.conversation_id = p.conversation_id
           WHERE p.user_id = CAST(:userId AS bigint) AND ${isIn('p')} AND ${isIn('o')} AND ${isAsked('o')}`,
          null,
        ];
  const rows = await queryable.all<{ userId: string }>(statement, {
    userId: signal.userId,
    userIds: JSON.stringify(userIds),
    ...(conversationId === null ? {} : { conversationId }),
  });
  const listeners = new Set(rows.map(({ userId }) => userId));
  if (signal.kind === 'PresenceUpdated') listeners.add(signal.userId);
  return listeners;
}

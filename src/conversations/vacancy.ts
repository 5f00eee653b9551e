import type { Dialect } from '../database/dialect.js';

/**
 * Lets who has the id of an account that is gone into one of its threads: he is somebody else, and sees what comes behind
 * the last message. To be run with the conversation locked, before its next message.
 * @param users the old table of accounts and its id, quoted
 * @param which a condition on `conversation_participants` and its conversation `c`
 */
export function moveInSql(
  dialect: Dialect,
  users: { readonly table: string; readonly id: string },
  which: string,
): string {
  return `UPDATE conversation_participants SET vacant = false, role = 'member', joined_at = ${dialect.now}, left_at = NULL,
      joined_event = (SELECT coalesce(max(e.id), 0) FROM events e), left_event = NULL,
      visible_from = c.last_position, visible_to = NULL, unread_from = c.last_position, marked_unread = false
    FROM conversations c
    WHERE c.id = conversation_participants.conversation_id AND conversation_participants.vacant
      AND EXISTS (SELECT 1 FROM ${users.table} u WHERE u.${users.id} = conversation_participants.user_id) AND ${which}`;
}

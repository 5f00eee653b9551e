import { STATUS_CODES } from '../messages/enhanced-message.entities.js';
import type { Dialect } from '../database/dialect.js';
import type { LegacyExpressions } from './old-rows.js';

/**
 * The old row that a message on the new side stands for, rebuilt column by column from what is served: the pair or
 * group of its conversation, its sender, kind, time and text. Old clients are answered with it, and verify
 * compares it with the old table, so what is proved is what is shown.
 *
 * Nothing here is shared with the copy: an inverse made of the copy's own pieces would repeat its mistakes.
 * @param message alias of `enhanced_messages`
 * @param conversation alias of `conversations`
 */
export function inverseOf(
  dialect: Dialect,
  message: string,
  conversation: string,
): LegacyExpressions {
  return {
    id: `${message}.legacy_message_id`,
    senderId: `${message}.sender_id`,
    // The one of the pair that is not the sender; in a conversation with oneself both are.
    recipientId: `CASE WHEN ${conversation}.kind = 'direct' THEN
      CASE WHEN ${message}.sender_id = ${conversation}.pair_low THEN ${conversation}.pair_high ELSE ${conversation}.pair_low END END`,
    groupId: `CASE WHEN ${conversation}.kind = 'group' THEN ${conversation}.legacy_group_id END`,
    content: `${message}.text`,
    type: `${message}.kind`,
    status: `CASE ${message}.status ${Object.entries(STATUS_CODES)
      .filter(([, code]) => code !== STATUS_CODES.unknown)
      .map(([name, code]) => `WHEN ${code} THEN '${name}'`)
      .join(' ')} END`,
    createdAt: dialect.legacyTime(`${message}.sent_at`),
  };
}

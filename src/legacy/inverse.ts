import type { Dialect } from '../database/dialect.js';
import { RAW, STATUS_CODES } from '../messages/enhanced-message.entities.js';
import type { LegacyExpressions } from './old-rows.js';

/**
 * The old row that a message on the new side stands for, rebuilt column by column from what is served: the pair or
 * group of its conversation, its sender, kind, time and text; only what those cannot express is taken from the raw
 * values. Old clients are answered with it, and verify compares it with the old table, so what is proved is what is
 * shown.
 *
 * Nothing here is shared with the copy: an inverse made of the copy's own pieces would repeat its mistakes.
 * @param message alias of `enhanced_messages`
 * @param conversation alias of `conversations`
 * @param kept alias of `legacy_raw_values`, or null where only rows without raw values are asked for
 */
export function inverseOf(
  dialect: Dialect,
  message: string,
  conversation: string,
  kept: string | null,
): LegacyExpressions {
  const unlessKept = (
    bit: number,
    column: string,
    holds: 'id' | 'text' | 'time',
    served: string,
  ): string => {
    if (kept === null) return served;
    return `CASE WHEN ${message}.raw_mask & ${bit} <> 0 THEN ${dialect.fromRaw(`${kept}.${column}`, holds)} ELSE ${served} END`;
  };
  const sender = unlessKept(RAW.sender, 'sender_id', 'id', `${message}.sender_id`);
  return {
    id: `${message}.legacy_message_id`,
    senderId: sender,
    // The one of the pair that is not the sender; in a conversation with oneself both are.
    recipientId: unlessKept(
      RAW.recipient,
      'recipient_id',
      'id',
      `CASE WHEN ${conversation}.kind = 'direct' THEN
      CASE WHEN ${sender} = ${conversation}.pair_low THEN ${conversation}.pair_high ELSE ${conversation}.pair_low END END`,
    ),
    groupId: unlessKept(
      RAW.group,
      'group_id',
      'id',
      `CASE WHEN ${conversation}.kind = 'group' THEN ${conversation}.legacy_group_id END`,
    ),
    content: unlessKept(RAW.content, 'content', 'text', `${message}.text`),
    type: unlessKept(RAW.type, 'type', 'text', `${message}.kind`),
    status: unlessKept(
      RAW.status,
      'status',
      'text',
      `CASE ${message}.status ${Object.entries(STATUS_CODES)
        .map(([name, code]) => `WHEN ${code} THEN '${name}'`)
        .join(' ')} END`,
    ),
    createdAt: unlessKept(
      RAW.createdAt,
      'created_at',
      'time',
      dialect.legacyTime(`${message}.sent_at`),
    ),
  };
}

/** The join that `inverseOf` needs for its raw values. */
export function keptBeside(message: string, kept: string): string {
  return `LEFT JOIN legacy_raw_values ${kept} ON ${kept}.message_id = ${message}.id AND ${message}.raw_mask <> 0`;
}

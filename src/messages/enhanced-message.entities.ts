import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';

/** How far an old row's own status went, as `enhanced_messages.status` keeps it. */
export const STATUS_CODES = { unknown: 0, sent: 1, delivered: 2, read: 3 } as const;

/**
 * A message. Its id is the old row's id wherever there is one, so that equal positions keep the old order though
 * the newest rows are copied first: the order of a conversation is (position, id).
 */
export function enhancedMessageEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'EnhancedMessage',
    tableName: 'enhanced_messages',
    columns: {
      id: { type: types.id, primary: true },
      conversationId: { name: 'conversation_id', type: types.id },
      senderId: { name: 'sender_id', type: types.id, nullable: true },
      legacyMessageId: { name: 'legacy_message_id', type: types.id, nullable: true },
      clientId: { name: 'client_id', type: 'text', nullable: true },
      kind: { type: 'text' },
      text: { type: 'text', nullable: true },
      sentAt: { name: 'sent_at', type: types.instant },
      position: { type: types.instant },
      status: { type: types.small },
      // Which old columns cannot be rebuilt from what is served: bits that `legacy_raw_values` explains.
      rawMask: { name: 'raw_mask', type: types.small, default: 0 },
    },
    indices: [
      { name: 'enhanced_messages_order', columns: ['conversationId', 'position', 'id'] },
      {
        name: 'enhanced_messages_legacy',
        columns: ['legacyMessageId'],
        unique: true,
        where: '"legacy_message_id" IS NOT NULL',
      },
      {
        name: 'enhanced_messages_client',
        columns: ['senderId', 'clientId'],
        unique: true,
        where: '"client_id" IS NOT NULL',
      },
      {
        name: 'enhanced_messages_unread',
        columns: ['conversationId', 'position'],
        where: UNREAD,
      },
    ],
  });
}

/**
 * Rows whose own old status is `sent` or `delivered`. Written as PostgreSQL's catalogue gives it back, since a
 * query has to repeat it for the partial index to be used.
 */
export const UNREAD = '("status" = 1 OR "status" = 2)';

/** Old values that what is served cannot give back, byte for byte: bit n of `raw_mask` names the column. */
export function legacyRawValuesEntity({ types }: Dialect): EntitySchema {
  const raw = { type: types.raw, nullable: true } as const;
  return new EntitySchema({
    name: 'LegacyRawValues',
    tableName: 'legacy_raw_values',
    columns: {
      messageId: { name: 'message_id', type: types.id, primary: true },
      senderId: { ...raw, name: 'sender_id' },
      recipientId: { ...raw, name: 'recipient_id' },
      groupId: { ...raw, name: 'group_id' },
      type: raw,
      status: raw,
      createdAt: { ...raw, name: 'created_at' },
    },
  });
}

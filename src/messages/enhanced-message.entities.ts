import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';

/** What an old row's type may say to be a kind of messages. */
export const OLD_KINDS: readonly string[] = ['text', 'image', 'audio', 'video', 'file'];

/** How far an old row's own status went, as `enhanced_messages.status` keeps it. */
export const STATUS_CODES = { sent: 1, delivered: 2, read: 3 } as const;

/** Where the old status is none of these: not unread, and kept raw. */
export const UNKNOWN_STATUS = 0;

/**
 * A message. Its id is the old row's id wherever there is one, so that equal positions keep the old order though
 * the newest rows are copied first: the order of a conversation is (position, id).
 */
export function enhancedMessageEntity({ engine, types }: Dialect): EntitySchema {
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
      // When its old row was found to be deleted: what is left is a tombstone, without text and without an old row.
      removedAt: { name: 'removed_at', type: types.instant, nullable: true },
      // Made through this server: its instant may be finer than what its mirror in the old table can say.
      madeHere: { name: 'made_here', type: types.flag, default: false },
      // What was sent under the client's id, to tell a retry from another message; the text may have been changed since.
      clientDigest: { name: 'client_digest', type: 'text', nullable: true },
      replyToId: { name: 'reply_to_id', type: types.id, nullable: true },
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
      { name: 'enhanced_messages_raw', columns: ['legacyMessageId'], where: HAS_RAW },
      // How many were sent here, without reading all of them.
      {
        name: 'enhanced_messages_sent',
        columns: ['legacyMessageId'],
        where: engine === 'postgres' ? 'made_here' : '"made_here"',
      },
    ],
  });
}

/**
 * Rows whose own old status is `sent` or `delivered`. Written as PostgreSQL's catalogue gives it back, since a
 * query has to repeat it for the partial index to be used.
 */
export const UNREAD = '("status" = 1 OR "status" = 2)';

/** Rows that have raw values beside them, in the catalogue's words. */
export const HAS_RAW = '"raw_mask" <> 0';

/** The bits of `raw_mask`: old columns that what is served cannot give back, and that are kept beside it. */
export const RAW = {
  sender: 1,
  recipient: 2,
  group: 4,
  type: 8,
  status: 16,
  createdAt: 32,
  content: 64,
} as const;

/**
 * A bit of `raw_mask` that stands for no old column: the row came late, and its position is behind what was there
 * instead of its time. It has a row beside it too, since old queries sort by the time.
 */
export const LATE = 128;

/**
 * Old values that what is served cannot give back, byte for byte and type for type; one row for each message whose
 * `raw_mask` is not 0. Columns without their bit are null.
 */
export function legacyRawValuesEntity({ engine, types }: Dialect): EntitySchema {
  const raw = { type: types.raw, nullable: true } as const;
  return new EntitySchema({
    name: 'LegacyRawValues',
    tableName: 'legacy_raw_values',
    columns: {
      messageId: { name: 'message_id', type: types.id, primary: true },
      conversationId: { name: 'conversation_id', type: types.id },
      senderId: { ...raw, name: 'sender_id' },
      recipientId: { ...raw, name: 'recipient_id' },
      groupId: { ...raw, name: 'group_id' },
      content: raw,
      type: raw,
      status: raw,
      createdAt: { ...raw, name: 'created_at' },
      // The old time as text, of every row here: what the old queries sort by.
      createdText: {
        name: 'created_text',
        type: 'text',
        nullable: true,
        ...(engine === 'postgres' ? { collation: 'C' } : {}),
      },
    },
    indices: [
      {
        name: 'legacy_raw_values_order',
        columns: ['conversationId', 'createdText', 'messageId'],
      },
      {
        name: 'legacy_raw_values_recipient',
        columns: ['recipientId'],
        where: '"recipient_id" IS NOT NULL',
      },
    ],
  });
}

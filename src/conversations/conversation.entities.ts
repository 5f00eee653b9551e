import { EntitySchema, type EntitySchemaColumnOptions } from 'typeorm';
import type { Dialect } from '../database/dialect.js';
import { generatedKey } from '../database/generated-key.js';

/** A thread: of two people (unique on the sorted pair; to oneself, the pair is twice the same), or of a group. */
export function conversationEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'Conversation',
    tableName: 'conversations',
    columns: {
      id: generatedKey(types),
      kind: { type: 'text' },
      pairLow: { name: 'pair_low', type: types.id, nullable: true },
      pairHigh: { name: 'pair_high', type: types.id, nullable: true },
      legacyGroupId: { name: 'legacy_group_id', type: types.id, nullable: true },
      name: { type: 'text', nullable: true },
      createdAt: { name: 'created_at', type: types.instant },
      // The place of the newest message: what a list of conversations is sorted by.
      lastPosition: { name: 'last_position', type: types.instant },
      // Made through this server, and not found in the old table.
      madeHere: { name: 'made_here', type: types.flag, default: false },
      avatarUrl: { name: 'avatar_url', type: 'text', nullable: true },
      createdBy: { name: 'created_by', type: types.id, nullable: true },
      // Of a group: what its maker's client called it, so that a retry makes no second one.
      clientId: { name: 'client_id', type: 'text', nullable: true },
      clientDigest: { name: 'client_digest', type: 'text', nullable: true },
    },
    indices: [
      {
        name: 'conversations_pair',
        columns: ['pairLow', 'pairHigh'],
        unique: true,
        where: PAIR_IS_SET,
      },
      {
        name: 'conversations_legacy_group',
        columns: ['legacyGroupId'],
        unique: true,
        where: GROUP_IS_SET,
      },
      {
        name: 'conversations_client',
        columns: ['createdBy', 'clientId'],
        unique: true,
        where: '"client_id" IS NOT NULL',
      },
    ],
  });
}

/** Who is in a conversation. */
export function participantEntity({ types }: Dialect): EntitySchema {
  const instant: EntitySchemaColumnOptions = { type: types.instant, nullable: true };
  return new EntitySchema({
    name: 'ConversationParticipant',
    tableName: 'conversation_participants',
    columns: {
      conversationId: { name: 'conversation_id', type: types.id, primary: true },
      // No foreign key to users: the old app deletes people, and must go on being able to.
      userId: { name: 'user_id', type: types.id, primary: true },
      role: { type: 'text' },
      // Whether the old table has a row of this person in this thread: what the old group queries ask for.
      hasWritten: { name: 'has_written', type: types.flag },
      joinedAt: { ...instant, name: 'joined_at' },
      leftAt: { ...instant, name: 'left_at' },
      // What he may see: events after `joined_event` up to `left_event`, messages behind `visible_from` up to `visible_to`;
      // null: no bound.
      joinedEvent: { name: 'joined_event', type: types.id, nullable: true },
      leftEvent: { name: 'left_event', type: types.id, nullable: true },
      visibleFrom: { ...instant, name: 'visible_from' },
      visibleTo: { ...instant, name: 'visible_to' },
      // Nothing up to here was ever unread to him: a group that was migrated, or what was there when he joined.
      unreadFrom: { ...instant, name: 'unread_from' },
      // The furthest of his receipts, which never go back; `message_status` has all of them.
      deliveredPosition: { ...instant, name: 'delivered_position' },
      deliveredMessageId: { name: 'delivered_message_id', type: types.id, nullable: true },
      deliveredAt: { ...instant, name: 'delivered_at' },
      readPosition: { ...instant, name: 'read_position' },
      readMessageId: { name: 'read_message_id', type: types.id, nullable: true },
      readAt: { ...instant, name: 'read_at' },
      markedUnread: { name: 'marked_unread', type: types.flag, default: false },
      // His account is gone: who gets its number is somebody else, and not in here before he writes or is written to.
      vacant: { type: types.flag, default: false },
    },
    indices: [{ name: 'conversation_participants_user', columns: ['userId'] }],
  });
}

/** The predicates of the partial indexes, in the words in which each engine's catalogue gives them back. */
const PAIR_IS_SET = '"pair_low" IS NOT NULL';
const GROUP_IS_SET = '"legacy_group_id" IS NOT NULL';

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
    },
    indices: [{ name: 'conversation_participants_user', columns: ['userId'] }],
  });
}

/** The predicates of the partial indexes, in the words in which each engine's catalogue gives them back. */
const PAIR_IS_SET = '"pair_low" IS NOT NULL';
const GROUP_IS_SET = '"legacy_group_id" IS NOT NULL';

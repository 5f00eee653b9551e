import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';
import { generatedKey } from '../database/generated-key.js';

/** Receipts, append only: one row each, through a message, however many it covers. */
export function messageStatusEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'MessageStatus',
    tableName: 'message_status',
    columns: {
      id: generatedKey(types),
      conversationId: { name: 'conversation_id', type: types.id },
      userId: { name: 'user_id', type: types.id },
      status: { type: types.small },
      throughPosition: { name: 'through_position', type: types.instant },
      throughMessageId: { name: 'through_message_id', type: types.id },
      at: { type: types.instant },
    },
    indices: [
      {
        name: 'message_status_reach',
        columns: ['conversationId', 'userId', 'status', 'throughPosition', 'throughMessageId'],
      },
    ],
  });
}

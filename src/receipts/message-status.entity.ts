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
      // Behind what the member saw messages by then: who leaves and comes back sees others.
      visibleFrom: { name: 'visible_from', type: types.instant, nullable: true },
    },
    indices: [
      {
        name: 'message_status_reach',
        columns: ['conversationId', 'userId', 'status', 'throughPosition', 'throughMessageId'],
      },
    ],
  });
}

/** Receipts whose old rows are too many for one transaction: they are raised in slices, oldest first. */
export function receiptMirrorEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ReceiptMirror',
    tableName: 'receipt_mirrors',
    columns: {
      id: generatedKey(types),
      conversationId: { name: 'conversation_id', type: types.id },
      status: { type: types.small },
      throughPosition: { name: 'through_position', type: types.instant },
      throughMessageId: { name: 'through_message_id', type: types.id },
    },
  });
}

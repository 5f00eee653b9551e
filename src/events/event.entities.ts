import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';
import { generatedKey } from '../database/generated-key.js';

/**
 * What changed, written in the transaction of the change. Ids come in the order of commits. An event is for one person
 * (`user_id`), or else for whoever is a member of its conversation by then.
 */
export function eventEntity({ types }: Dialect): EntitySchema {
  const id = { type: types.id, nullable: true } as const;
  return new EntitySchema({
    name: 'Event',
    tableName: 'events',
    columns: {
      id: generatedKey(types),
      kind: { type: 'text' },
      conversationId: { ...id, name: 'conversation_id' },
      userId: { ...id, name: 'user_id' },
      messageId: { ...id, name: 'message_id' },
      // What else it is about: a receipt, a device.
      subjectId: { ...id, name: 'subject_id' },
      // Part of the cursor: after a restore the same id gets another instant.
      at: { type: types.instant },
    },
    indices: [
      {
        name: 'events_conversation',
        columns: ['conversationId', 'id'],
        where: '"user_id" IS NULL',
      },
      { name: 'events_user', columns: ['userId', 'id'], where: '"user_id" IS NOT NULL' },
    ],
  });
}

/** The log itself, one row: which one it is, and how far it was forgotten. */
export function eventLogEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'EventLog',
    tableName: 'event_log',
    columns: {
      id: { type: types.small, primary: true },
      epoch: { type: 'text' },
      forgottenThrough: { name: 'forgotten_through', type: types.id, default: 0 },
    },
    checks: [{ name: 'event_log_one_row', expression: '"id" = 1' }],
  });
}

import type { LegacyMapping } from '../config/legacy-mapping.js';
import { describeOldTable, NOW, type OldTable } from '../database/old-table.js';
import { ownerIn } from '../users/user.tables.js';

/** The old app's one table of messages. */
export function legacyMessagesTable(mapping: LegacyMapping): OldTable {
  return describeOldTable('LegacyMessage', mapping.messages, {
    id: { type: 'key' },
    senderId: { type: 'integer', required: true, references: ownerIn(mapping) },
    recipientId: { type: 'integer', references: ownerIn(mapping) },
    groupId: { type: 'integer' },
    content: { type: 'text' },
    type: { type: 'text', oneOf: ['text', 'image', 'audio', 'video', 'file'], default: 'text' },
    status: { type: 'text', oneOf: ['sent', 'delivered', 'read'], default: 'sent' },
    createdAt: { type: 'time', default: NOW },
    conversationId: { type: 'integer', added: true },
  });
}

import type { LegacyMapping } from '../config/legacy-mapping.js';
import { describeOldTable, NOW, type OldTable } from '../database/old-table.js';
import { ownerIn } from '../users/user.tables.js';

/** Address books, as the old app keeps them. */
export function contactsTable(mapping: LegacyMapping): OldTable {
  return describeOldTable('Contact', mapping.contacts, {
    id: { type: 'key' },
    ownerId: { type: 'integer', required: true, references: ownerIn(mapping) },
    contactUserId: {
      type: 'integer',
      references: { ...ownerIn(mapping), onDelete: 'SET NULL' },
    },
    name: { type: 'text' },
    phone: { type: 'text' },
    email: { type: 'text' },
    avatar: { type: 'text' },
    label: { type: 'text' },
    isFavorite: { type: 'boolean', default: false },
    notes: { type: 'text' },
    createdAt: { type: 'time', default: NOW },
    updatedAt: { type: 'time', default: NOW },
  });
}

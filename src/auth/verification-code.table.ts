import type { LegacyMapping } from '../config/legacy-mapping.js';
import { describeOldTable, NOW, type OldTable } from '../database/old-table.js';
import { ownerIn } from '../users/user.tables.js';

/** Sign-in codes that the old app issued. */
export function verificationCodesTable(mapping: LegacyMapping): OldTable {
  return describeOldTable('VerificationCode', mapping.verificationCodes, {
    id: { type: 'key' },
    userId: { type: 'integer', required: true, references: ownerIn(mapping) },
    code: { type: 'text', required: true },
    createdAt: { type: 'time', default: NOW },
    expiresAt: { type: 'time' },
  });
}

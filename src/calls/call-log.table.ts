import type { LegacyMapping } from '../config/legacy-mapping.js';
import { describeOldTable, NOW, type OldTable } from '../database/old-table.js';
import { ownerIn } from '../users/user.tables.js';

/** The calls that the old app wrote down. */
export function callLogsTable(mapping: LegacyMapping): OldTable {
  return describeOldTable('CallLog', mapping.callLogs, {
    id: { type: 'key' },
    callerId: { type: 'integer', required: true, references: ownerIn(mapping) },
    calleeId: { type: 'integer', required: true, references: ownerIn(mapping) },
    channel: { type: 'text' },
    callType: { type: 'text', oneOf: ['audio', 'video'], default: 'audio' },
    direction: { type: 'text', oneOf: ['incoming', 'outgoing'], required: true },
    status: { type: 'text', oneOf: ['completed', 'missed', 'failed'], default: 'completed' },
    startedAt: { type: 'time', default: NOW },
    endedAt: { type: 'time' },
    duration: { type: 'integer' },
  });
}

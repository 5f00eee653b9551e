import type { LegacyMapping } from '../config/legacy-mapping.js';
import { describeOldTable, NOW, type OldTable } from '../database/old-table.js';

/** People, as the old app keeps them. */
export function usersTable(mapping: LegacyMapping): OldTable {
  return describeOldTable('User', mapping.users, {
    id: { type: 'key' },
    phone: { type: 'text', unique: true, required: true },
    email: { type: 'text', unique: true },
    name: { type: 'text' },
    username: { type: 'text', unique: true },
    avatar: { type: 'text' },
    bio: { type: 'text' },
    country: { type: 'text' },
    city: { type: 'text' },
    isVerified: { type: 'boolean', default: false },
    truecallerId: { type: 'text', unique: true },
    lastLogin: { type: 'time' },
    createdAt: { type: 'time', default: NOW },
    updatedAt: { type: 'time', default: NOW },
    socketId: { type: 'text', added: true },
    lastSeen: { type: 'time', added: true },
  });
}

export function settingsTable(mapping: LegacyMapping): OldTable {
  return describeOldTable('Settings', mapping.settings, {
    userId: { type: 'integer', primary: true, references: ownerIn(mapping) },
    notificationsEnabled: { type: 'boolean', default: true },
    darkMode: { type: 'boolean', default: false },
    language: { type: 'text', default: 'en' },
    ringtone: { type: 'text' },
    privacyLastSeen: {
      type: 'text',
      oneOf: ['everyone', 'contacts', 'nobody'],
      default: 'everyone',
    },
  });
}

export function devicesTable(mapping: LegacyMapping): OldTable {
  return describeOldTable('Device', mapping.devices, {
    id: { type: 'key' },
    userId: { type: 'integer', required: true, references: ownerIn(mapping) },
    deviceId: { type: 'text' },
    deviceType: { type: 'text' },
    pushToken: { type: 'text' },
    lastActive: { type: 'time' },
  });
}

/** A reference of the old app's to a person, whose rows go with him. */
export function ownerIn(mapping: LegacyMapping): {
  table: OldTable;
  column: string;
  onDelete: 'CASCADE';
} {
  return { table: usersTable(mapping), column: 'id', onDelete: 'CASCADE' };
}

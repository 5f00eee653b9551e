import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';

/** Who was there, and when last. */
export function userPresenceEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'UserPresence',
    tableName: 'user_presence',
    columns: {
      userId: { name: 'user_id', type: types.id, primary: true },
      status: { type: 'text' },
      customStatus: { name: 'custom_status', type: 'text', nullable: true },
      lastSeenAt: { name: 'last_seen_at', type: types.instant, nullable: true },
    },
  });
}

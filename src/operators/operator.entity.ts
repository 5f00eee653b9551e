import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';

/** Who may look at the changeover and lead it. Outlives a rollback. */
export function operatorEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'Operator',
    tableName: 'operators',
    columns: {
      userId: { name: 'user_id', type: types.id, primary: true },
      // The old app gives the ids of deleted accounts out again: whose number is another one is somebody else.
      phone: { type: 'text' },
      grantedAt: { name: 'granted_at', type: types.instant },
      grantedBy: { name: 'granted_by', type: 'text' },
    },
  });
}

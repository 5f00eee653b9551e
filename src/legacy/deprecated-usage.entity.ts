import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';

/** Who still calls what of the old API. Outlives a rollback. */
export function deprecatedUsageEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'DeprecatedUsage',
    tableName: 'deprecated_usage',
    columns: {
      operation: { type: 'text', primary: true },
      client: { type: 'text', primary: true },
      calls: { type: types.id },
      lastCalledAt: { name: 'last_called_at', type: types.instant },
    },
  });
}

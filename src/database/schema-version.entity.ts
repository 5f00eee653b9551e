import { EntitySchema } from 'typeorm';
import type { Dialect } from './dialect.js';

/** How far our tables have come, and the lowest version whose programs may use them; one row. */
export function schemaVersionEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'SchemaVersion',
    tableName: 'segue_schema',
    columns: {
      id: { type: types.small, primary: true },
      version: { type: types.id },
      oldest: { type: types.id },
    },
    checks: [{ name: 'segue_schema_one_row', expression: '"id" = 1' }],
  });
}

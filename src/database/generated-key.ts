import type { EntitySchemaColumnOptions } from 'typeorm';
import type { ColumnTypes } from './dialect.js';

/** A primary key that the database gives, and never gives twice. */
export function generatedKey(types: ColumnTypes): EntitySchemaColumnOptions {
  return { type: types.id, primary: true, generated: 'increment' };
}

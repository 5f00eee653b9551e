import type { Dialect, EngineName } from './dialect.js';
import { postgresDialect } from './postgres/postgres-dialect.js';
import { sqliteDialect } from './sqlite/sqlite-dialect.js';

const DIALECTS: Record<EngineName, Dialect> = { sqlite: sqliteDialect, postgres: postgresDialect };

export function dialectOf(engine: EngineName): Dialect {
  return DIALECTS[engine];
}

import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';

/** Whatever somebody made, and how far the sequences have come. */
const DEFINITIONS: Record<EngineName, string[]> = {
  sqlite: [
    `SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name`,
  ],
  postgres: [
    `SELECT table_name, column_name, ordinal_position, data_type, character_maximum_length, collation_name, column_default, is_nullable
       FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3`,
    `SELECT conrelid::regclass::text AS name, conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2`,
    `SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1`,
    `SELECT pg_get_triggerdef(oid) AS definition FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1`,
    `SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1`,
    `SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1`,
  ],
};

/** Everything that is defined in a database, to be compared with another time or another database. */
export async function definitionsOf(database: Database): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const statement of DEFINITIONS[database.dialect.engine])
    found.push(await database.reader.all(statement));
  return found;
}

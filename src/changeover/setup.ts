import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { hasTable, isEmpty } from './shape.js';
import { changeStage, readState, settleZone, type Stage } from './stage.js';

/**
 * Makes an empty database a chat without an old side: all tables but the old one of messages, and the stage
 * CONTRACTED. Leaves every other database as it is.
 * @returns the stage that the database is at.
 */
export async function setUpIfEmpty(
  database: Database,
  mapping: LegacyMapping,
  migrationsTable: string,
): Promise<Stage> {
  const { stage } = await readState(database);
  if (stage !== 'LEGACY') return stage;
  // A set-up that was killed on PostgreSQL left some of our tables, and never an old table of messages.
  const wasBegun =
    (await hasTable(database, migrationsTable)) &&
    !(await hasTable(database, mapping.messages.table));
  if (!wasBegun && !(await isEmpty(database))) return stage;
  await database.migrate();
  await database.transaction(async (transaction) => {
    await settleZone(transaction, database.dialect);
    await changeStage(transaction, database.dialect.now, 'LEGACY', 'CONTRACTED');
  });
  return 'CONTRACTED';
}

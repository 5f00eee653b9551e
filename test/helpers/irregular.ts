import type { DatabaseLocation } from '../../src/config/config.js';
import type { EngineName } from '../../src/database/dialect.js';
import { irregularKinds } from '../../src/demo/irregular-rows.js';
import { asOldApp } from './databases.js';
import { legacyDatabase } from './legacy.js';

/** Rows that tests name, with ids that are far from those that are given in turn and negative ones. */
const NAMED = [
  `-9003, 1, 2, 3, 'recipient and group', '2020-01-01 00:00:00'`,
  `-9004, 1, NULL, NULL, 'without a thread', '2020-01-01 00:00:00'`,
  `-9005, 1, 0, 0, 'without a thread, as zeros', '2020-01-01 00:00:00'`,
  `-9010, 1, 2, NULL, 'without a time', NULL`,
  `-9101, 1, 2, NULL, 'refused', '2020-01-01 00:00:00'`,
  `-9102, 1, 2, NULL, 'refused', '2020-01-01 00:00:00'`,
];

/** After expand: makes the database refuse one of the rows -9101 and -9102: the one that is copied last. */
export const REFUSE_ONE = `CREATE UNIQUE INDEX planted ON enhanced_messages (text) WHERE text = 'refused'`;

/** An old database with irregular rows of every kind but the megabytes, that nobody is connected to. */
export async function irregularDatabase(
  engine: EngineName,
  { messages, seed, share }: { messages: number; seed: number; share: number },
): Promise<DatabaseLocation> {
  const kinds = irregularKinds(engine).filter((kind) => kind !== 'content-huge');
  const { location, database } = await legacyDatabase(engine, {
    messages,
    seed,
    irregular: { share, kinds },
  });
  await database.close();
  await asOldApp(
    location,
    ...NAMED.map(
      (values) =>
        `INSERT INTO messages (id, sender_id, recipient_id, group_id, content, created_at) VALUES (${values})`,
    ),
  );
  return location;
}

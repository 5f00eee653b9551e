import { backfill } from '../src/changeover/backfill.js';
import { expand } from '../src/changeover/expand.js';
import { verify } from '../src/changeover/verify.js';
import { DEFAULT_MAPPING } from '../src/config/legacy-mapping.js';
import { onBothEngines, say, timed } from './databases.js';

/**
 * The copy beside a floor in the same run: one plain INSERT … SELECT of as many columns into a table with the same
 * indexes, which checks, links, quarantines and resumes nothing.
 */
export async function backfillBench(rows: number): Promise<void> {
  await onBothEngines(rows, async (database) => {
    const perSecond = (ms: number): string =>
      Math.round((rows / ms) * 1000).toLocaleString('en-US');
    const context = { database, mapping: DEFAULT_MAPPING, report: (): void => undefined };
    const { dialect } = database;
    const time = dialect.instantOf('created_at');
    const floor = await timed(() =>
      database.transaction(async (transaction) => {
        for (const statement of [
          `CREATE TABLE floor (id bigint PRIMARY KEY, conversation_id bigint, sender_id bigint, legacy_message_id bigint,
             kind text, text text, sent_at bigint, position bigint, status integer)`,
          'CREATE INDEX floor_order ON floor (conversation_id, position, id)',
          'CREATE UNIQUE INDEX floor_legacy ON floor (legacy_message_id)',
          'CREATE INDEX floor_unread ON floor (conversation_id, position) WHERE status <> 3',
          `INSERT INTO floor SELECT id, coalesce(group_id, recipient_id), sender_id, id, type, content, ${time}, ${time}, 3 FROM messages ORDER BY id`,
        ])
          await transaction.run(statement);
      }),
    );
    await database.transaction((transaction) => transaction.run('DROP TABLE floor'));

    await expand(context, { backup: null, migrationsTable: 'segue_migrations' });
    const copied = await timed(() => backfill(context));
    const compared = await timed(() => verify(context));
    say(
      `${dialect.engine}, ${rows.toLocaleString('en-US')} rows: floor ${perSecond(floor)}/s, ` +
        `backfill ${perSecond(copied)}/s (${(copied / floor).toFixed(2)} times the floor's time), verify ${perSecond(compared)}/s`,
    );
  });
}

import { backfill } from '../src/changeover/backfill.js';
import { expand } from '../src/changeover/expand.js';
import { DEFAULT_MAPPING } from '../src/config/legacy-mapping.js';
import { ConversationReader } from '../src/conversations/conversation-reader.js';
import type { Database } from '../src/database/database.js';
import type { EngineName } from '../src/database/dialect.js';
import { Loaders } from '../src/graphql/loaders.js';
import { MessageReader, type Place } from '../src/messages/message-reader.js';
import { median, onBothEngines, say } from './databases.js';

const SMALL = 10_000;
const CALLS = 200;
const PAGE = 50;

/** The numbers from 1 to so many, as rows `{n}`. */
const SERIES: Record<EngineName, (count: number) => string> = {
  sqlite: (count) =>
    `(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${count}) SELECT n FROM s)`,
  postgres: (count) => `(SELECT n FROM generate_series(CAST(1 AS bigint), ${count}) AS s(n))`,
};

const TIME: Record<EngineName, string> = {
  sqlite: `datetime(1300000000 + n, 'unixepoch')`,
  postgres: `timestamp '2011-03-13 07:06:40' + n * interval '1 second'`,
};

/**
 * A page of history at the newest end of a thread, in its middle and at its oldest end: in a table of 10,000 messages, and in
 * one of `rows` with a tenth of them in that thread.
 */
export async function historyBench(rows: number): Promise<void> {
  const medians = new Map<string, number>();
  for (const size of [SMALL, rows])
    await onBothEngines(2_000, async (database) => {
      const { engine } = database.dialect;
      await fill(database, size);
      const context = {
        database,
        mapping: DEFAULT_MAPPING,
        report: (): void => undefined,
        who: 'a benchmark',
      };
      await expand(context, { backup: null, migrationsTable: 'segue_migrations' });
      await backfill(context);
      const figures = await measure(database);
      for (const [where, ms] of Object.entries(figures)) {
        const small = medians.get(`${engine} ${where}`);
        medians.set(`${engine} ${where}`, ms);
        say(
          `${engine}, ${size.toLocaleString('en-US')} rows, page of ${PAGE}, ${where}: ${ms.toFixed(2)} ms` +
            (small === undefined ? '' : `, ${(ms / small).toFixed(2)} times as long`),
        );
      }
    });
}

/** One thread of a tenth of the rows between two people, and the others between many. */
async function fill(database: Database, rows: number): Promise<void> {
  const { engine } = database.dialect;
  const thread = Math.round(rows / 10);
  const people = `(SELECT count(*) FROM users)`;
  await database.session(async (session) => {
    await session.run(`INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at)
      SELECT 1 + n % 2, 2 - n % 2, 'message ' || n || ' of a long thread', 'text', 'read', ${TIME[engine]} FROM ${SERIES[engine](thread)} AS s`);
    await session.run(`INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at)
      SELECT 1 + n % ${people}, 1 + (n * 7919) % ${people}, 'message ' || n || ' to somebody', 'text', 'read', ${TIME[engine]} FROM ${SERIES[engine](rows - thread)} AS s`);
  });
}

async function measure(database: Database): Promise<Record<string, number>> {
  const conversations = new ConversationReader(database);
  const messages = new MessageReader(database, conversations);
  const id = await conversations.findDirect('1', '2');
  const conversation = await conversations.find(new Loaders(), '1', id ?? '0');
  if (conversation === null) throw new Error('The long thread is not there');
  const [middle] = await database.reader.all<{ position: string; id: string }>(
    `SELECT CAST(position AS text) AS position, CAST(id AS text) AS id FROM enhanced_messages
     WHERE conversation_id = CAST(:id AS bigint) ORDER BY enhanced_messages.position, enhanced_messages.id
     LIMIT 1 OFFSET (SELECT count(*) / 2 FROM enhanced_messages WHERE conversation_id = CAST(:id AS bigint))`,
    { id },
  );
  const place: Place = [middle?.position ?? '0', middle?.id ?? '0'];
  const page =
    (direction: 'forward' | 'backward', before: Place | null) => async (): Promise<void> => {
      const { rows } = await messages.page(new Loaders(), conversation, {
        size: PAGE,
        direction,
        after: null,
        before,
      });
      if (rows.length < PAGE) throw new Error(`A page has ${rows.length} messages`);
    };
  return {
    newest: await median(CALLS, page('backward', null)),
    middle: await median(CALLS, page('backward', place)),
    oldest: await median(CALLS, page('forward', null)),
  };
}

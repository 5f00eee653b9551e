import { backfill } from '../src/changeover/backfill.js';
import { expand } from '../src/changeover/expand.js';
import { verify } from '../src/changeover/verify.js';
import { DEFAULT_MAPPING } from '../src/config/legacy-mapping.js';
import type { Database, Session } from '../src/database/database.js';
import { onBothEngines, say, timed } from './databases.js';

/** How often the memory of the process is looked at, in ms. */
const MEMORY_EVERY_MS = 20;

const MEBIBYTE = 1_048_576;

/**
 * The copy of a table of `rows`, and before it of a tenth of that, to see whether it stays as fast: beside a floor in
 * the same run, with its longest transaction (on SQLite that is how long the write lock is held) and the memory that
 * our process takes more than before.
 */
export async function backfillBench(rows: number): Promise<void> {
  const rates = new Map<string, number>();
  for (const size of [Math.round(rows / 10), rows])
    await onBothEngines(size, async (database) => {
      const { engine } = database.dialect;
      const floor = await timed(() => writeFloor(database));
      await database.transaction((transaction) => transaction.run('DROP TABLE floor'));

      const watched = watchTransactions(database);
      const context = {
        database: watched.database,
        mapping: DEFAULT_MAPPING,
        report: (): void => undefined,
        who: 'a benchmark',
      };
      await expand(context, { backup: null, migrationsTable: 'segue_migrations' });
      const memory = watchMemory();
      const copied = await timed(() => backfill(context));
      const mebibytes = memory.stop();
      const compared = await timed(() => verify(context));

      const perSecond = (ms: number): number => Math.round((size / ms) * 1000);
      const tenth = rates.get(engine);
      rates.set(engine, perSecond(copied));
      say(
        `${engine}, ${number(size)} rows: floor ${number(perSecond(floor))}/s, backfill ${number(perSecond(copied))}/s ` +
          `(${(copied / floor).toFixed(2)} times the floor's time${tenth === undefined ? '' : `, ${(perSecond(copied) / tenth).toFixed(2)} times the rate of a tenth of the rows`}), ` +
          `longest transaction ${Math.round(watched.longest())} ms, ${mebibytes} MiB more, verify ${number(perSecond(compared))}/s`,
      );
    });
}

/** One plain INSERT … SELECT of the same columns into a table with the same indexes, and nothing else. */
async function writeFloor(database: Database): Promise<void> {
  const { dialect } = database;
  const time = dialect.instantOf('created_at');
  await database.transaction(async (transaction) => {
    for (const statement of [
      `CREATE TABLE floor (id ${dialect.types.id} PRIMARY KEY, conversation_id bigint, sender_id bigint, legacy_message_id bigint,
         kind text, text text, sent_at bigint, position bigint, status integer, raw_mask integer)`,
      'CREATE INDEX floor_order ON floor (conversation_id, position, id)',
      'CREATE UNIQUE INDEX floor_legacy ON floor (legacy_message_id)',
      'CREATE INDEX floor_unread ON floor (conversation_id, position) WHERE status <> 3',
      `INSERT INTO floor SELECT id, coalesce(group_id, recipient_id), sender_id, id, type, content, ${time}, ${time}, 3, 0 FROM messages ORDER BY id`,
    ])
      await transaction.run(statement);
  });
}

/** The same database, with a clock on each transaction of its sessions. */
function watchTransactions(database: Database): { database: Database; longest: () => number } {
  let longest = 0;
  const watch = (session: Session): Session => ({
    all: (sql, parameters) => session.all(sql, parameters),
    run: (sql, parameters) => session.run(sql, parameters),
    transaction: async (work) => {
      const started = performance.now();
      const result = await session.transaction(work);
      longest = Math.max(longest, performance.now() - started);
      return result;
    },
  });
  const watched = Object.create(database, {
    session: {
      value: <Result>(work: (session: Session) => Promise<Result>): Promise<Result> =>
        database.session((session) => work(watch(session))),
    },
  }) as Database;
  return { database: watched, longest: () => longest };
}

/** Looks at the resident memory of this process until it is stopped; gives the MiB above the beginning. */
function watchMemory(): { stop: () => number } {
  const before = process.memoryUsage.rss();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, MEMORY_EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return Math.round((most - before) / MEBIBYTE);
    },
  };
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

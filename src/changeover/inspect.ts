import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import { type Bounds, inRange, nextAfter, oldRows } from '../legacy/old-rows.js';
import { RAW } from '../messages/enhanced-message.entities.js';
import type { ChangeoverContext } from './context.js';
import { Meter } from './progress.js';
import { rowRules } from './row-rules.js';
import { checkShape, isEmpty, type OldTrigger } from './shape.js';
import { readState, type Stage } from './stage.js';

const ROWS_PER_RANGE = 50_000;

/** What an operator sees before he does anything. */
export interface Inspection {
  readonly database: string;
  readonly engine: string;
  readonly stage: Stage;
  /** True: none of the old tables is there, and there is nothing to move. */
  readonly empty: boolean;
  /** Rows of each old table. */
  readonly tables: Readonly<Record<string, number>>;
  readonly lowId: string | null;
  readonly highId: string | null;
  /** Rows that would be migrated with something kept raw beside them, by what is irregular; one row may count for several. */
  readonly irregular: Readonly<Record<string, number>>;
  /** Rows that would go to quarantine, by the obstacle. */
  readonly quarantined: Readonly<Record<string, number>>;
  /** The old table's own triggers. */
  readonly triggers: readonly string[];
}

/**
 * Looks at a database and changes nothing; it reads the whole table of messages, in ranges of 50,000 rows.
 * @throws SegueError NO_SUCH_TABLE, NO_SUCH_COLUMN, UNSUPPORTED_DATABASE.
 */
export async function inspect(context: ChangeoverContext): Promise<Inspection> {
  const { database, mapping } = context;
  const { dialect, reader } = database;
  const { stage } = await readState(database);
  const [version] = await reader.all<{ version: string }>(dialect.version);
  const head = { database: database.shown, engine: version?.version ?? '', stage };
  if (await isEmpty(database))
    return {
      ...head,
      empty: true,
      tables: {},
      lowId: null,
      highId: null,
      irregular: {},
      quarantined: {},
      triggers: [],
    };
  await checkShape(database, mapping);

  const tables: Record<string, number> = {};
  for (const { table } of Object.values(mapping) as { table: string }[]) {
    const [row] = await reader.all<{ count: number | string }>(
      `SELECT count(*) AS count FROM ${dialect.name(table)}`,
    );
    tables[table] = Number(row?.count);
  }
  const triggers = await reader.all<OldTrigger>(dialect.triggersOn, {
    table: mapping.messages.table,
  });
  return {
    ...head,
    empty: false,
    tables,
    ...(await countIrregular(context, tables[mapping.messages.table] ?? 0)),
    triggers: triggers.map(({ name }) => name),
  };
}

/** What a bit of the raw mask says of an old row. */
const IRREGULAR: Readonly<Record<keyof typeof RAW, string>> = {
  sender: 'the sender has no account',
  recipient: 'recipient and group are both set',
  group: 'the group is 0 or empty, and not null',
  type: 'the type is unknown',
  status: 'the status is unknown',
  createdAt: 'the time has another form, lies in the future, or cannot be read',
  content: 'the content is a number',
};

/** Counts, range by range, what is irregular, and which rows have no thread. */
async function countIrregular(
  { database, mapping, report }: ChangeoverContext,
  total: number,
): Promise<Pick<Inspection, 'lowId' | 'highId' | 'irregular' | 'quarantined'>> {
  const rows = oldRows(database.dialect, mapping);
  const rules = rowRules(database.dialect, mapping);
  const [bounds] = await database.reader.all<Bounds>(rows.bounds);
  const statement = `SELECT mask, obstacle, count(*) AS count FROM (
      SELECT ${rules.rawMask} AS mask, CASE WHEN NOT ${rules.isPlaced} THEN ${rules.detail} END AS obstacle
      FROM ${rules.read(inRange)}) AS looked_at
    WHERE mask <> 0 OR obstacle IS NOT NULL GROUP BY mask, obstacle`;
  const meter = new Meter('inspection', total, report);
  const irregular: Record<string, number> = {};
  const quarantined: Record<string, number> = {};
  const add = (to: Record<string, number>, what: string, count: number): void => {
    to[what] = (to[what] ?? 0) + count;
  };
  const now = Date.now() * 1000;
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const [end] = await database.reader.all<{ range_end: string }>(rows.rangeEnd, {
      from,
      size: ROWS_PER_RANGE,
    });
    const upTo: string = end?.range_end ?? HIGHEST_ID;
    for (const { mask, obstacle, count } of await database.reader.all<{
      mask: number;
      obstacle: string | null;
      count: number | string;
    }>(statement, { from, upTo, now })) {
      if (obstacle !== null) add(quarantined, obstacle, Number(count));
      else
        for (const [name, bit] of Object.entries(RAW) as [keyof typeof RAW, number][])
          if ((mask & bit) !== 0) add(irregular, IRREGULAR[name], Number(count));
    }
    meter.add(end === undefined ? total % ROWS_PER_RANGE : ROWS_PER_RANGE);
    from = nextAfter(upTo);
  }
  return { lowId: bounds?.low ?? null, highId: bounds?.high ?? null, irregular, quarantined };
}

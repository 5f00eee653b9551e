import {
  type Bounds,
  HIGHEST_ID,
  inRange,
  LOWEST_ID,
  nextAfter,
  oldRows,
} from '../legacy/old-rows.js';
import type { ChangeoverContext } from './context.js';
import { Meter } from './progress.js';
import { regularRows } from './regular-rows.js';
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
  /** Rows that would go to quarantine, by the rule that they break. */
  readonly irregular: Readonly<Record<string, number>>;
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

/** Counts, range by range, which rows break which rule first. */
async function countIrregular(
  { database, mapping, report }: ChangeoverContext,
  total: number,
): Promise<Pick<Inspection, 'lowId' | 'highId' | 'irregular'>> {
  const rows = oldRows(database.dialect, mapping);
  const regular = regularRows(database.dialect, mapping);
  const [bounds] = await database.reader.all<Bounds>(rows.bounds);
  const statement = `SELECT rule, count(*) AS count FROM (
      SELECT ${regular.complaint} AS rule FROM ${regular.from}
      WHERE ${inRange(rows.of('m').id)} AND (${regular.predicate}) IS NOT TRUE) AS irregular
    GROUP BY rule`;
  const meter = new Meter('inspection', total, report);
  const irregular: Record<string, number> = {};
  const now = Date.now() * 1000;
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const [end] = await database.reader.all<{ range_end: string }>(rows.rangeEnd, {
      from,
      size: ROWS_PER_RANGE,
    });
    const upTo: string = end?.range_end ?? HIGHEST_ID;
    const counts = await database.reader.all<{ rule: string; count: number | string }>(statement, {
      from,
      upTo,
      now,
    });
    for (const { rule, count } of counts) irregular[rule] = (irregular[rule] ?? 0) + Number(count);
    meter.add(end === undefined ? total % ROWS_PER_RANGE : ROWS_PER_RANGE);
    from = nextAfter(upTo);
  }
  return { lowId: bounds?.low ?? null, highId: bounds?.high ?? null, irregular };
}

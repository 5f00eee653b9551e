import type { EngineName } from '../database/dialect.js';
import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import { inRange, nextAfter, oldRows } from '../legacy/old-rows.js';
import { endOfPage } from './content-bytes.js';
import type { ChangeoverContext } from './context.js';

const ROWS_PER_RANGE = 50_000;

/** Our tables and their indexes before a row is in them. */
const EMPTY_TABLES_BYTES = 1_048_576;

/**
 * Rows that are read to learn how fast this machine is, how many are made of them, and how often: the first time may
 * wait for the disk. They are read once, without their texts, and repeated, so that the sample says nothing of how long
 * the texts beside them are.
 */
const SAMPLE_ROWS = 5_000;
const SAMPLE_SIZE = 50_000;
const SAMPLE_RUNS = 4;

/** What one old row costs, and one byte of its text. */
interface Rate {
  readonly row: number;
  readonly textByte: number;
}

interface Costs {
  /** Bytes written by the copy, with its place in each index. */
  readonly copyBytes: Rate;
  /** Bytes written by filling `conversation_id`: on PostgreSQL that is a new version of the whole row. */
  readonly linkBytes: Rate;
  /** Time in each step; the unit is what a row of the sample takes on the same machine. */
  readonly copyTime: Rate;
  readonly linkTime: Rate;
  readonly verifyTime: Rate;
}

/**
 * Measured on databases of 100,000, 222,128 and 1,000,000 rows of real chat (54 bytes of text a row), on 2 cores and
 * an SSD: the growth of the files from before expand to the highest point, and the times of backfill and verify
 * divided by that of the sample, with and without the columns. Sets with 1,000, 20,000 and 3,000,000 bytes a row gave
 * the costs of text, which differ among them by a factor of two. `npm run bench -- plan ROWS BYTES` prints estimate and
 * truth side by side: run it when the copy changes.
 */
const COSTS: Readonly<Record<EngineName, Costs>> = {
  sqlite: {
    copyBytes: { row: 85, textByte: 1 },
    linkBytes: { row: 53, textByte: 0 },
    copyTime: { row: 16.5, textByte: 0.03 },
    linkTime: { row: 2.5, textByte: 0 },
    verifyTime: { row: 12.5, textByte: 0.009 },
  },
  postgres: {
    copyBytes: { row: 345, textByte: 1 },
    linkBytes: { row: 102, textByte: 1 },
    copyTime: { row: 21, textByte: 0.032 },
    linkTime: { row: 6.5, textByte: 0 },
    verifyTime: { row: 26, textByte: 0.006 },
  },
};

/** How much there is to move. */
export interface TableSize {
  readonly rows: number;
  /** Bytes of all texts. */
  readonly textBytes: number;
}

/**
 * Counts the old rows and the bytes of their texts, in ranges of 50,000 rows, without reading the texts themselves.
 */
export async function measureTable({ database, mapping }: ChangeoverContext): Promise<TableSize> {
  const rows = oldRows(database.dialect, mapping);
  const m = rows.of('m');
  const size = { rows: 0, textBytes: 0 };
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const upTo = await endOfRange({ database, mapping }, from, ROWS_PER_RANGE);
    const [range] = await database.reader.all<Record<'rows' | 'bytes', number | string | null>>(
      `SELECT count(*) AS rows, sum(octet_length(${m.content})) AS bytes FROM ${rows.table} m WHERE ${inRange(m.id)}`,
      { from, upTo },
    );
    size.rows += Number(range?.rows);
    size.textBytes += Number(range?.bytes);
    from = nextAfter(upTo);
  }
  return size;
}

/** Bytes that the changeover writes for a table of this size, at most `largestLog` of them in the engine's log. */
export function bytesToWrite(
  engine: EngineName,
  size: TableSize,
  { fillsLink, largestLog }: { fillsLink: boolean; largestLog: number },
): number {
  const { copyBytes, linkBytes } = COSTS[engine];
  const data = costOf(copyBytes, size) + (fillsLink ? costOf(linkBytes, size) : 0);
  return Math.ceil(EMPTY_TABLES_BYTES + data + Math.min(data, largestLog));
}

/**
 * The time that a row of a sample takes on this machine, in ms; 0 for an empty table. The sample reads old rows,
 * works their times out, and sorts them as the index of the copies does.
 */
export async function timeSample(context: ChangeoverContext): Promise<number> {
  const { dialect, reader } = context.database;
  const rows = oldRows(dialect, context.mapping);
  const m = rows.of('m');
  // A text lies between the columns that are read: of long ones fewer are enough.
  const upTo = await endOfPage(
    reader,
    { dialect, mapping: context.mapping },
    { from: LOWEST_ID, size: SAMPLE_ROWS },
  );
  const read = `FROM ${rows.table} m WHERE ${inRange(m.id)}`;
  const [few] = await reader.all<{ rows: number | string }>(`SELECT count(*) AS rows ${read}`, {
    from: LOWEST_ID,
    upTo,
  });
  if (Number(few?.rows) === 0) return 0;
  const range = { from: LOWEST_ID, upTo, copies: Math.ceil(SAMPLE_SIZE / Number(few?.rows)) };
  const sample = `WITH RECURSIVE copies(copy) AS (SELECT 1 UNION ALL SELECT copy + 1 FROM copies WHERE copy < :copies),
      few AS MATERIALIZED (SELECT ${m.id} AS id, coalesce(${m.groupId}, ${m.recipientId}) AS thread, ${m.createdAt} AS at ${read})
    SELECT count(*) AS rows, sum(number) AS keeps_the_sort FROM (
      SELECT row_number() OVER (ORDER BY f.thread, ${dialect.instantOf('f.at')}, f.id) AS number
      FROM few f CROSS JOIN copies) AS sorted`;
  let best = Infinity;
  let counted = 0;
  for (let run = 0; run < SAMPLE_RUNS; run += 1) {
    const started = performance.now();
    const [found] = await reader.all<{ rows: number | string }>(sample, range);
    best = Math.min(best, performance.now() - started);
    counted = Number(found?.rows);
  }
  return best / counted;
}

/** Seconds that the parts of a changeover take when nothing else uses the machine. */
export interface Duration {
  readonly backfill: number;
  readonly verify: number;
}

/** @param msPerSampleRow as `timeSample` gives it. */
export function secondsFor(
  engine: EngineName,
  { toCopy, toCompare, fillsLink }: { toCopy: TableSize; toCompare: TableSize; fillsLink: boolean },
  msPerSampleRow: number,
): Duration {
  const { copyTime, linkTime, verifyTime } = COSTS[engine];
  const seconds = (sampleRows: number): number =>
    Math.ceil((sampleRows * msPerSampleRow) / 100) / 10;
  return {
    backfill: seconds(costOf(copyTime, toCopy) + (fillsLink ? costOf(linkTime, toCopy) : 0)),
    verify: seconds(costOf(verifyTime, toCompare)),
  };
}

function costOf(rate: Rate, { rows, textBytes }: TableSize): number {
  return rows * rate.row + textBytes * rate.textByte;
}

async function endOfRange(
  { database, mapping }: Pick<ChangeoverContext, 'database' | 'mapping'>,
  from: string,
  size: number,
): Promise<string> {
  const [end] = await database.reader.all<{ range_end: string }>(
    oldRows(database.dialect, mapping).rangeEnd,
    { from, size },
  );
  return end?.range_end ?? HIGHEST_ID;
}

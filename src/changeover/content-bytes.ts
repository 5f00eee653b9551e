import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { HIGHEST_ID } from '../database/ids.js';
import { bytesOfContent, oldRows } from '../legacy/old-rows.js';

/**
 * Bytes of old texts that are held at once, by a transaction or in memory, unless a single row has more. 200 rows of
 * 3 MB in one batch kept the write lock of SQLite for 19 s, and as many in one page of hex ended the process.
 */
export const MOST_BYTES = 8_388_608;

/** A row, and how large its text is. */
interface Sized {
  readonly id: string;
  readonly bytes: number | string;
}

/** How many of these rows, from the first on, are held at once: as many as fit, and always one. */
function howManyFit(rows: readonly Sized[]): number {
  let bytes = 0;
  const first = rows.findIndex((row) => (bytes += Number(row.bytes)) > MOST_BYTES);
  return first === -1 ? rows.length : Math.max(first, 1);
}

/**
 * The end of a page of old rows: the id of the last of at most `size` rows from `from` on that fit.
 * @returns HIGHEST_ID where nothing lies behind it: also what is only on the new side belongs to that page.
 */
export async function endOfPage(
  reader: Queryable,
  { dialect, mapping }: { dialect: Dialect; mapping: LegacyMapping },
  { from, size }: { from: string; size: number },
): Promise<string> {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const page = await reader.all<Sized>(
    `SELECT CAST(${m.id} AS text) AS id, ${bytesOfContent(m)} AS bytes FROM ${rows.table} m
     WHERE ${m.id} >= CAST(:from AS bigint) ORDER BY ${m.id} LIMIT :size`,
    { from, size },
  );
  const count = howManyFit(page);
  const isLast = count === page.length && page.length < size;
  return isLast ? HIGHEST_ID : (page[count - 1]?.id ?? HIGHEST_ID);
}

/** Cuts rows, in their order, into parts that fit: by the larger of the old text and of the copy's. */
export async function inParts(
  reader: Queryable,
  { dialect, mapping }: { dialect: Dialect; mapping: LegacyMapping },
  ids: readonly string[],
): Promise<string[][]> {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const found = await reader.all<Sized>(
    `SELECT CAST(id AS text) AS id, max(bytes) AS bytes FROM (
       SELECT ${m.id} AS id, ${bytesOfContent(m)} AS bytes FROM ${rows.table} m WHERE ${m.id} IN (${dialect.idsIn('ids')})
       UNION ALL SELECT e.id, coalesce(octet_length(e.text), 0) FROM enhanced_messages e WHERE e.id IN (${dialect.idsIn('ids')})
     ) AS sized GROUP BY id`,
    { ids: JSON.stringify(ids) },
  );
  const bytes = new Map(found.map((row) => [row.id, row.bytes]));
  const parts: string[][] = [];
  for (let left = ids.map((id) => ({ id, bytes: bytes.get(id) ?? 0 })); left.length > 0;) {
    const count = howManyFit(left);
    parts.push(left.slice(0, count).map(({ id }) => id));
    left = left.slice(count);
  }
  return parts;
}

import { LOWEST_ID } from '../database/ids.js';
import type { ChangeoverContext } from './context.js';
import { inNewFile } from './new-file.js';

/** Rows of one statement, and of one write. */
const ROWS_PER_PAGE = 1_000;

/** The tables, with the key by which they are gone through, and which of their rows say what the old table does not. */
const TABLES: readonly [table: string, key: string, rows: string][] = [
  ['conversations', 'id', 'true'],
  ['conversation_participants', 'conversation_id', 'true'],
  ['enhanced_messages', 'id', 'made_here OR reply_to_id IS NOT NULL'],
  ['message_status', 'id', 'true'],
];

/**
 * Writes all that the old table has no form for into a file, a JSON object `{"table", "row"}` a line; each value is text
 * or null, so that no id loses a digit. The file gets its name when it is whole and on the disk; it is readable by its
 * owner alone. Takes no lock: to be called when nobody writes there any more.
 * @throws SegueError BAD_USER_INPUT when the file is there already, or cannot be written.
 */
export function exportKept(context: ChangeoverContext, path: string): Promise<number> {
  return inNewFile(path, async (write) => {
    let rows = 0;
    for (const table of TABLES)
      for await (const page of pagesOf(context, table)) {
        await write(page.map((row) => `${JSON.stringify(row)}\n`).join(''));
        rows += page.length;
      }
    return rows;
  });
}

async function* pagesOf(
  { database }: ChangeoverContext,
  [table, key, condition]: (typeof TABLES)[number],
): AsyncGenerator<{ table: string; row: object }[]> {
  const { dialect, reader } = database;
  const columns = (await reader.all<{ name: string }>(dialect.describeTable, { table })).map(
    ({ name }) => name,
  );
  const values = columns.map(
    (name) => `CAST(${dialect.name(name)} AS text) AS ${dialect.name(name)}`,
  );
  // Whole keys: those of participants are of many rows.
  for (let after = LOWEST_ID; ;) {
    const [end]: { last: string | null }[] = await reader.all(
      `SELECT CAST(max(k) AS text) AS last FROM (SELECT ${key} AS k FROM ${table}
         WHERE ${key} > CAST(:after AS bigint) AND (${condition}) ORDER BY ${key} LIMIT ${ROWS_PER_PAGE}) AS page`,
      { after },
    );
    if (end?.last == null) return;
    const last: string = end.last;
    const rows = await reader.all(
      `SELECT ${values.join(', ')} FROM ${table} WHERE ${key} > CAST(:after AS bigint) AND ${key} <= CAST(:last AS bigint) AND (${condition})
       ORDER BY ${key}`,
      { after, last },
    );
    yield rows.map((row) => ({ table, row }));
    after = last;
  }
}

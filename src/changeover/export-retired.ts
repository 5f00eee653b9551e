import type { ChangeoverContext } from './context.js';
import { inNewFile } from './new-file.js';
import { exportOldRows } from './quarantine.js';
import { retiredMapping } from './retired.js';

/**
 * Writes all rows of the old table into a file, a JSON object a line by the names of its columns, each value with its type
 * and its text, or its bytes in hex where they are no text: nothing is rounded on the way.
 * @param seal called when the file can be written, before the first row is read
 * @returns the number of rows
 * @throws SegueError BAD_USER_INPUT when the file is there already, or cannot be written.
 */
export function exportRetired(
  context: ChangeoverContext,
  path: string,
  seal: () => Promise<void>,
): Promise<number> {
  return inNewFile(path, async (write) => {
    await seal();
    let rows = 0;
    for await (const page of exportOldRows({
      database: context.database,
      mapping: retiredMapping(context.mapping),
    })) {
      await write(page.map((row) => `${JSON.stringify(row)}\n`).join(''));
      rows += page.length;
    }
    return rows;
  });
}

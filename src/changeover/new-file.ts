import { constants } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { messageOf, SegueError } from '../errors/segue-error.js';

/**
 * Writes a file that is not there yet, readable by its owner alone. It holds something only when all of it is on the disk:
 * until then that stands in `PATH.part`.
 * @throws SegueError BAD_USER_INPUT when the file is there already, or cannot be written.
 */
export async function inNewFile<Result>(
  path: string,
  work: (write: (text: string) => Promise<void>) => Promise<Result>,
): Promise<Result> {
  const part = `${path}.part`;
  let file: FileHandle;
  try {
    // The name is taken now: a file that is there is never written over.
    const name = await open(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
    await name.close();
    file = await open(part, 'w', 0o600);
  } catch (error) {
    throw new SegueError(
      'BAD_USER_INPUT',
      `--export ${path} cannot be written (${messageOf(error)}): it takes a file that is not there yet. Nothing was dropped.`,
      { cause: error },
    );
  }
  let result: Result;
  try {
    result = await work((text) => file.appendFile(text));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(part, path);
  return result;
}

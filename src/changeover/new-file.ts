import { type FileHandle, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, SegueError } from '../errors/segue-error.js';

/**
 * Checks that nothing of this name is there yet.
 * @throws SegueError BAD_USER_INPUT.
 */
export async function checkIsNew(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw cannotWrite(path, error);
  });
  if (found !== null) throw cannotWrite(path, new Error('it is there already'));
}

/**
 * Writes a file that is not there yet, readable by its owner alone. It gets its name when all of it is on the disk, and the
 * name is on the disk too when this resolves; until then it is `PATH.segue-part`, which the next call writes anew.
 * @param work called when the file could be opened
 * @throws SegueError BAD_USER_INPUT when the file is there already, or cannot be written: before `work` is called.
 */
export async function inNewFile<Result>(
  path: string,
  work: (write: (text: string) => Promise<void>) => Promise<Result>,
): Promise<Result> {
  const part = `${path}.segue-part`;
  await checkIsNew(path);
  let file: FileHandle;
  try {
    file = await open(part, 'w', 0o600);
  } catch (error) {
    throw cannotWrite(path, error);
  }
  let result: Result;
  try {
    result = await work((text) => file.appendFile(text));
    await file.sync();
  } finally {
    await file.close();
  }
  await checkIsNew(path);
  await rename(part, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
  return result;
}

function cannotWrite(path: string, error: unknown): SegueError {
  return new SegueError(
    'BAD_USER_INPUT',
    `--export ${path} cannot be written (${messageOf(error)}): it takes a file that is not there yet. Nothing was dropped.`,
    { cause: error },
  );
}

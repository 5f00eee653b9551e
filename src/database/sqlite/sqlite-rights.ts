import { accessSync, constants, existsSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { SegueError } from '../../errors/segue-error.js';

/**
 * Checks that this process may write a database file, the files beside it, and the folder that they are made in.
 * @throws SegueError NOT_PERMITTED naming each that it may not write.
 */
export function checkFileRights(path: string): void {
  // The files beside it lie where the file itself is, not where a link to it is.
  const file = realpathSync(path);
  const beside = [`${file}-wal`, `${file}-shm`].filter((each) => existsSync(each));
  const lacking = [file, ...beside, dirname(file)].filter((each) => !isWritable(each));
  if (lacking.length === 0) return;
  const uid = process.getuid?.();
  throw new SegueError(
    'NOT_PERMITTED',
    `The user ${uid === undefined ? 'of this process' : `with the id ${uid}`} lacks the right to write ${lacking.join(' and ')}: ` +
      `run this as the old app's user, or let both write the file, its -wal and -shm files, and their folder.`,
  );
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

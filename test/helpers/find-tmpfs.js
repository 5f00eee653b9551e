import { execFile } from 'node:child_process';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whether tests may mount a file system of their own, to fill it up: as root, mostly. Null: yes; else why not. */
export async function whyNoTmpfs() {
  const folder = await mkdtemp(join(tmpdir(), 'segue-test-'));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'segue-test', folder]);
    await run('umount', [folder]);
    return null;
  } catch (error) {
    return String(error.stderr || error.message)
      .trim()
      .split('\n')[0];
  } finally {
    await rmdir(folder);
  }
}

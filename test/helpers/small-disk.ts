import { execFile } from 'node:child_process';
import { chown, mkdir, mkdtemp, rm, rmdir, stat, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { atTheEnd } from './databases.js';

const run = promisify(execFile);

/** Whether tests may mount file systems: see find-tmpfs.js. */
export const MAY_MOUNT = process.env.SEGUE_TEST_TMPFS !== undefined;

/** A file system in memory of the test's own, unmounted at the end. */
export class SmallDisk {
  private constructor(
    private readonly root: string,
    /** Where files may be put. */
    readonly folder: string,
  ) {}

  /** @param like a file whose owner shall own the folder too. */
  static async mount(megabytes: number, like?: string): Promise<SmallDisk> {
    const root = await mkdtemp(join(tmpdir(), 'segue-test-'));
    atTheEnd(() => rmdir(root));
    await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'segue-test', root]);
    atTheEnd(async () => {
      await run('umount', [root]);
    });
    const folder = join(root, 'data');
    await mkdir(folder);
    if (like !== undefined) {
      const { uid, gid } = await stat(like);
      for (const path of [root, folder]) await chown(path, uid, gid);
    }
    return new SmallDisk(root, folder);
  }

  /** Fills it up but for so many bytes. */
  async leave(bytes: number): Promise<void> {
    for (;;)
      try {
        await rm(this.ballast, { force: true });
        const { bavail, bsize } = await statfs(this.root);
        await writeFile(this.ballast, Buffer.alloc(Math.max(bavail * bsize - bytes, 0)));
        return;
      } catch (error) {
        // The server's checkpointer wrote to the disk between the two: measured anew.
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
  }

  private get ballast(): string {
    return join(this.root, 'ballast');
  }
}

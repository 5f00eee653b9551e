import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { readState } from '../../src/changeover/stage.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { type Contents, contentsOf, differences, oldSideOf } from '../helpers/comparison.js';
import {
  asOldApp,
  atTheEnd,
  copyOf,
  ENGINES,
  onServer,
  urlOf,
  using,
} from '../helpers/databases.js';
import { irregularDatabase } from '../helpers/irregular.js';
import { startOwnPostgres } from '../helpers/own-postgres.js';
import { type Ended, segue } from '../helpers/programs.js';
import { MAY_MOUNT, SmallDisk } from '../helpers/small-disk.js';

const MEGABYTE = 1024 ** 2;

/** The error of a full disk: a sentence for people, and no stack. */
function expectFull({ code, stderr }: Ended): void {
  expect(stderr).toMatch(
    /^UNAVAILABLE: There is no space left for the database, or for its temporary files\. .* make room and run this again\.$/m,
  );
  expect(stderr).not.toMatch(/^ {4}at /m);
  expect(code).toBe(1);
}

/** Without a reserve: it would rest before the disk is full. */
const migrate = (location: DatabaseLocation, more: Record<string, string> = {}): Promise<Ended> =>
  segue({ DATABASE_URL: urlOf(location), DISK_RESERVE: '0', ...more }, 'migrate', '--no-backup');

const whenMounting = MAY_MOUNT ? describe : describe.skip;

whenMounting.each(ENGINES)('a full disk on %s', (engine) => {
  let original: DatabaseLocation;
  let expected: Contents;
  /** A file whose owner has to be able to write on the disk. */
  let owned: string | undefined;

  beforeAll(async () => {
    if (engine === 'postgres') owned = await startOwnPostgres();
    original = await irregularDatabase(engine, { messages: 12_000, seed: 5, share: 0.05 });
    const { location, drop } = await copyOf(original);
    expect((await migrate(location)).code).toBe(0);
    expected = await using(location, contentsOf);
    await drop();
  });

  /** What `copyOf` puts a database on a disk by: its folder, or a tablespace in it. */
  async function placeOn(disk: SmallDisk): Promise<string> {
    if (engine === 'sqlite') return disk.folder;
    const name = `segue_test_${randomBytes(4).toString('hex')}`;
    await onServer(`CREATE TABLESPACE ${name} LOCATION '${disk.folder}'`);
    atTheEnd(async () => {
      await onServer(`DROP TABLESPACE ${name}`);
    });
    return name;
  }

  it('ends a move with a clear error, again and again until there is room; the old side does not notice', async () => {
    const disk = await SmallDisk.mount(96, owned);
    const { location } = await copyOf(original, await placeOn(disk));
    const before = await using(original, oldSideOf);
    await segue({ DATABASE_URL: urlOf(location) }, 'expand', '--no-backup');
    const stages: string[] = [];
    let fullTimes = 0;
    for (; ; fullTimes += 1) {
      await disk.leave(0.4 * MEGABYTE + fullTimes * 1.5 * MEGABYTE);
      const ended = await migrate(location);
      if (ended.code === 0) break;
      expectFull(ended);
      stages.push((await using(location, readState)).stage);
      expect(differences(before, await using(location, oldSideOf))).toEqual([]);
      // Not to the messages: with its entry in the queue the result would be another one.
      await asOldApp(location, 'UPDATE users SET name = name WHERE id = 7');
    }
    expect(stages.length).toBeGreaterThan(1);
    expect(stages).toContain('BACKFILLING');
    expect(differences(expected, await using(location, contentsOf))).toEqual([]);
  });

  if (engine === 'sqlite')
    it('where the temporary files go is told in the same way', async () => {
      const disk = await SmallDisk.mount(1);
      const { location } = await copyOf(original);
      // So many threads that SQLite does not keep them in memory.
      await asOldApp(
        location,
        `INSERT INTO messages (sender_id, recipient_id, content, created_at)
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80000)
           SELECT 1000000 + i, 2000000 + i, 'hello', '2020-01-01 00:00:00' FROM n`,
      );
      await disk.leave(0);
      expectFull(await migrate(location, { SQLITE_TMPDIR: disk.folder }));
      expect(await migrate(location)).toMatchObject({ code: 0 });
    });
});

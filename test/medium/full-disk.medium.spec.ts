import { expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { readState } from '../../src/changeover/stage.js';
import type { Database } from '../../src/database/database.js';
import { explainDatabaseError } from '../../src/database/database-errors.js';
import { type Contents, contentsOf, differences, oldSideOf } from '../helpers/comparison.js';
import { asOldApp, copyOf, open, using, withParts } from '../helpers/databases.js';
import { irregularDatabase } from '../helpers/irregular.js';
import { contextOf, EXPAND, migrate } from '../helpers/legacy.js';

/** A database whose file may only grow to so many pages: SQLite then fails as on a full disk, and needs no right for it. */
function limited(database: Database, pages: number): Database {
  return withParts(database, {
    session: (work) =>
      database.session(async (session) => {
        await session.all(`PRAGMA max_page_count = ${pages}`);
        return work(session);
      }),
  });
}

it('a full SQLite file ends a backfill wherever it is, blames no row, and keeps what was committed', async () => {
  const original = await irregularDatabase('sqlite', { messages: 6_000, seed: 5, share: 0.05 });
  const whole = await copyOf(original);
  const expected: Contents = await using(whole.location, async (database) => {
    await migrate(database);
    return contentsOf(database);
  });
  const before = await using(original, oldSideOf);

  const { location } = await copyOf(original);
  const database = await open(location);
  await expand(contextOf(database), EXPAND);
  const [size] = await database.reader.all<{ page_count: number }>('PRAGMA page_count');
  const seen: string[] = [];
  for (let more = 1; ; more = Math.ceil(more * 1.4)) {
    const error: unknown = await backfill(
      contextOf(limited(database, (size?.page_count ?? 0) + more)),
    ).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (error === null) break;
    expect(explainDatabaseError(error)).toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('There is no space left'),
    });
    const { hasThreads, migrated, quarantined, doneAbove } = await readState(database);
    seen.push(`${hasThreads ? 'rows' : 'threads'} ${doneAbove ?? ''}`);
    const [counted] = await database.reader.all(
      `SELECT (SELECT count(*) FROM enhanced_messages) AS migrated, (SELECT count(*) FROM changeover_quarantine) AS quarantined`,
    );
    expect(counted).toEqual({ migrated, quarantined });
    expect(differences(before, await using(location, oldSideOf))).toEqual([]);
    // Not to the messages: with its entry in the queue the result would be another one.
    await asOldApp(location, 'UPDATE users SET name = name WHERE id = 7');
  }
  expect(seen.filter((at) => at.startsWith('threads')).length).toBeGreaterThan(1);
  expect(new Set(seen.filter((at) => at.startsWith('rows'))).size).toBeGreaterThan(1);
  await migrate(database);
  expect(differences(expected, await contentsOf(database))).toEqual([]);
});

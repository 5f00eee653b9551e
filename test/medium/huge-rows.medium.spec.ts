import { describe, expect, it } from '@jest/globals';
import { applyQueued } from '../../src/changeover/apply.js';
import { backfill } from '../../src/changeover/backfill.js';
import { digest } from '../../src/changeover/digest.js';
import { timeSample } from '../../src/changeover/estimate.js';
import { expand } from '../../src/changeover/expand.js';
import type { Progress } from '../../src/changeover/progress.js';
import { exportQuarantine } from '../../src/changeover/quarantine.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import type { Database, Parameters, Queryable } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { asOldApp, ENGINES, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

const LARGE: Record<EngineName, (bytes: number) => string> = {
  sqlite: (bytes) => `printf('%.*c', ${bytes}, 'x')`,
  postgres: (bytes) => `repeat('x', ${bytes})`,
};

/** Behind 20 short rows: seven of 3 MB, of which two fit, one that is too large for any, and one more of 3 MB. */
const SHORT = 20;
const SIZES = [3, 3, 3, 3, 3, 3, 3, 9, 3];

describe.each(ENGINES)('rows of megabytes on %s', (engine) => {
  async function largeDatabase(
    recipient = '2',
  ): Promise<{ location: DatabaseLocation; database: Database }> {
    const made = await legacyDatabase(engine, { messages: SHORT });
    const rows = SIZES.map(
      (megabytes, i) =>
        `INSERT INTO messages (id, sender_id, recipient_id, content, type, status, created_at)
           SELECT ${1000 + i}, 1, ${recipient}, ${LARGE[engine](megabytes * 1_000_000)}, 'text', 'sent', '2020-01-01 00:00:00'`,
    );
    await asOldApp(made.location, ...rows);
    return made;
  }

  it('are copied by the bytes that fit into a batch, and a larger one by itself', async () => {
    const { database } = await largeDatabase();
    await expand(contextOf(database), EXPAND);
    const batches: number[] = [];
    let before = 0;
    await backfill({
      ...contextOf(database),
      report: ({ step, done }: Progress) => {
        if (step === 'messages' && done > before) batches.push(done - before);
        before = done;
      },
    });
    const newestFirst = [...SIZES.toReversed(), ...Array.from({ length: SHORT }, () => 0)];
    for (const rows of batches) {
      const megabytes = newestFirst.splice(0, rows).reduce((sum, size) => sum + size, 0);
      expect(rows === 1 || megabytes <= 8).toBe(true);
    }
    expect(newestFirst).toEqual([]);
    expect(await verify(contextOf(database))).toMatchObject({
      migratedMessages: SHORT + SIZES.length,
      mismatches: 0,
    });
  });

  it('are applied, and repaired, in transactions of as many as fit', async () => {
    const { location, database } = await largeDatabase();
    await migrate(database);
    const settled: number[] = [];
    const watched = withParts(database, {
      transaction: (work) =>
        database.transaction((transaction) =>
          work(
            noticing(transaction, (sql, parameters) => {
              if (sql.includes('INSERT INTO segue_dirty'))
                settled.push((JSON.parse(String(parameters?.ids)) as string[]).length);
            }),
          ),
        ),
    });
    const shares = [2, 2, 2, 1, 1, 1];
    await asOldApp(location, `UPDATE messages SET status = 'read' WHERE id >= 1000`);
    await applyQueued(contextOf(watched));
    // Entries come in no order.
    expect(settled.every((rows) => rows <= 2)).toBe(true);
    expect(settled.reduce((sum, rows) => sum + rows, 0)).toBe(SIZES.length);

    settled.length = 0;
    await asOldApp(location, `UPDATE enhanced_messages SET kind = 'file' WHERE id >= 1000`);
    expect(await verify(contextOf(watched), { repair: true })).toMatchObject({
      repaired: SIZES.length,
      mismatches: 0,
    });
    expect(settled.toSorted()).toEqual(shares.toSorted());
  });

  it('are hashed and compared in pages of as many as fit into memory', async () => {
    const { database } = await largeDatabase();
    await migrate(database);
    const pages: number[] = [];
    const watched = withParts(database, {
      snapshot: (work) =>
        database.snapshot((reader) =>
          work({
            all: async (sql, parameters) => {
              const rows = await reader.all(sql, parameters);
              if (/AS line FROM messages|AS line FROM "messages"/.test(sql))
                pages.push(rows.length);
              return rows as never[];
            },
            run: (sql, parameters) => reader.run(sql, parameters),
          }),
        ),
    });
    const { differing } = await digest(contextOf(watched), 0);
    expect(differing).toEqual([]);
    expect(pages).toEqual([SHORT + 2, 2, 2, 1, 1, 1]);
  });

  it('are no part of the sample that says how fast the machine is, but for as many as fit', async () => {
    const { database } = await largeDatabase();
    const samples: (Parameters | undefined)[] = [];
    const watched = withParts(database, {
      reader: {
        all: (sql, parameters) => {
          if (sql.includes('WITH RECURSIVE copies')) samples.push(parameters);
          return database.reader.all(sql, parameters);
        },
        run: (sql, parameters) => database.reader.run(sql, parameters),
      },
    });
    expect(await timeSample(contextOf(watched))).toBeGreaterThan(0);
    // Two large ones fit; of the fewer rows there are the more copies.
    expect(samples[0]).toMatchObject({ upTo: '1001', copies: Math.ceil(50_000 / (SHORT + 2)) });
  });

  it('leave the quarantine in pages of as many as fit into memory', async () => {
    const { database } = await largeDatabase('NULL');
    await migrate(database);
    const pages: number[] = [];
    for await (const page of exportQuarantine(contextOf(database))) pages.push(page.length);
    expect(pages).toEqual([2, 2, 2, 1, 1, 1]);
  });
});

function noticing(
  queryable: Queryable,
  notice: (sql: string, parameters?: Parameters) => void,
): Queryable {
  return {
    all: (sql, parameters) => queryable.all(sql, parameters),
    run: (sql, parameters) => {
      notice(sql, parameters);
      return queryable.run(sql, parameters);
    },
  };
}

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { findMissingCapture } from '../../src/changeover/capture.js';
import { expand } from '../../src/changeover/expand.js';
import { ChangeoverKeeper } from '../../src/changeover/keeper.js';
import type { Progress } from '../../src/changeover/progress.js';
import { compareNext } from '../../src/changeover/rolling-compare.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import { applyQueued } from '../../src/changeover/apply.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { asOldApp, ENGINES } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

const INSERT = `INSERT INTO messages (id, sender_id, recipient_id, content, type, status, created_at) VALUES`;

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(10);
}

describe.each(ENGINES)('a running server on %s', (engine) => {
  async function kept(
    database: Database,
    work: (warnings: string[]) => Promise<void>,
    servers = 1,
  ): Promise<void> {
    const warnings: string[] = [];
    const keepers = Array.from(
      { length: servers },
      () =>
        new ChangeoverKeeper(contextOf(database), (message) => warnings.push(message), {
          pace: 0.05,
        }),
    );
    try {
      await work(warnings);
    } finally {
      await Promise.all(keepers.map((keeper) => keeper.stop()));
    }
  }

  const textOf = async (database: Database, id: number): Promise<string | null | undefined> => {
    const [row] = await database.reader.all<{ text: string | null }>(
      `SELECT text FROM enhanced_messages WHERE id = ${id}`,
    );
    return row?.text;
  };

  it('applies what the old app writes, once, though two servers and a command line do so', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 200 });
    await migrate(database);
    await kept(
      database,
      async (warnings) => {
        for (let n = 0; n < 20; n += 1) {
          await asOldApp(
            location,
            `${INSERT} (${1000 + n}, 1, 2, 'row ${n}', 'text', 'sent', '2026-01-02 03:04:05')`,
            `UPDATE messages SET status = 'read' WHERE id = ${n + 1}`,
          );
          await applyQueued(contextOf(database)).catch((error: unknown) => {
            expect(error).toMatchObject({ code: 'RUNNER_ACTIVE' });
          });
        }
        await until(async () => (await status(database, DEFAULT_MAPPING)).pendingChanges === 0);
        expect(warnings).toEqual([]);
      },
      2,
    );
    expect(await verify(contextOf(database))).toMatchObject({
      migratedMessages: 220,
      mismatches: 0,
    });
  });

  it('goes on with a backfill that an operator started, and begins none by itself', async () => {
    const { database } = await legacyDatabase(engine, { messages: 6_000 });
    await expand(contextOf(database), EXPAND);
    await kept(database, async () => {
      await sleep(300);
      expect((await readState(database)).stage).toBe('EXPANDED');
    });
    const cutOff = {
      ...contextOf(database),
      report: ({ step, done }: Progress): void => {
        if (step === 'messages' && done > 0) throw new Error('planted crash');
      },
    };
    await expect(backfill(cutOff)).rejects.toThrow('planted crash');
    await kept(database, () =>
      until(async () => (await readState(database)).stage === 'BACKFILLED'),
    );
    expect(await verify(contextOf(database))).toMatchObject({
      migratedMessages: 6_000,
      mismatches: 0,
    });
  });

  it('ends within a slice while it applies a backlog', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 3_000 });
    await migrate(database);
    await asOldApp(location, `UPDATE messages SET content = 'edited'`);
    const pending = async (): Promise<number> =>
      (await status(database, DEFAULT_MAPPING)).pendingChanges;
    await kept(database, () => until(async () => (await pending()) < 3_000));
    expect(await pending()).toBeGreaterThan(0);
  });

  it('puts a trigger on again that somebody took off, and says so', async () => {
    const { database } = await legacyDatabase(engine, { messages: 50 });
    await migrate(database);
    await kept(database, async (warnings) => {
      await database.transaction(async (transaction) => {
        for (const statement of database.dialect.dropCapture(
          'messages',
          'segue_capture_messages_update',
        ))
          await transaction.run(statement);
      });
      await until(() => Promise.resolve(warnings.length > 0));
      expect(warnings[0]).toMatch(/^Capture was off and is on again/);
      expect(await findMissingCapture(database, DEFAULT_MAPPING)).toEqual([]);
    });
    expect((await readState(database)).stage).toBe('BACKFILLED');
  });

  it('finds what passed capture by, applies it, counts it, and voids the certificate', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 5_000 });
    await migrate(database);
    const bypasses =
      engine === 'sqlite'
        ? [
            // REPLACE takes the row away that has the same unique value, and tells no trigger.
            'CREATE UNIQUE INDEX planted ON messages (content) WHERE id IN (17, 18)',
            `REPLACE INTO messages (id, sender_id, recipient_id, group_id, content, type, status, created_at)
               SELECT 18, sender_id, recipient_id, group_id, content, type, status, created_at FROM messages WHERE id = 17`,
          ]
        : [
            'ALTER TABLE messages DISABLE TRIGGER USER',
            'DELETE FROM messages WHERE id = 17',
            `UPDATE messages SET content = 'unseen' WHERE id = 18`,
            ...['insert', 'update', 'delete', 'truncate'].map(
              (event) =>
                `ALTER TABLE messages ENABLE ALWAYS TRIGGER segue_capture_messages_${event}`,
            ),
          ];
    await asOldApp(location, ...bypasses);
    expect(await textOf(database, 17)).not.toBeNull();
    await kept(database, async (warnings) => {
      await until(async () => (await textOf(database, 17)) === null);
      await until(() => Promise.resolve(warnings.length > 0));
      expect(warnings[0]).toMatch(/had passed capture by and are applied now/);
    });
    expect((await readState(database)).bypassed).toBeGreaterThan(0);
    expect((await status(database, DEFAULT_MAPPING)).certificate).toMatch(
      /VOID: [12] rows had passed capture by, the first is 1[78]/,
    );
    expect(await verify(contextOf(database))).toMatchObject({
      migratedMessages: 4_999,
      mismatches: 0,
    });
    expect((await readState(database)).stage).toBe('VERIFIED');
  });

  it('finds nothing where nothing passed capture by, pending or not, round after round', async () => {
    const { location, database } = await legacyDatabase(engine, {
      messages: 4_500,
      irregular: { share: 0.1 },
    });
    await migrate(database);
    await asOldApp(location, `UPDATE messages SET content = 'pending' WHERE id % 7 = 0`);
    for (let rounds = 0; rounds < 2;) {
      const look = await compareNext(contextOf(database));
      expect(look?.found).toEqual([]);
      if (look?.isRound === true) rounds += 1;
    }
    expect(await readState(database)).toMatchObject({ bypassed: 0, stage: 'VERIFIED' });
  });
});

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { Lease } from '../../src/changeover/lease.js';
import type { Progress } from '../../src/changeover/progress.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import type { Database, Session } from '../../src/database/database.js';
import { asOldApp, ENGINES, open, withParts } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, makeOnlyThreads } from '../helpers/legacy.js';

const GIBIBYTE = 1_073_741_824;

describe.each(ENGINES)('a copy on %s', (engine) => {
  describe('on a disk that others fill', () => {
    /** A copy that goes on behind its first pass with so many bytes free, and somebody who looks on. */
    async function goOnWith(free: number): Promise<{
      location: DatabaseLocation;
      lookOn: Database;
      told: Progress[];
      stopping: AbortController;
      copying: Promise<unknown>;
      leave: (bytes: number) => void;
    }> {
      const { location, database } = await legacyDatabase(engine, { messages: 300 });
      await expand(contextOf(database), EXPAND);
      await makeOnlyThreads(database);
      let bytes = free;
      const told: Progress[] = [];
      const stopping = new AbortController();
      const context = {
        ...contextOf(withParts(database, { freeBytes: () => Promise.resolve(bytes) })),
        diskReserve: GIBIBYTE,
        report: (progress: Progress) => told.push(progress),
      };
      return {
        location,
        lookOn: await open(location),
        told,
        stopping,
        copying: backfill(context, stopping.signal).then(
          (result) => result,
          (error: unknown) => error,
        ),
        leave: (now) => (bytes = now),
      };
    }

    async function untilItWaits(lookOn: Database): Promise<void> {
      while ((await status(lookOn, DEFAULT_MAPPING)).throttledBy !== 'disk') await sleep(20);
    }

    it('waits until there is room, holds the lease, applies what the old app writes, and goes on', async () => {
      const { location, lookOn, told, copying, leave } = await goOnWith(GIBIBYTE - 1);
      await untilItWaits(lookOn);
      await expect(Lease.acquire(lookOn)).rejects.toMatchObject({ code: 'RUNNER_ACTIVE' });
      await asOldApp(location, `UPDATE messages SET content = 'edited' WHERE id = 7`);
      while ((await status(lookOn, DEFAULT_MAPPING)).pendingChanges > 0) await sleep(20);
      // The one row that was written, and no other.
      expect((await status(lookOn, DEFAULT_MAPPING)).migratedMessages).toBe(1);
      expect(told.at(-1)).toMatchObject({ step: 'messages', throttledBy: 'disk' });
      leave(GIBIBYTE);
      expect(await copying).toEqual({ migrated: 300, quarantined: 0 });
      expect((await readState(lookOn)).throttledBy).toBeNull();
      expect(await verify(contextOf(lookOn))).toMatchObject({ mismatches: 0 });
    });

    it('ends when it is told to while it waits', async () => {
      const { lookOn, stopping, copying } = await goOnWith(0);
      await untilItWaits(lookOn);
      stopping.abort();
      expect(await copying).toMatchObject({ name: 'AbortError' });
      await Lease.hold(lookOn, () => Promise.resolve());
      expect((await readState(lookOn)).stage).toBe('BACKFILLING');
    });
  });

  if (engine === 'postgres')
    it('makes way for who waits for a row that a batch holds', async () => {
      const { location, database } = await legacyDatabase(engine, { messages: 50 });
      await expand(contextOf(database), EXPAND);
      const oldApp = await open(location);
      let writing: Promise<unknown> | undefined;
      const checkpoints: unknown[] = [];
      const watch = (session: Session): Session => ({
        all: (sql, parameters) => session.all(sql, parameters),
        run: (sql, parameters) => session.run(sql, parameters),
        transaction: (work) =>
          session.transaction((transaction) =>
            work({
              all: (sql, parameters) => transaction.all(sql, parameters),
              run: async (sql, parameters) => {
                if (/SET\s+done_above/.test(sql)) checkpoints.push(parameters?.throttledBy);
                const rows = await transaction.run(sql, parameters);
                if (!sql.includes('UPDATE "messages" SET "conversation_id"')) return rows;
                writing ??= oldApp.transaction((old) =>
                  old.run(`UPDATE messages SET status = 'read' WHERE id = 7`),
                );
                const waits = 'SELECT 1 FROM pg_locks WHERE NOT granted';
                while ((await database.reader.all(waits)).length === 0) await sleep(10);
                return rows;
              },
            }),
          ),
      });
      await backfill(
        contextOf(
          withParts(database, {
            session: (work) => database.session((session) => work(watch(session))),
          }),
        ),
      );
      expect(checkpoints).toEqual(['lock wait']);
      expect(await writing).toBe(1);
      expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0 });
    });
});

import type { ChildProcess } from 'node:child_process';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { replayQuarantine } from '../../src/changeover/quarantine.js';
import { Lease } from '../../src/changeover/lease.js';
import { rollback } from '../../src/changeover/rollback.js';
import { readState } from '../../src/changeover/stage.js';
import { type Verification, verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import type { Database, Parameters, Queryable } from '../../src/database/database.js';
import type { Orders, Sent, Step } from '../drills/killed-at.js';
import { type Contents, contentsOf, differences, oldSideOf } from '../helpers/comparison.js';
import {
  asOldApp,
  copyOf,
  ENGINES,
  leaveWalMode,
  urlOf,
  using,
  withParts,
} from '../helpers/databases.js';
import { irregularDatabase, REFUSE_ONE } from '../helpers/irregular.js';
import { contextOf, EXPAND, migrate } from '../helpers/legacy.js';
import { SHARE, TAKES_ALL } from '../helpers/moments.js';
import { type Ended, finished, outputOf, startDrill } from '../helpers/programs.js';

const ONE_OF = TAKES_ALL ? 1 : 96;

type Moment = Pick<Orders, 'at' | 'when'>;

/** When a step is killed: a share of all moments, and always one inside of a transaction and two at its COMMIT. */
function momentsOf(statements: readonly Sent[]): Moment[] {
  const all = statements.flatMap(({ sql }, i): Moment[] => [
    ...(sql === 'COMMIT' ? [{ at: i + 1, when: 'sent' as const }] : []),
    { at: i + 1, when: 'done' },
  ]);
  const commits = all.flatMap(({ when }, i) => (when === 'sent' ? [i] : []));
  const commit = commits[SHARE % commits.length] ?? 0;
  return all.filter((_, i) => i % ONE_OF === SHARE % ONE_OF || Math.abs(i - commit) <= 1);
}

/** Beginning and end of a statement, to be found by in a failure's message. */
const shown = ({ sql }: Sent): string => sql.replaceAll(/\s+/g, ' ').slice(0, 70);

/** How a stage is prepared from the one before, as it is when the step begins. */
const PREPARED: Readonly<Record<Step, (location: DatabaseLocation) => Promise<void>>> = {
  expand: () => Promise.resolve(),
  'expand --without-columns --wal': async (location) => {
    if (location.engine === 'sqlite') await leaveWalMode(location);
  },
  backfill: async (location) => {
    await using(location, (database) => expand(contextOf(database), EXPAND));
    await asOldApp(location, REFUSE_ONE);
  },
  verify: async (location) => {
    await using(location, (database) => backfill(contextOf(database)));
    await asOldApp(location, 'UPDATE messages SET group_id = 78 WHERE id = -9004');
  },
  repair: async (location) => {
    await using(location, (database) => verify(contextOf(database)));
    await asOldApp(
      location,
      `UPDATE enhanced_messages SET text = 'altered' WHERE id IN (7, -9003)`,
      'DELETE FROM enhanced_messages WHERE id IN (11, -9010)',
      `INSERT INTO enhanced_messages (id, conversation_id, legacy_message_id, kind, sent_at, position, status)
         SELECT 5555, id, 5555, 'text', 1, 1, 1 FROM conversations WHERE kind = 'group' AND legacy_group_id = 1`,
    );
  },
  replay: async (location) => {
    await using(location, (database) => verify(contextOf(database), { repair: true }));
    await asOldApp(
      location,
      'UPDATE messages SET recipient_id = 8 WHERE id = -9005',
      'DELETE FROM messages WHERE id = -9102',
    );
  },
  rollback: async (location) => {
    await resume(location, 'replay');
  },
  'rollback --to EXPANDED': () => Promise.resolve(),
  'rollback --purge --drop-columns': () => Promise.resolve(),
};

/** Steps that begin where another one does, instead of where the one before them does. */
const BEGINS_AS: Readonly<Partial<Record<Step, Step>>> = { backfill: 'expand' };

/** What somebody does whose process died in a step: he runs it again, and what follows. */
async function resume(location: DatabaseLocation, step: Step): Promise<Verification> {
  const options = { switchToWal: step.includes('--wal') };
  const goOn = async (database: Database): Promise<Verification> => {
    const context = contextOf(database);
    const { migrationsTable } = EXPAND;
    if (step === 'expand --without-columns --wal')
      await expand(context, { ...EXPAND, withoutColumns: true });
    if (step === 'repair') await verify(context, { repair: true });
    if (step === 'replay') await replayQuarantine(context);
    // One that had come to LEGACY is ended by what follows.
    if (step === 'rollback' && (await readState(database)).stage !== 'LEGACY')
      await rollback(context, { to: 'LEGACY', migrationsTable });
    if (step === 'rollback --to EXPANDED' && (await readState(database)).stage !== 'EXPANDED')
      await rollback(context, { to: 'EXPANDED', migrationsTable });
    if (step === 'rollback --purge --drop-columns')
      await rollback(context, {
        to: 'LEGACY',
        purge: true,
        dropColumns: true,
        migrationsTable,
      }).catch((error: unknown) => {
        // It had been done.
        expect(error).toMatchObject({
          message: expect.stringContaining('nothing of ours is left'),
        });
      });
    const verification = await migrate(database);
    // A lease may be left of the one that died; nobody has to wait for it.
    await Lease.hold(database, () => Promise.resolve());
    return verification;
  };
  return using(location, goOn, options);
}

/** The next process to die: it takes longer to start than to do its work. */
let next: ChildProcess | undefined;

async function ordered(orders: Orders): Promise<Ended & { readonly sent: Sent[] }> {
  const child = next ?? startDrill('killed-at');
  next = orders.at === 0 ? undefined : startDrill('killed-at');
  const ending = finished(child);
  child.send(orders);
  const ended = await ending;
  const lines = ended.stdout.split('\n').filter((line) => line !== '');
  return { ...ended, sent: lines.map((line) => JSON.parse(line) as Sent) };
}

describe.each(ENGINES)('killed with SIGKILL at a statement on %s', (engine) => {
  const before = new Map<Step, DatabaseLocation>();
  const seen = { inTransaction: 0, atCommit: 0 };

  const prepared = (step: Step): DatabaseLocation => {
    const location = before.get(step);
    if (location === undefined) throw new Error(`${step} was not prepared`);
    return location;
  };

  beforeAll(async () => {
    let location = await irregularDatabase(engine, { messages: 160, seed: 3, share: 0.5 });
    for (const step of Object.keys(PREPARED) as Step[]) {
      const begin = BEGINS_AS[step];
      location = (await copyOf(begin === undefined ? location : prepared(begin))).location;
      await PREPARED[step](location);
      before.set(step, location);
    }
  });

  it.each(Object.keys(PREPARED) as Step[])(
    'in %s, ends as an undisturbed run does once it is resumed',
    async (step) => {
      const original = prepared(step);
      const whole = await copyOf(original);
      const order = {
        step,
        at: 0,
        when: 'done',
        signal: 'SIGKILL',
        url: urlOf(whole.location),
      } as const;
      const { code, stderr, sent } = await ordered(order);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(await resume(whole.location, step)).toMatchObject({ mismatches: 0 });
      const expected = await using(whole.location, contentsOf);
      expect(await using(whole.location, oldSideOf)).toEqual(await using(original, oldSideOf));

      const failures: string[] = [];
      for (const moment of momentsOf(sent)) {
        const copy = await copyOf(original);
        const run = await ordered({ ...order, ...moment, url: urlOf(copy.location) });
        const last = run.sent.at(-1);
        if (run.code !== null || last === undefined || run.sent.length !== moment.at)
          throw new Error(`${JSON.stringify(moment)} was not reached: ${run.stderr}`);
        if (last.sql === 'COMMIT') seen.atCommit += 1;
        else if (last.inTransaction) seen.inTransaction += 1;
        await resume(copy.location, step);
        const found = differences(expected, await using(copy.location, contentsOf));
        if (found.length > 0)
          failures.push(
            `killed when statement ${moment.at} was ${moment.when}, ${shown(last)}:\n  ${found.join('\n  ')}`,
          );
      }
      expect(failures).toEqual([]);
    },
    1_200_000,
  );

  it('was killed inside of open transactions, and at COMMIT', () => {
    for (const times of Object.values(seen)) expect(times).toBeGreaterThan(0);
  });

  it('is stopped between two transactions of a backfill, taken over, and then commits nothing', async () => {
    const original = prepared('backfill');
    const order = { step: 'backfill', when: 'done' } as const;
    const whole = await copyOf(original);
    const { sent } = await ordered({
      ...order,
      at: 0,
      signal: 'SIGKILL',
      url: urlOf(whole.location),
    });
    await resume(whole.location, 'backfill');
    const expected = await using(whole.location, contentsOf);
    await whole.drop();

    // Before each transaction but the two that take the lease and give it back.
    const moments = sent.flatMap(({ sql }, i) => (sql.startsWith('BEGIN') ? [i] : [])).slice(1, -1);
    const few = Math.ceil(moments.length / (ONE_OF === 1 ? moments.length : 4));
    for (const at of moments.filter((_, i) => i % few === SHARE % few)) {
      const { location, drop } = await copyOf(original);
      const child = startDrill('killed-at');
      const { until } = outputOf(child);
      const ending = finished(child);
      child.send({ ...order, at, signal: 'SIGSTOP', url: urlOf(location) } satisfies Orders);
      await until('SIGSTOP');
      await asOldApp(location, 'UPDATE changeover_lease SET expires_at = 1');
      await resume(location, 'backfill');
      child.kill('SIGCONT');
      const { code, stderr } = await ending;
      expect({ at, code }).toEqual({ at, code: 1 });
      expect(stderr).toContain('Another process took the changeover over');
      expect({ at, differences: differences(expected, await using(location, contentsOf)) }).toEqual(
        {
          at,
          differences: [],
        },
      );
      await drop();
    }
  }, 1_200_000);

  describe('sees, when it is planted,', () => {
    const original = (): Promise<DatabaseLocation> =>
      copyOf(prepared('backfill')).then(({ location }) => location);
    let expected: Contents;

    beforeAll(async () => {
      const location = await original();
      await resume(location, 'backfill');
      expected = await using(location, contentsOf);
    });

    const afterFault = async (
      fault: (database: Database) => Promise<unknown>,
    ): Promise<string[]> => {
      const location = await original();
      await using(location, fault);
      await resume(location, 'backfill');
      return differences(expected, await using(location, contentsOf));
    };

    it('nothing where there is none', async () => {
      expect(await afterFault((database) => backfill(contextOf(database)))).toEqual([]);
    });

    it('a checkpoint that is committed ahead of its rows', async () => {
      const differing = await afterFault(async (database) => {
        await expect(backfill(contextOf(checkpointFirst(database)))).rejects.toThrow('planted');
        expect(await readState(database)).toMatchObject({ stage: 'BACKFILLING', hasThreads: true });
      });
      expect(differing.join('\n')).toMatch(/enhanced_messages: missing/);
    });

    it('a row that is there twice, another number, another way of ordering, another column', async () => {
      const faults = {
        changeover_state: 'UPDATE changeover_state SET migrated = migrated + 1',
        changeover_repairs: `INSERT INTO changeover_repairs (legacy_id, kind, did, repaired_at) VALUES (1, 'a', 'b', 1)`,
        messages: `UPDATE messages SET content = content || ' ' WHERE id = 50`,
        conversation_participants: `UPDATE conversation_participants SET role = 'admin'`,
        definitions: 'CREATE INDEX late ON messages (sender_id)',
        users: 'ALTER TABLE users ADD COLUMN late integer',
        changeover_places: 'INSERT INTO changeover_places (legacy_id, position) VALUES (1, 1)',
        sequences: `INSERT INTO contacts (owner_id, name, phone) VALUES (1, 'late', '1')`,
      };
      const location = await original();
      await resume(location, 'backfill');
      await asOldApp(location, ...Object.values(faults));
      const found = differences(expected, await using(location, contentsOf));
      const tables = new Set(found.map((line) => line.slice(0, line.indexOf(':'))));
      // What the old app writes is captured.
      expect([...tables].sort()).toEqual(
        [...Object.keys(faults), 'contacts', 'changeover_queue'].sort(),
      );
    });
  });
});

/** A fault: the first checkpoint is committed by itself, and the process ends before the rows are. */
function checkpointFirst(database: Database): Database {
  const isCheckpoint = (sql: string): boolean =>
    /UPDATE changeover_state SET\s+done_above/.test(sql);
  return withParts(database, {
    session: (work) =>
      database.session((session) =>
        work({
          all: (sql, parameters) => session.all(sql, parameters),
          run: (sql, parameters) => session.run(sql, parameters),
          transaction: async (inner) => {
            let checkpoint: [sql: string, parameters: Parameters | undefined] | undefined;
            try {
              return await session.transaction((transaction) =>
                inner(
                  noticing(transaction, (sql, parameters) => {
                    if (!isCheckpoint(sql)) return;
                    checkpoint = [sql, parameters];
                    throw new Error('planted crash');
                  }),
                ),
              );
            } catch (error) {
              const [sql, parameters] = checkpoint ?? [];
              if (sql !== undefined)
                await session.transaction((transaction) => transaction.run(sql, parameters));
              throw error;
            }
          },
        }),
      ),
  });
}

function noticing(
  queryable: Queryable,
  notice: (sql: string, parameters?: Parameters) => void,
): Queryable {
  return {
    all: (sql, parameters) => queryable.all(sql, parameters),
    run: async (sql, parameters) => {
      notice(sql, parameters);
      return queryable.run(sql, parameters);
    },
  };
}

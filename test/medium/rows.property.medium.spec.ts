import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { verify } from '../../src/changeover/verify.js';
import { findZone, type Zone } from '../../src/config/zone.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import type { OldRow } from '../../src/demo/irregular-rows.js';
import { insertRows } from '../../src/demo/old-values.js';
import {
  ACCOUNTS,
  CALLERS,
  GROUPS,
  oldTables,
  PEERS,
  timesNear,
} from '../helpers/arbitrary-rows.js';
import { readCells, show } from '../helpers/cells.js';
import { differencesIn } from '../helpers/contents.js';
import { emptyDatabase, ENGINES, failingAt, open, untilCrash } from '../helpers/databases.js';
import { contextOf, EXPAND } from '../helpers/legacy.js';
import { instantOf } from '../helpers/model.js';
import { differingAnswers } from '../helpers/old-answers.js';
import { asSql, type Refillable, refillable, SHAPES } from '../helpers/refillable.js';

/** Tables per shape of the old table. The long form: SEGUE_PROPERTY_RUNS=2000, with a seed of its own each time. */
const LONG = Number(process.env.SEGUE_PROPERTY_RUNS ?? 0);
const ALL_RUNS = LONG || 10;
const SEED = Number(process.env.SEGUE_PROPERTY_SEED ?? (LONG > 0 ? Date.now() % 2 ** 31 : 1));
const MILLISECONDS_PER_RUN = 3_000;

const QUESTIONS = { callers: CALLERS, peers: PEERS, groups: GROUPS };

const KEEPS_TEXT = ['untyped', 'texts'];

/** Local times at which clocks were shifted: by an hour, in both ways, and by other spans long ago. */
const SHIFTS: Readonly<Record<string, readonly string[]>> = {
  UTC: [],
  'Europe/Berlin': [
    ...['2019-03-31 02:00:00', '2019-10-27 02:00:00', '1980-04-06 02:00:00', '1980-09-28 02:00:00'],
    ...['1945-05-24 02:00:00', '1945-09-24 02:00:00', '1893-04-01 00:00:00', '2100-10-31 03:00:00'],
  ],
  'America/New_York': [
    ...['2019-03-10 02:00:00', '2019-11-03 01:00:00', '1974-01-06 02:00:00', '1883-11-18 12:00:00'],
  ],
};

const SHAPED = ENGINES.flatMap((engine) => [
  ...SHAPES[engine].map((shape): [EngineName, string, string] => [engine, shape, 'UTC']),
  [engine, 'typed', 'Europe/Berlin'] as const,
  [engine, 'typed', 'America/New_York'] as const,
]);

function zoneOf(name: string): Zone {
  const zone = findZone(name);
  if (zone === undefined) throw new Error(`There is no zone ${name}`);
  return zone;
}

describe.each(SHAPED)('any old table on %s, %s, in %s', (engine, shape, zone) => {
  const RUNS = zone === 'UTC' ? ALL_RUNS : Math.ceil(ALL_RUNS / 2);
  const anyTable = oldTables(engine, KEEPS_TEXT.includes(shape), SHIFTS[zone]);
  let old: Refillable;

  beforeAll(async () => {
    old = await refillable(engine, shape, ACCOUNTS, zoneOf(zone));
  });

  it(
    'is moved row by row as the model says, cut off or not, and answers old clients as before',
    async () => {
      const { database } = old;
      await fc.assert(
        fc.asyncProperty(anyTable, fc.option(fc.integer({ min: 1, max: 60 })), check),
        { seed: SEED, numRuns: RUNS },
      );

      async function check(rows: OldRow[], cutAt: number | null): Promise<void> {
        await old.refill(rows);
        const complaints = await run(database, rows.length, cutAt);
        if (complaints.length > 0) throw new Error(`${complaints.join('\n')}\n${asSql(rows)}`);
      }
    },
    30_000 + RUNS * MILLISECONDS_PER_RUN,
  );

  it(
    'is made anew row by row by a repair, when it changed unseen into any other',
    async () => {
      const { database } = old;
      await fc.assert(
        fc.asyncProperty(anyTable, anyTable, async (before, after) => {
          await old.refill(before);
          await backfill(contextOf(database));
          await old.rewrite(after);
          const options = { repair: true, sha256: true };
          const { found } = await verify(contextOf(database), options);
          const complaints = [
            ...found.map((mismatch) => `verify: ${JSON.stringify(mismatch)}`),
            ...(await differencesIn(database.reader, engine)).filter(isOfRows),
            ...(await differingAnswers(database, QUESTIONS)),
          ];
          if (complaints.length > 0)
            throw new Error(`${complaints.join('\n')}\n${asSql(before)}\n${asSql(after)}`);
        }),
        { seed: SEED, numRuns: Math.ceil(RUNS / 4) },
      );
    },
    30_000 + RUNS * MILLISECONDS_PER_RUN,
  );

  /** All that must be true of one table, as complaints. */
  async function run(database: Database, count: number, cutAt: number | null): Promise<string[]> {
    if (cutAt !== null) await untilCrash(() => backfill(contextOf(failingAt(database, cutAt))));
    await backfill(contextOf(database));
    const verification = await verify(contextOf(database));
    const { legacyMessages, migratedMessages, quarantinedMessages, found } = verification;
    const complaints = [
      ...found.map((mismatch) => `verify: ${JSON.stringify(mismatch)}`),
      ...(await differencesIn(database.reader, engine)),
      ...(await differingAnswers(database, QUESTIONS)),
    ];
    if (legacyMessages !== count || migratedMessages + quarantinedMessages !== count)
      complaints.push(
        `${count} rows: ${legacyMessages} = ${migratedMessages} + ${quarantinedMessages}`,
      );
    if (complaints.length > 0) return complaints;

    // Each step a second time: nothing is left to do, and nothing changes.
    await expand(contextOf(database), EXPAND);
    const again = await backfill(contextOf(database));
    expect(again).toEqual({ migrated: migratedMessages, quarantined: quarantinedMessages });
    await expect(verify(contextOf(database), { sha256: true })).resolves.toMatchObject({
      mismatches: 0,
    });
    return differencesIn(database.reader, engine);
  }
});

describe('any old time on sqlite', () => {
  it.each(Object.entries(SHIFTS))('is read as the model reads it, in %s', async (zone, shifts) => {
    const database = await open(await emptyDatabase('sqlite'), {
      create: true,
      zone: zoneOf(zone),
    });
    const times = timesNear('sqlite', shifts);
    const values = fc.sample(times, { numRuns: 3_000 + ALL_RUNS * 100, seed: SEED });
    await database.transaction(async (transaction) => {
      await transaction.run('CREATE TABLE times (value, instant)');
      await insertRows(
        transaction,
        'times',
        ['value'],
        values.map((value) => [value]),
      );
      await transaction.run(
        `UPDATE times SET instant = ${database.dialect.instantOf('value')} WHERE true`,
      );
    });
    const columns = { value: 'text', instant: 'integer' } as const;
    for (const { value, instant } of await readCells(database.reader, 'sqlite', 'times', columns))
      expect(`${show(value)}: ${show(instant)}`).toBe(
        `${show(value)}: ${String(instantOf('sqlite', value, zone))}`,
      );
  });
});

/** A thread that has lost its rows stays, with those who were in it. */
function isOfRows(difference: string): boolean {
  return !difference.startsWith('conversations') && !difference.startsWith('conversation_p');
}

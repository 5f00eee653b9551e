import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { fallingBack } from '../../src/changeover/falling-back.js';
import { inspect } from '../../src/changeover/inspect.js';
import { rollback } from '../../src/changeover/rollback.js';
import { setUpIfEmpty } from '../../src/changeover/setup.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { findZone, UTC, type Zone } from '../../src/config/zone.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { generateLegacy } from '../../src/demo/legacy-generator.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { differencesIn } from '../helpers/contents.js';
import { emptyDatabase, ENGINES, open } from '../helpers/databases.js';
import { contextOf, EXPAND, migrate } from '../helpers/legacy.js';
import { differingAnswers } from '../helpers/old-answers.js';

const BERLIN = zoneOf('Europe/Berlin');
const BACK = { to: 'LEGACY', migrationsTable: EXPAND.migrationsTable } as const;

/** An old time, the instant that it is in Berlin, and whether the old text has to be kept beside it. */
interface Case {
  readonly what: string;
  /** As SQL. */
  readonly time: string;
  readonly instant: string;
  readonly isRaw?: true;
}

const ON_BOTH: Case[] = [
  { what: 'winter', time: `'2019-01-01 08:00:00'`, instant: '2019-01-01T07:00:00Z' },
  { what: 'summer', time: `'2019-07-01 08:00:00'`, instant: '2019-07-01T06:00:00Z' },
  { what: 'before the leap', time: `'2019-03-31 01:59:59'`, instant: '2019-03-31T00:59:59Z' },
  {
    what: 'leapt over, as if the clocks had not leapt',
    time: `'2019-03-31 02:30:00'`,
    instant: '2019-03-31T01:30:00Z',
    isRaw: true,
  },
  { what: 'after the leap', time: `'2019-03-31 03:00:00'`, instant: '2019-03-31T01:00:00Z' },
  {
    what: 'twice, and the earlier',
    time: `'2019-10-27 02:30:00'`,
    instant: '2019-10-27T00:30:00Z',
  },
  { what: 'the end of twice', time: `'2019-10-27 02:59:59'`, instant: '2019-10-27T00:59:59Z' },
  { what: 'after twice', time: `'2019-10-27 03:00:00'`, instant: '2019-10-27T02:00:00Z' },
  { what: 'before 1970', time: `'1950-07-01 00:30:00'`, instant: '1950-06-30T23:30:00Z' },
  { what: 'two hours ahead', time: `'1945-07-01 12:00:00'`, instant: '1945-07-01T09:00:00Z' },
  { what: 'by the sun', time: `'1890-01-01 00:00:00'`, instant: '1889-12-31T23:06:32Z' },
  { what: 'long ago', time: `'0001-01-02 00:00:00'`, instant: '0001-01-01T23:06:32Z' },
];

const CASES: Record<EngineName, Case[]> = {
  sqlite: [
    ...ON_BOTH,
    ...(
      [
        ['ISO text', `'2019-07-01T08:00:00'`, '2019-07-01T06:00:00Z'],
        ['with a fraction', `'2019-07-01 08:00:00.250'`, '2019-07-01T06:00:00.250Z'],
        ['a date alone', `'2019-07-01'`, '2019-06-30T22:00:00Z'],
        ['to the minute, leapt over', `'2019-03-31 02:30'`, '2019-03-31T01:30:00Z'],
        ['of UTC', `'2019-07-01T08:00:00Z'`, '2019-07-01T08:00:00Z'],
        ['of another zone', `'2019-07-01 08:00:00+05:30'`, '2019-07-01T02:30:00Z'],
        ['of no leap elsewhere', `'2019-03-31 02:30:00-05:00'`, '2019-03-31T07:30:00Z'],
        ['seconds', '1561968000', '2019-07-01T08:00:00Z'],
        ['milliseconds', '1561968000250', '2019-07-01T08:00:00.250Z'],
        ['a decimal', '1561968000.5', '2019-07-01T08:00:00.500Z'],
      ] as const
    ).map(([what, time, instant]): Case => ({ what, time, instant, isRaw: true })),
  ],
  postgres: [
    ...ON_BOTH,
    {
      what: 'microseconds',
      time: `'2019-07-01 08:00:00.123456'`,
      instant: '2019-07-01T06:00:00.123456Z',
    },
    {
      what: 'microseconds before 1970',
      time: `'1950-07-01 00:30:00.999999'`,
      instant: '1950-06-30T23:30:00.999999Z',
    },
    {
      what: 'microseconds at the end of twice',
      time: `'2019-10-27 02:59:59.999999'`,
      instant: '2019-10-27T00:59:59.999999Z',
    },
    {
      what: 'microseconds, leapt over',
      time: `'2019-03-31 02:00:00.000001'`,
      instant: '2019-03-31T01:00:00.000001Z',
      isRaw: true,
    },
  ],
};

describe.each(ENGINES)('old times in a zone, on %s', (engine) => {
  it('are the instants that the clocks there showed', async () => {
    const cases = CASES[engine];
    const { database } = await oldDatabase(
      engine,
      BERLIN,
      cases.map(({ time }) => time),
    );
    expect((await inspect(contextOf(database))).irregular).toEqual({
      'the time has another form, lies in the future, or cannot be read': cases.filter(
        ({ isRaw }) => isRaw,
      ).length,
    });
    expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    const copies = await copiesOf(database);
    cases.forEach(({ what, time, instant, isRaw = false }, index) => {
      expect({ what, time, ...copies[index] }).toEqual({
        what,
        time,
        sentAt: microsecondsOf(instant),
        isRaw,
      });
    });
    expect(await differencesIn(database.reader, engine)).toEqual([]);
    expect(await askAll(database)).toEqual([]);
  });

  it('are raw in 2100 and later, which lies in the future anywhere', async () => {
    const times = ['2099-07-01 12:00:00', '2100-12-31 23:59:59', '2101-07-01 00:00:00'];
    const { database } = await oldDatabase(engine, BERLIN, [
      `'2019-07-01 08:00:00'`,
      ...[...times, '9999-12-31 23:59:59'].map((time) => `'${time}'`),
    ]);
    expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    expect((await copiesOf(database)).map(({ isRaw }) => isRaw)).toEqual([
      ...[false, true, true, true, true],
    ]);
    expect(await askAll(database)).toEqual([]);
  });

  it.each([
    ['+02:00', '+1 hour', false],
    ['+02:00', '+3 hours', true],
    ['-05:00', '-6 hours', false],
    ['-05:00', '-4 hours', true],
  ])('of %s are in the future by its clocks: %s by those of UTC', async (name, by, isRaw) => {
    const time =
      engine === 'sqlite'
        ? `datetime('now', '${by}')`
        : `date_trunc('second', now() AT TIME ZONE 'UTC' + interval '${by}')`;
    const { database } = await oldDatabase(engine, zoneOf(name), [time]);
    expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    expect(await copiesOf(database)).toMatchObject([{ isRaw }]);
  });

  it('are shown in their order to old clients, where instants are not shown at all', async () => {
    // Written in the hour that comes twice: by their instants the second and the fourth are later than all others.
    const times = ['02:10:00', '02:05:00', '02:50:00', '02:30:00', '03:00:00', '01:59:59'];
    const { database } = await oldDatabase(
      engine,
      BERLIN,
      times.map((time) => `'2019-10-27 ${time}'`),
    );
    await migrate(database);
    expect(await askAll(database)).toEqual([]);
  });

  it.each([
    // The hour that comes twice: the old text is the same, and only the forward check sees it.
    ['sent_at = sent_at + 3600000000', 'sent_at'],
    ['sent_at = sent_at - 3600000000, position = position - 3600000000', 'created_at'],
    ['position = position + 3600000000', 'position'],
  ])('are compared in it: %s is found', async (fault, column) => {
    const { database } = await oldDatabase(engine, BERLIN, [
      `'2019-07-01 08:00:00'`,
      `'2019-10-27 02:30:00'`,
    ]);
    await migrate(database);
    await database.transaction((transaction) =>
      transaction.run(`UPDATE enhanced_messages SET ${fault} WHERE id = 2`),
    );
    const { found } = await verify(contextOf(database));
    expect(found).toContainEqual(
      expect.objectContaining({
        legacyId: '2',
        kind: 'differs',
        detail: expect.stringContaining(column),
      }),
    );
    expect(found.every(({ legacyId }) => legacyId === '2')).toBe(true);
  });
});

describe.each(ENGINES)('the zone of old times, on %s', (engine) => {
  it('is settled by expand, and another one is refused from then on', async () => {
    const { location, database } = await oldDatabase(engine, BERLIN, [`'2019-07-01 08:00:00'`]);
    // Until then any may be tried: inspect tells what it would do.
    await open(location, { zone: UTC });
    await migrate(database);
    for (const name of ['UTC', 'America/New_York', '+01:00']) {
      const refused = open(location, { zone: zoneOf(name) });
      await expect(refused).rejects.toMatchObject({ code: 'BAD_CONFIG' });
      await expect(refused).rejects.toThrow(`"${name}"`);
      await expect(refused).rejects.toThrow('"Europe/Berlin"');
      await expect(refused).rejects.toThrow(/LEGACY_TIMEZONE=Europe\/Berlin.*rollback --to LEGACY/);
    }
    // The same clocks by another name.
    const again = await open(location, { zone: zoneOf('europe/berlin') });
    expect(again.dialect.zone.name).toBe('Europe/Berlin');
    expect(await verify(contextOf(again))).toMatchObject({ mismatches: 0 });
  });

  it.each([false, true])('is free again after a rollback to LEGACY, purge: %s', async (purge) => {
    const { location, database } = await oldDatabase(engine, BERLIN, [`'2019-07-01 08:00:00'`]);
    await migrate(database);
    await rollback(contextOf(database), { ...BACK, purge });
    await database.close();
    const other = await open(location, { zone: zoneOf('Asia/Kolkata') });
    expect(await migrate(other)).toMatchObject({ mismatches: 0 });
    expect(await copiesOf(other)).toEqual([
      { sentAt: microsecondsOf('2019-07-01T02:30:00Z'), isRaw: false },
    ]);
    await expect(open(location, { zone: BERLIN })).rejects.toThrow('"Asia/Kolkata"');
  });

  it('sends a server that reads the new side to the old one, when it is settled anew meanwhile', async () => {
    const { location, database } = await oldDatabase(engine, BERLIN, [`'2019-07-01 08:00:00'`]);
    await migrate(database);
    const { dialect } = database;
    const from = newSideSql(dialect, DEFAULT_MAPPING, true);
    const to = oldSideSql(dialect, DEFAULT_MAPPING);
    const { reader } = fallingBack(database, { new: from, old: to, alone: from });
    const ask = (): Promise<object[]> => reader.all(from.message, { me: '1', id: '1' });
    const before = await ask();
    expect(before).toMatchObject([{ created_at: '2019-07-01 08:00:00' }]);

    await rollback(contextOf(database), BACK);
    await migrate(await open(location, { zone: zoneOf('Asia/Kolkata') }));
    expect(await ask()).toEqual(before);
  });

  it('is refused to whoever was there before it was settled', async () => {
    const { location, database } = await oldDatabase(engine, BERLIN, [`'2019-07-01 08:00:00'`]);
    const before = await open(location, { zone: UTC });
    await expand(contextOf(database), EXPAND);
    await expect(backfill(contextOf(before))).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringMatching(/"UTC".*"Europe\/Berlin".*start it/),
    });
    expect(await backfill(contextOf(database))).toMatchObject({ migrated: 1 });
  });

  it('keeps the shifts that it was settled with, whatever this version of Node knows', async () => {
    const { location, database } = await oldDatabase(engine, BERLIN, [
      `'2019-07-01 08:00:00'`,
      `'2019-03-31 02:30:00'`,
    ]);
    await expand(contextOf(database), EXPAND);
    await database.transaction((transaction) =>
      transaction.run(`UPDATE changeover_state SET zone_shifts = '3600 1000000000:10800'`),
    );
    const again = await open(location, { zone: BERLIN });
    expect(again.dialect.zone.name).toBe('Europe/Berlin');
    expect(await migrate(again)).toMatchObject({ mismatches: 0 });
    expect(await copiesOf(again)).toEqual([
      { sentAt: microsecondsOf('2019-07-01T05:00:00Z'), isRaw: false },
      { sentAt: microsecondsOf('2019-03-30T23:30:00Z'), isRaw: false },
    ]);
  });

  it('is settled too where there is no old side', async () => {
    const location = await emptyDatabase(engine);
    const database = await open(location, { create: true, zone: BERLIN });
    await setUpIfEmpty(database, DEFAULT_MAPPING, EXPAND.migrationsTable);
    await expect(open(location)).rejects.toMatchObject({ code: 'BAD_CONFIG' });
  });
});

/** Rows with these times (as SQL) between persons 1 and 2, under the ids 1, 2, 3 …; nothing else is irregular. */
async function oldDatabase(
  engine: EngineName,
  zone: Zone,
  times: readonly string[],
): Promise<{ location: DatabaseLocation; database: Database }> {
  const location = await emptyDatabase(engine);
  const database = await open(location, { create: true, zone });
  await generateLegacy(database, DEFAULT_MAPPING, { messages: 0, seed: 1 });
  await database.transaction(async (transaction) => {
    for (const [index, time] of times.entries())
      await transaction.run(
        `INSERT INTO messages (id, sender_id, recipient_id, content, type, status, created_at)
         VALUES (${index + 1}, ${1 + (index % 2)}, ${2 - (index % 2)}, 'hello', 'text', 'sent', ${time})`,
      );
  });
  return { location, database };
}

async function copiesOf({ reader }: Database): Promise<{ sentAt: string; isRaw: boolean }[]> {
  const rows = await reader.all<{ at: string; mask: number }>(
    'SELECT CAST(sent_at AS text) AS at, raw_mask AS mask FROM enhanced_messages ORDER BY id',
  );
  return rows.map(({ at, mask }) => ({ sentAt: at, isRaw: mask !== 0 }));
}

function askAll(database: Database): Promise<string[]> {
  return differingAnswers(database, { callers: [1n, 2n], peers: [1n, 2n], groups: [1n] });
}

/** Of an ISO text with up to six digits after the second. */
function microsecondsOf(iso: string): string {
  const [, seconds = '', digits = ''] = /^(.*?)(?:\.(\d+))?Z$/.exec(iso) ?? [];
  return String(BigInt(Date.parse(`${seconds}Z`)) * 1_000n + BigInt(digits.padEnd(6, '0')));
}

function zoneOf(name: string): Zone {
  const zone = findZone(name);
  if (zone === undefined) throw new Error(`There is no zone ${name}`);
  return zone;
}

import fc from 'fast-check';
import type { EngineName } from '../../src/database/dialect.js';
import type { OldRow } from '../../src/demo/irregular-rows.js';
import { type OldValue, Real, TextBytes } from '../../src/demo/old-values.js';

/** Those with an account, in every table made of these rows. */
export const ACCOUNTS = [1n, 2n, 3n, 0n, -7n, 2n ** 53n + 1n];

/** One without. */
const NOBODY = 4n;

/** Whose queries are asked, about whom, and about which groups. */
export const CALLERS = [1n, 2n, NOBODY];
export const PEERS = [1n, 2n, 0n, 2n ** 53n + 1n];
export const GROUPS = [1n, 0n, -3n, 2n ** 53n + 1n];

const LEAST = -(2n ** 63n);
const MOST = 2n ** 63n - 1n;

/**
 * Tables of a few rows with any value that the engine lets into a column, mostly sensible ones, so that threads,
 * ties and pairs come up. They shrink to few, plain rows.
 * @param keepsText whether a column of ids keeps '1' as a text, beside 1
 * @param shifts local times, as `2019-03-31 02:00:00`, near which many rows are
 */
export function oldTables(
  engine: EngineName,
  keepsText: boolean,
  shifts: readonly string[] = [],
): fc.Arbitrary<OldRow[]> {
  const sqlite = engine === 'sqlite';
  const odd = sqlite ? fc.oneof(ODD_VALUE, ODD_TEXT) : fc.constant(null);
  // Old queries that compare such a column with itself, and with a number, then disagree about who is in a group.
  const oddGroup = sqlite && keepsText ? fc.oneof(ODD_VALUE, NO_NUMBER) : odd;
  const content = sqlite ? fc.oneof(ODD_VALUE, ODD_TEXT) : textFor(engine);
  return fc.uniqueArray(
    fc.record({
      id: fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 1, max: 15 }) },
        fc.constantFrom(0, -1, -2, 2n ** 53n + 1n, 2n ** 53n, LEAST, LEAST + 1n, MOST, MOST - 1n),
      ),
      senderId: reference([1, 2, 3, NOBODY, 0, -7], odd),
      recipientId: reference([2, 1, null, NOBODY, 0], odd),
      groupId: reference([null, 1, 0, -3], oddGroup),
      content: fc.oneof(fc.constant('hello'), textFor(engine), fc.constant(null), content),
      type: word(['text', 'image', 'audio', 'video', 'file'], 'text ', engine),
      status: word(['sent', 'delivered', 'read'], 'READ', engine),
      createdAt: timesNear(engine, shifts),
    }),
    { selector: ({ id }) => String(id), maxLength: 12, size: 'max' },
  );
}

/** Any time of the old table; mostly one within hours of a shift, where there are some. */
export function timesNear(engine: EngineName, shifts: readonly string[]): fc.Arbitrary<OldValue> {
  const any = engine === 'sqlite' ? SQLITE_TIME : POSTGRES_TIME;
  if (shifts.length === 0) return any;
  const near = fc
    .tuple(
      fc.constantFrom(...shifts.map((shift) => Date.parse(`${shift.replace(' ', 'T')}Z`))),
      fc.oneof(
        fc.integer({ min: -4, max: 4 }).map((halves) => halves * 1_800),
        fc.integer({ min: -9_000, max: 9_000 }),
      ),
      fc.constantFrom(-1, 0, 0, 1),
    )
    .map(([at, seconds, second]) =>
      new Date(at + (seconds + second) * 1_000).toISOString().slice(0, 19).replace('T', ' '),
    );
  const fraction = fc
    .integer({ min: 0, max: 999_999 })
    .map((n) => `.${String(n).padStart(6, '0')}`);
  const otherForm = fc
    .tuple(
      near,
      fc.constantFrom('T', ' '),
      fraction,
      fc.constantFrom('', '', 'Z', '+01:00', '-05:00'),
    )
    .map(([text, between, digits, zone]) => text.replace(' ', between) + digits + zone);
  const form =
    engine === 'sqlite'
      ? fc.oneof(
          otherForm,
          near.map((text) => text.slice(0, 16)),
        )
      : fc.tuple(near, fraction).map((parts) => parts.join(''));
  return fc.oneof(
    { weight: 6, arbitrary: near },
    { weight: 2, arbitrary: form },
    { weight: 2, arbitrary: any },
  );
}

function reference(
  common: readonly OldValue[],
  odd: fc.Arbitrary<OldValue>,
): fc.Arbitrary<OldValue> {
  return fc.oneof(
    { weight: 16, arbitrary: fc.constantFrom(...common) },
    { weight: 1, arbitrary: fc.constantFrom(null, 2n ** 53n + 1n, LEAST, MOST) },
    { weight: 2, arbitrary: odd },
  );
}

function word(words: readonly string[], near: string, engine: EngineName): fc.Arbitrary<OldValue> {
  return fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...words) },
    { weight: 1, arbitrary: fc.constantFrom(null, '', near, words[0]?.toUpperCase() ?? '') },
    {
      weight: 1,
      arbitrary:
        engine === 'sqlite'
          ? fc.oneof(ODD_VALUE, ODD_TEXT, fc.constant(Buffer.from(words[0] ?? '')))
          : textFor(engine),
    },
  );
}

/** Any text; PostgreSQL takes no NUL. */
function textFor(engine: EngineName): fc.Arbitrary<string> {
  const any = fc.string({ unit: 'binary', maxLength: 6 });
  return engine === 'sqlite' ? any : any.map((text) => text.replaceAll('\0', ''));
}

/** Values that a column of SQLite may hold though nobody would expect them in it. */
const ODD_VALUE: fc.Arbitrary<OldValue> = fc.oneof(
  fc.constantFrom<OldValue>(0, 1, new Real(1), 1.5, new Real(0), new Real(1e300), MOST, LEAST),
  fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ maxLength: 3 }).map((bytes) => new TextBytes(Buffer.from(bytes))),
  fc.double({ noNaN: true }).map((value) => new Real(value)),
);

const NO_NUMBER = fc.constantFrom<OldValue>('', 'team', '1x', '0x1', '\0', Buffer.from('1'));

/** Texts that look like numbers, to some. */
const ODD_TEXT = fc.oneof(
  NO_NUMBER,
  fc.constantFrom<OldValue>('1', '2', '0', ' 1', '1 ', '1\0', '1.0', '1e0', '+1', '-3'),
  fc.constantFrom<OldValue>('9007199254740993', '9223372036854775808'),
);

const two = (most: number): fc.Arbitrary<string> =>
  fc.integer({ min: 0, max: most }).map((n) => String(n).padStart(2, '0'));

/** Mostly times; each part may be one that no time has. */
const SQLITE_TIME_TEXT = fc
  .tuple(
    fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom('2019', '2020', '1970', '1969') },
      fc.constantFrom('0000', '0001', '1900', '2000', '9999', '-001', '19', '12019', '+2019', ''),
    ),
    fc.constantFrom('-', '-', '-', '-', '-', '/', ''),
    fc.oneof({ weight: 3, arbitrary: fc.constantFrom('01', '02') }, two(13)),
    fc.oneof({ weight: 3, arbitrary: fc.constantFrom('01', '28') }, two(32)),
    fc.constantFrom(' ', ' ', ' ', 'T', 'T', 't', '  ', '', '\n'),
    fc.oneof(
      { weight: 8, arbitrary: fc.tuple(two(25), two(60), two(61)).map((all) => all.join(':')) },
      { weight: 2, arbitrary: fc.tuple(two(23), two(59)).map((all) => all.join(':')) },
      fc.constantFrom('', '1:02:03', '01:02:03:04', '01:02:', '-1:00:00'),
    ),
    fc.oneof(
      { weight: 4, arbitrary: fc.constant('') },
      { weight: 2, arbitrary: fc.integer({ min: 0, max: 999_999_999 }).map((n) => `.${n}`) },
      fc.constantFrom('.', '.000', '.0000001', '.9999999', ',5', '.5.5', '.1e1'),
    ),
    fc.oneof(
      { weight: 6, arbitrary: fc.constant('') },
      fc.constantFrom('Z', '+05:30', '-11:00', '+14:00', '+00:00', '-00:00'),
      fc.constantFrom('z', ' Z', '+15:00', '+24:00', '+5:30', '+0530', '+05', ' +05:30', '+05:60'),
      fc.constantFrom(' ', '\0', '\0Z', ' utc', '\n', 'ZZ', ' localtime'),
    ),
  )
  .map(([year, dash, month, day, between, clock, fraction, zone]) =>
    [year, dash, month, dash, day, between, clock, fraction, zone].join(''),
  );

/** Anything that may stand where a time is expected. */
const SQLITE_TIME: fc.Arbitrary<OldValue> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('2019-01-01 08:00:00', '2019-01-01 08:00:01', '2018-12-31 23:59:59'),
  },
  { weight: 6, arbitrary: SQLITE_TIME_TEXT },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.integer({ min: -100, max: 1_600_000_000 }),
      fc.integer({ min: 0, max: 1_600_000_000_000 }),
      fc.constantFrom(99_999_999_999, 100_000_000_000, -62_167_219_200, -62_167_219_201),
      fc.bigInt({ min: LEAST, max: MOST }),
    ),
  },
  {
    weight: 2,
    // No finer than microseconds: what a real beyond them rounds to is nobody's concern.
    arbitrary: fc.oneof(
      fc.integer({ min: 0, max: 1_600_000_000_000 }).map((n) => new Real(n / 1_000)),
      fc.integer({ min: 0, max: 1_600_000 }).map((n) => new Real(1_500_000_000_000 + n / 1_000)),
      fc.constantFrom(1e11, -1e11, 1e300, -1e300, Infinity, -Infinity).map((n) => new Real(n)),
    ),
  },
  { weight: 3, arbitrary: fc.oneof(fc.constant(null), ODD_VALUE, ODD_TEXT) },
  fc.constantFrom('now', 'NOW', '2458849.5', '12:00', '2999-01-01 00:00:00', '0000-00-00 00:00:00'),
  fc.constant(Buffer.from('2019-01-01 08:00:00')),
);

const POSTGRES_TIME: fc.Arbitrary<OldValue> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('2019-01-01 08:00:00', '2019-01-01 08:00:01', '2018-12-31 23:59:59'),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.date({
          min: new Date('0001-01-01T00:00:00Z'),
          max: new Date('2025-01-01T00:00:00Z'),
          noInvalidDate: true,
        }),
        fc.integer({ min: 0, max: 999 }),
      )
      .map(([date, micro]) => date.toISOString().replace('Z', String(micro).padStart(3, '0'))),
  },
  fc.constantFrom(null, 'infinity', '-infinity', '0001-12-31 23:59:59.999999 BC', '4713-01-01 BC'),
  fc.constantFrom('0001-01-01', '9999-12-31 23:59:59.999999', '10000-01-01', '294276-12-31'),
);

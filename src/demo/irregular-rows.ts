import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { EngineName } from '../database/dialect.js';
import { type OldValue, Real, TextBytes } from './old-values.js';

/** A row of the old table of messages, as an old app writes it; the database gives the id. */
export interface RegularRow {
  readonly senderId: number;
  readonly recipientId: number | null;
  readonly groupId: number | null;
  readonly content: string;
  readonly type: string;
  readonly status: string;
  readonly createdAt: string;
}

/** A row of the old table of messages, as it may be found. */
export type OldRow = Record<keyof RegularRow, OldValue> & { readonly id: number | bigint };

/** What a planted row must become. */
export interface Planted {
  readonly id: string;
  readonly kind: IrregularKind;
  readonly expect: 'migrated' | 'quarantined';
  /** The reason of the quarantine, or what of the row is kept aside and how it is shown. */
  readonly note: string;
}

export interface IrregularRows {
  /** How many of the rows are irregular: 0 to 1. */
  readonly share: number;
  /** Taken in turn; all that the engine can hold, unless given. */
  readonly kinds?: readonly IrregularKind[];
}

interface Kind {
  readonly change: (row: RegularRow, people: number, n: number) => Partial<OldRow>;
  readonly expect: Planted['expect'];
  readonly note: string;
  /** The one engine that can hold it, where the other refuses. */
  readonly only?: EngineName;
  /** How many are planted at most. */
  readonly most?: number;
}

const HUGE = 'x'.repeat(1_000_000);
const BEFORE = 'takes the position of the row before it by id; raw value kept';
const PARSED = 'placed by its instant; raw value kept';

/** Ids of nobody, so far beyond the people that none of them gets one later. */
const nobody = (people: number): number => people + 1_000;

const migrated = (
  change: Kind['change'],
  note = 'copied as it is',
  more: Pick<Kind, 'only' | 'most'> = {},
): Kind => ({ change, expect: 'migrated', note, ...more });

const quarantined = (change: Kind['change'], note: string, only?: EngineName): Kind => ({
  change,
  expect: 'quarantined',
  note,
  ...(only === undefined ? {} : { only }),
});

const content = (value: OldValue, more: Pick<Kind, 'only' | 'most'> = {}): Kind =>
  migrated(() => ({ content: value }), 'byte for byte and type for type', more);

const medium = (type: string, name: string): Kind =>
  migrated(
    () => ({ type, content: `https://cdn.example/${name}` }),
    `kind ${type}, the URL as text, no attachment`,
  );

const time = (value: OldValue, note: string, only?: EngineName): Kind =>
  migrated(() => ({ createdAt: value }), note, only === undefined ? {} : { only });

const sqliteTime = (value: OldValue, note: string): Kind => time(value, note, 'sqlite');

const KINDS = {
  'orphan-sender': migrated((_, people) => ({ senderId: nobody(people) }), 'sender null'),
  'orphan-recipient': migrated(
    (_, people) => ({ recipientId: nobody(people) + 1, groupId: null }),
    'participant without account',
  ),
  'sender-null-in-group': migrated(
    () => ({ senderId: null, recipientId: null, groupId: 1 }),
    'sender null',
  ),
  'sender-null': quarantined(
    () => ({ senderId: null, recipientId: 1, groupId: null }),
    'no-sender',
  ),
  'no-thread': quarantined(() => ({ recipientId: null, groupId: null }), 'no-thread'),
  'recipient-zero': quarantined(() => ({ recipientId: 0, groupId: null }), 'no-thread'),
  'all-zero': quarantined(() => ({ recipientId: 0, groupId: 0 }), 'no-thread'),
  'recipient-empty': quarantined(() => ({ recipientId: '', groupId: null }), 'no-thread', 'sqlite'),
  'recipient-no-number': quarantined(
    () => ({ recipientId: 'peer', groupId: null }),
    'no-thread',
    'sqlite',
  ),
  'group-no-number': quarantined(
    () => ({ recipientId: 1, groupId: 'team' }),
    'no-thread',
    'sqlite',
  ),
  'sender-no-number': quarantined(
    () => ({ senderId: 'me', recipientId: 1, groupId: null }),
    'no-sender',
    'sqlite',
  ),
  'recipient-and-group': migrated(
    () => ({ recipientId: 1, groupId: 1 }),
    'to the group; the old pair query shows it too',
  ),
  'group-zero': migrated(
    ({ recipientId }) => ({ recipientId: recipientId ?? 1, groupId: 0 }),
    'one-to-one',
  ),
  'group-empty': migrated(
    ({ recipientId }) => ({ recipientId: recipientId ?? 1, groupId: '' }),
    'one-to-one',
    { only: 'sqlite' },
  ),
  'self-message': migrated(
    ({ senderId }) => ({ recipientId: senderId, groupId: null }),
    'conversation with one participant',
  ),

  'content-null': content(null),
  'content-empty': content(''),
  'content-huge': content(HUGE, { most: 2 }),
  'content-four-byte': content('👩‍👩‍👧 𝒳'),
  'content-escaped': content('&lt;b&gt; \\n \\\\ %20 &amp;'),
  'content-control': content('a\u0001\u0002\u001f b'),
  'content-edges': content('  two spaces, then a newline \n'),
  'content-media': medium('image', 'a%20b.jpg'),
  'content-audio': medium('audio', 'note.ogg'),
  'content-video': medium('video', 'clip.mp4'),
  'content-file': medium('file', 'r%C3%A9sum%C3%A9.pdf'),
  'content-blob': content(Buffer.from([0x68, 0xff, 0x69]), { only: 'sqlite' }),
  'content-nul': content('a\0b', { only: 'sqlite' }),
  'content-invalid-utf8': content(new TextBytes(Buffer.from([0x68, 0xff, 0x69])), {
    only: 'sqlite',
  }),
  'content-integer': migrated(() => ({ content: 42 }), 'as text; the number kept', {
    only: 'sqlite',
  }),
  'content-real': migrated(() => ({ content: new Real(2) }), 'as text; the number kept', {
    only: 'sqlite',
  }),

  'type-null': migrated(() => ({ type: null }), 'kind text, raw value kept'),
  'type-unknown': migrated(() => ({ type: 'sticker' }), 'kind text, raw value kept'),
  'type-in-capitals': migrated(() => ({ type: 'IMAGE' }), 'kind text, raw value kept'),
  'status-null': migrated(() => ({ status: null }), 'not unread, raw value kept'),
  'status-unknown': migrated(() => ({ status: 'pending' }), 'not unread, raw value kept'),
  'status-with-blank': migrated(() => ({ status: 'sent ' }), 'not unread, raw value kept'),

  'time-null': time(null, BEFORE),
  'time-in-the-future': time('9999-12-31 23:59:59', BEFORE),
  'time-tie': time('2019-01-01 08:00:00', 'ties keep the order of old ids'),
  'time-microseconds': time('2019-02-03 04:05:06.123456', 'placed to the microsecond'),
  'time-infinity': time('infinity', BEFORE, 'postgres'),
  'time-minus-infinity': time('-infinity', BEFORE, 'postgres'),
  'time-before-christ': time('0044-03-15 12:00:00 BC', BEFORE, 'postgres'),
  'time-of-five-digits': time('12019-01-01 00:00:00', BEFORE, 'postgres'),
  'time-iso': migrated(
    ({ createdAt }) => ({ createdAt: `${createdAt.replace(' ', 'T')}.123Z` }),
    PARSED,
    { only: 'sqlite' },
  ),
  'time-with-zone': sqliteTime('2019-02-03T04:05:06+05:30', PARSED),
  'time-to-the-minute': sqliteTime('2019-02-03 04:05', PARSED),
  'time-date-only': sqliteTime('2019-02-03', PARSED),
  'time-epoch-seconds': sqliteTime(1_549_166_706, PARSED),
  'time-epoch-milliseconds': sqliteTime(1_549_166_706_123, PARSED),
  'time-epoch-decimal': sqliteTime(new Real(1_549_166_706.25), PARSED),
  'time-before-1970': sqliteTime(-1, PARSED),
  'time-beyond-numbers': sqliteTime(9_223_372_036_854_775_807n, BEFORE),
  'time-zeros': sqliteTime('0000-00-00 00:00:00', BEFORE),
  'time-no-such-day': sqliteTime('2011-02-31 00:00:00', BEFORE),
  'time-hour-24': sqliteTime('2011-02-28 24:00:00', BEFORE),
  'time-negative-year': sqliteTime('-2011-02-28 00:00:00', BEFORE),
  'time-word': sqliteTime('now', BEFORE),
  'time-garbage': sqliteTime('yesterday at five', BEFORE),
  'time-empty': sqliteTime('', BEFORE),
  'time-after-nul': sqliteTime('2019-01-01 08:00:00\0.5', BEFORE),
  'time-blob': sqliteTime(Buffer.from('2019-01-01 08:00:00'), BEFORE),

  'id-negative': migrated((_, __, n) => ({ id: -1 - n })),
  'id-large': migrated((_, __, n) => ({ id: 2n ** 53n + 1n + 2n * BigInt(n) }), 'ids as text'),
  // These two leave the row as it is: the first gets a twin, the second goes away, as after a hard delete.
  'exact-duplicate': migrated(() => ({}), 'a message of its own'),
  hole: migrated(() => ({})),
} satisfies Record<string, Kind>;

export type IrregularKind = keyof typeof KINDS;

/** The irregularities that an engine can hold. */
export function irregularKinds(engine: EngineName): IrregularKind[] {
  return (Object.keys(KINDS) as IrregularKind[]).filter((name) => {
    const { only }: Kind = KINDS[name];
    return only === undefined || only === engine;
  });
}

/**
 * The statement that makes the old table of messages as it is often found: without foreign keys, NOT NULL and CHECK,
 * and on SQLite with a column of content that has no type.
 */
export function createLooseMessages(engine: EngineName, { messages }: LegacyMapping): string {
  const { table, columns } = messages;
  const [key, any, when] =
    engine === 'sqlite'
      ? ['INTEGER PRIMARY KEY AUTOINCREMENT', '', 'DATETIME']
      : ['BIGSERIAL PRIMARY KEY', 'TEXT', 'TIMESTAMP'];
  return `CREATE TABLE "${table}" ("${columns.id}" ${key}, "${columns.senderId}" INTEGER, "${columns.recipientId}" INTEGER,
      "${columns.groupId}" INTEGER, "${columns.content}" ${any}, "${columns.type}" TEXT DEFAULT 'text',
      "${columns.status}" TEXT DEFAULT 'sent', "${columns.createdAt}" ${when} DEFAULT CURRENT_TIMESTAMP)`;
}

/** Makes some of many regular rows irregular, and keeps the books on what each must become. */
export class Planter {
  readonly planted: Planted[] = [];
  private readonly share: number;
  private readonly kinds: readonly IrregularKind[];
  private readonly counts = new Map<IrregularKind, number>();
  private turn = 0;
  private lastId = 0;

  constructor(
    engine: EngineName,
    { share, kinds }: IrregularRows,
    private readonly people: number,
    private readonly random: () => number,
  ) {
    this.share = share;
    this.kinds = kinds ?? irregularKinds(engine);
  }

  /** The last id that was given in turn: where the old app goes on. */
  get lastTurn(): number {
    return this.lastId;
  }

  /** What is inserted for a regular row: mostly itself, with the next id. */
  rowsFor(regular: RegularRow): OldRow[] {
    const row = { id: this.nextId(), ...regular };
    if (this.random() >= this.share) return [row];
    const name = this.nextKind();
    if (name === undefined) return [row];
    if (name === 'hole') return [];
    if (name === 'exact-duplicate') {
      const twin = { ...row, id: this.nextId() };
      this.write(twin, name);
      return [row, twin];
    }
    const kind: Kind = KINDS[name];
    const changed = { ...row, ...kind.change(regular, this.people, this.planted.length) };
    this.write(changed, name);
    return [changed];
  }

  private nextId(): number {
    this.lastId += 1;
    return this.lastId;
  }

  /** The next kind in turn that may still be planted. */
  private nextKind(): IrregularKind | undefined {
    const from = this.turn % this.kinds.length;
    const inTurn = [...this.kinds.slice(from), ...this.kinds.slice(0, from)];
    const skipped = inTurn.findIndex((name) => {
      const { most = Infinity }: Kind = KINDS[name];
      return (this.counts.get(name) ?? 0) < most;
    });
    const name = inTurn[skipped];
    if (name === undefined) return undefined;
    this.turn = from + skipped + 1;
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    return name;
  }

  private write({ id }: OldRow, kind: IrregularKind): void {
    const { expect, note } = KINDS[kind];
    this.planted.push({ id: String(id), kind, expect, note });
  }
}

import type { EngineName } from '../../src/database/dialect.js';
import { type Cell, NULL, show, text } from './cells.js';

/**
 * What must become of an old table, computed from its rows alone and row by row, so that a fault of the copy's
 * statements is not repeated here. Nothing of it is taken from the changeover itself.
 */

/** A row of the old table, as it is stored. */
export interface OldCells {
  readonly id: Cell;
  readonly sender_id: Cell;
  readonly recipient_id: Cell;
  readonly group_id: Cell;
  readonly content: Cell;
  readonly type: Cell;
  readonly status: Cell;
  readonly created_at: Cell;
  /** The text that the database itself gives for content and time: a number's digits are its own. */
  readonly content_text: Cell;
  readonly created_text: Cell;
}

/** Rows of a table by their key, each value in the words of `show`. */
export type Table = Record<string, Record<string, string>>;

/** All that a changeover makes of an old table. Conversations are named by whose they are: their ids are free. */
export type Contents = Record<
  | 'conversations'
  | 'conversation_participants'
  | 'enhanced_messages'
  | 'legacy_raw_values'
  | 'changeover_quarantine'
  | 'links',
  Table
>;

type Thread =
  | { readonly kind: 'direct'; readonly low: bigint; readonly high: bigint }
  | { readonly kind: 'group'; readonly group: bigint };

interface Placed {
  readonly id: bigint;
  readonly row: OldCells;
  readonly position: bigint;
  readonly usable: bigint | null;
  readonly where: Thread | Reason;
}

type Reason = 'no-thread' | 'no-sender';

const KINDS = ['text', 'image', 'audio', 'video', 'file'];
const STATUSES = ['sent', 'delivered', 'read'];

/**
 * `accounts` are the ids in users; `startedAt` is when the backfill began, in microseconds; `zone` is the name of the
 * one that old times are in.
 */
export function expectedContents(
  engine: EngineName,
  rows: readonly OldCells[],
  accounts: ReadonlySet<bigint>,
  startedAt: bigint,
  zone: string,
): Contents {
  const placed = place(engine, rows, startedAt, zone);
  const contents: Contents = {
    conversations: {},
    conversation_participants: {},
    enhanced_messages: {},
    legacy_raw_values: {},
    changeover_quarantine: {},
    links: {},
  };
  const threads = new Map<string, { thread: Thread; rows: Placed[] }>();
  for (const each of placed) {
    const id = String(each.id);
    if (typeof each.where === 'string') {
      contents.changeover_quarantine[id] = { reason: show(text(each.where)) };
      contents.links[id] = { conversation: 'null' };
      continue;
    }
    const name = nameOf(each.where);
    contents.links[id] = { conversation: name };
    const { message, raw } = copyOf(engine, each, each.where, accounts, zone);
    contents.enhanced_messages[id] = { conversation: name, ...message };
    if (raw !== null) contents.legacy_raw_values[id] = { conversation: name, ...raw };
    const found = threads.get(name) ?? { thread: each.where, rows: [] };
    found.rows.push(each);
    threads.set(name, found);
  }
  for (const [name, { thread, rows: ofThread }] of threads) {
    const inOrder = ofThread.toSorted(
      (a, b) => compare(a.position, b.position) || compare(a.id, b.id),
    );
    contents.conversations[name] = conversationOf(thread, inOrder);
    for (const [user, values] of participantsOf(thread, inOrder))
      contents.conversation_participants[`${name} ${user}`] = values;
  }
  return contents;
}

/** Gives each row its thread or the reason why it has none, and its position. */
function place(
  engine: EngineName,
  rows: readonly OldCells[],
  startedAt: bigint,
  zone: string,
): Placed[] {
  const inOrder = rows
    .map((row) => ({
      row,
      id: wholeNumber(row.id) ?? 0n,
      usable: usable(engine, row, startedAt, zone),
    }))
    .toSorted((a, b) => compare(a.id, b.id));
  let last = inOrder.find((each) => each.usable !== null)?.usable ?? startedAt;
  return inOrder.map(({ row, id, usable: instant }) => {
    last = instant ?? last;
    return { row, id, usable: instant, position: last, where: threadOf(row) };
  });
}

function usable(engine: EngineName, row: OldCells, startedAt: bigint, zone: string): bigint | null {
  const instant = instantOf(engine, row.created_at, zone);
  return instant === null || instant > startedAt ? null : instant;
}

function threadOf({ sender_id, recipient_id, group_id }: OldCells): Thread | Reason {
  const sender = wholeNumber(sender_id);
  const recipient = wholeNumber(recipient_id);
  const group = wholeNumber(group_id);
  if (group !== null && group !== 0n)
    return sender === null && sender_id.type !== 'null' ? 'no-sender' : { kind: 'group', group };
  if (isNone(group_id) && recipient !== null && recipient !== 0n) {
    if (sender === null) return 'no-sender';
    const [low, high] = sender < recipient ? [sender, recipient] : [recipient, sender];
    return { kind: 'direct', low, high };
  }
  return 'no-thread';
}

/** No recipient, no group: what old apps write for it. */
function isNone(cell: Cell): boolean {
  return ['null', '""', '0', 'real 0'].includes(show(cell));
}

function wholeNumber(cell: Cell): bigint | null {
  return cell.type === 'integer' ? cell.value : null;
}

function nameOf(thread: Thread): string {
  return thread.kind === 'group' ? `group ${thread.group}` : `pair ${thread.low} ${thread.high}`;
}

function copyOf(
  engine: EngineName,
  { id, row, position, usable: instant }: Placed,
  thread: Thread,
  accounts: ReadonlySet<bigint>,
  zone: string,
): { message: Record<string, string>; raw: Record<string, string> | null } {
  const sender = wholeNumber(row.sender_id);
  const hasAccount = sender !== null && accounts.has(sender);
  const type = wordIn(KINDS, row.type);
  const status = wordIn(STATUSES, row.status);
  const isNumber = row.content.type === 'integer' || row.content.type === 'real';
  const kept: [bit: number, column: RawColumn, isKept: boolean][] = [
    [1, 'sender_id', !hasAccount && row.sender_id.type !== 'null'],
    [2, 'recipient_id', thread.kind === 'group' && row.recipient_id.type !== 'null'],
    [4, 'group_id', thread.kind === 'direct' && row.group_id.type !== 'null'],
    [8, 'type', type === null],
    [16, 'status', status === null],
    [32, 'created_at', instant === null || !isRebuilt(engine, row.created_at, instant, zone)],
    [64, 'content', isNumber],
  ];
  const mask = kept.reduce((sum, [bit, , isKept]) => sum + (isKept ? bit : 0), 0);
  const message = {
    id: String(id),
    sender_id: hasAccount ? String(sender) : 'null',
    legacy_message_id: String(id),
    client_id: 'null',
    kind: show(text(type ?? 'text')),
    text: show(isNumber ? row.content_text : row.content),
    sent_at: String(position),
    position: String(position),
    status: String(status === null ? 0 : STATUSES.indexOf(status) + 1),
    raw_mask: String(mask),
    removed_at: 'null',
  };
  if (mask === 0) return { message, raw: null };
  const raw = Object.fromEntries(
    kept.map(([, column, isKept]) => [column, show(isKept ? rawOf(engine, row[column]) : NULL)]),
  );
  return { message, raw: { ...raw, created_text: show(row.created_text) } };
}

type RawColumn =
  'sender_id' | 'recipient_id' | 'group_id' | 'content' | 'type' | 'status' | 'created_at';

/** The type is kept where a column can hold any; on PostgreSQL the old column has it, and the text is enough. */
function rawOf(engine: EngineName, cell: Cell): Cell {
  return engine === 'postgres' && cell.type === 'integer' ? text(String(cell.value)) : cell;
}

function wordIn(words: readonly string[], cell: Cell): string | null {
  return words.find((word) => show(text(word)) === show(cell)) ?? null;
}

function conversationOf(thread: Thread, inOrder: readonly Placed[]): Record<string, string> {
  const [first, last] = [inOrder[0], inOrder.at(-1)];
  return {
    kind: show(text(thread.kind)),
    pair_low: thread.kind === 'direct' ? String(thread.low) : 'null',
    pair_high: thread.kind === 'direct' ? String(thread.high) : 'null',
    legacy_group_id: thread.kind === 'group' ? String(thread.group) : 'null',
    name: 'null',
    created_at: String(first?.position),
    last_position: String(last?.position),
  };
}

function participantsOf(
  thread: Thread,
  inOrder: readonly Placed[],
): Map<bigint, Record<string, string>> {
  const writers = new Set<bigint>();
  for (const { row } of inOrder) {
    const sender = wholeNumber(row.sender_id);
    if (sender !== null) writers.add(sender);
  }
  const [founder] = writers;
  const everybody = thread.kind === 'group' ? writers : new Set([thread.low, thread.high]);
  return new Map(
    [...everybody].map((user) => [
      user,
      {
        role: show(text(thread.kind === 'group' && user === founder ? 'admin' : 'member')),
        has_written: writers.has(user) ? '1' : '0',
        left_at: 'null',
      },
    ]),
  );
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

const SECOND = 1_000_000n;
const DAY = 86_400n * SECOND;
/** The years 0 to 9999. */
const EARLIEST = -62_167_219_200n * SECOND;
const LATEST = 253_402_300_800n * SECOND - 1n;
/** From here up, a number is milliseconds. */
const MILLISECONDS_FROM = 100_000_000_000;
/** The zone farthest from Greenwich, in hours. */
const FARTHEST_ZONE = 14;

/** The instant of an old time in microseconds since 1970, UTC; null for what is none. */
export function instantOf(engine: EngineName, cell: Cell, zone: string): bigint | null {
  const time = engine === 'postgres' ? postgresTime(cell) : sqliteTime(cell);
  if (time === null || time.value < EARLIEST || time.value > LATEST) return null;
  return time.isLocal ? firstInstantAt(time.value, zone) : time.value;
}

/** What a value says, in microseconds since 1970: of the zone's clocks, or of UTC. */
interface Time {
  readonly value: bigint;
  readonly isLocal: boolean;
}

function postgresTime(cell: Cell): Time | null {
  const value = cell.type === 'text' ? timestampOf(cell.bytes) : null;
  return value === null ? null : { value, isLocal: true };
}

function sqliteTime(cell: Cell): Time | null {
  if (cell.type === 'text') return textTime(cell.bytes);
  const value = numberInstant(cell);
  return value === null ? null : { value, isLocal: false };
}

/**
 * The first instant at which the zone's clocks show a time. Where they leap over it, the instant that it would have been
 * had they not leapt.
 */
function firstInstantAt(local: bigint, zone: string): bigint {
  // No two shifts lie within four days of each other.
  const before = local - aheadAt(local - 2n * DAY, zone);
  const after = local - aheadAt(local + 2n * DAY, zone);
  const showing = [before, after].filter((instant) => instant + aheadAt(instant, zone) === local);
  return showing.toSorted(compare)[0] ?? before;
}

/** How far the zone's clocks are ahead of UTC. Before 1840 as then, after 2100 as at its end. */
function aheadAt(instant: bigint, zone: string): bigint {
  let seconds = Number(floorToSecond(instant) / SECOND);
  seconds = Math.max(Date.UTC(1840, 0) / 1_000, Math.min(seconds, Date.UTC(2101, 0) / 1_000 - 1));
  const cached = `${zone} ${seconds}`;
  let ahead = AHEAD.get(cached);
  if (ahead === undefined) {
    const clock = new Date(seconds * 1_000).toLocaleString('sv-SE', { timeZone: zone });
    ahead = BigInt(Date.parse(`${clock.replace(' ', 'T')}Z`) / 1_000 - seconds) * SECOND;
    AHEAD.set(cached, ahead);
  }
  return ahead;
}

const AHEAD = new Map<string, bigint>();

function floorToSecond(instant: bigint): bigint {
  return instant - (((instant % SECOND) + SECOND) % SECOND);
}

function numberInstant(cell: Cell): bigint | null {
  if (cell.type === 'integer')
    return cell.value * (cell.value >= MILLISECONDS_FROM ? 1_000n : SECOND);
  if (cell.type !== 'real') return null;
  const product = cell.value * (cell.value >= MILLISECONDS_FROM ? 1_000 : Number(SECOND));
  return Number.isFinite(product)
    ? BigInt(Math.sign(product) * Math.round(Math.abs(product)))
    : null;
}

const SQLITE_TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:(Z)|([+-])(\d\d):(\d\d))?)?$/;

function textTime(bytes: Buffer): Time | null {
  const parts = SQLITE_TIME.exec(bytes.toString('latin1'));
  if (parts === null) return null;
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', ...zone] =
    parts;
  const [utc, sign, zoneHour = '0', zoneMinute = '0'] = zone;
  if (Number(zoneHour) > FARTHEST_ZONE || Number(zoneMinute) > 59) return null;
  const seconds = secondsOf([year, month, day, hour, minute, second].map(Number));
  if (seconds === null) return null;
  const offset = (Number(zoneHour) * 60 + Number(zoneMinute)) * (sign === '-' ? -60 : 60);
  const value = (seconds - BigInt(offset)) * SECOND + microsecondsOf(fraction);
  return { value, isLocal: utc === undefined && sign === undefined };
}

const TIMESTAMP = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d+))?( BC)?$/;

/** PostgreSQL's own text of a timestamp: `infinity`, years before Christ and those of five digits are not usable. */
function timestampOf(bytes: Buffer): bigint | null {
  const parts = TIMESTAMP.exec(bytes.toString('latin1'));
  if (parts === null || parts[8] !== undefined || Number(parts[1]) > 9999) return null;
  const seconds = secondsOf(parts.slice(1, 7).map(Number));
  return seconds === null ? null : seconds * SECOND + microsecondsOf(parts[7] ?? '');
}

/** Digits after the second; those beyond microseconds are cut off. */
function microsecondsOf(fraction: string): bigint {
  return BigInt(fraction.slice(0, 6).padEnd(6, '0'));
}

/** Seconds since 1970 of a date and time that exist; null for 2011-02-31 and 24:00:00. */
function secondsOf(parts: readonly number[]): bigint | null {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const isSame =
    date.getUTCFullYear() === year &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  return isSame ? BigInt(date.getTime() / 1_000) : null;
}

/** Whether the old column's value is what is written anew from the instant. */
function isRebuilt(engine: EngineName, cell: Cell, instant: bigint, zone: string): boolean {
  const local = instant + aheadAt(instant, zone);
  if (engine === 'postgres') return postgresTime(cell)?.value === local;
  const iso = new Date(Number(floorToSecond(local) / 1_000n)).toISOString();
  return show(cell) === show(text(`${iso.slice(0, 10)} ${iso.slice(11, 19)}`));
}

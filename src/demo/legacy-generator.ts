import type { LegacyMapping, TableMapping } from '../config/legacy-mapping.js';
import type { Database, Queryable } from '../database/database.js';
import type { EngineName } from '../database/dialect.js';
import { createOldTable } from '../database/old-table.js';
import { oldTables } from '../schema.js';
import {
  createLooseMessages,
  type IrregularRows,
  type Planted,
  Planter,
  type RegularRow,
} from './irregular-rows.js';
import { insertRows, type OldValue } from './old-values.js';

export interface LegacySize {
  /** Number of rows in the old table of messages; from 0. */
  readonly messages: number;
  /** The same seed gives the same database. */
  readonly seed: number;
  /** Rows as real old tables have them; the old table is then made without the constraints that forbid them. */
  readonly irregular?: IrregularRows;
}

const ROWS_PER_TRANSACTION = 20_000;

/** One person for so many messages, one group for so many, and no fewer than these. */
const MESSAGES_PER_PERSON = 40;
const MESSAGES_PER_GROUP = 800;
const LEAST_PEOPLE = 12;
const LEAST_GROUPS = 3;

const FIRST_MESSAGE = Date.UTC(2019, 0, 1, 8);
const WORDS: readonly [string, ...string[]] = [
  'ok',
  ...'the a we you they can will did not see call meet train late early coffee lunch home office photo'.split(
    ' ',
  ),
  ...'link file please thanks sorry maybe sure tomorrow tonight again already still waiting done ready'.split(
    ' ',
  ),
  ...[':)', '👍', '“quote”', 'it’s', 'café', 'naïve'],
];

/** Seconds between two messages, and how far a message got: each as likely as the others. */
const PAUSES = [0, 0, 1, 5, 30, 400] as const;
const STATUSES = ['read', 'read', 'read', 'read', 'delivered', 'sent'] as const;

/**
 * Makes the seven old tables in an empty database and fills them with an old app's rows: people who write to each
 * other and in groups, in bursts, with times to the second and ties among them. All are regular, unless `irregular`
 * asks for others.
 * @param onRows told the number of messages in each transaction, once it is committed.
 * @returns what each planted row must become; nothing for regular rows.
 */
export async function generateLegacy(
  database: Database,
  mapping: LegacyMapping,
  { messages, seed, irregular = { share: 0 } }: LegacySize,
  onRows: (rows: number) => void = () => undefined,
): Promise<readonly Planted[]> {
  const random = randomFrom(seed);
  const people = Math.max(LEAST_PEOPLE, Math.round(messages / MESSAGES_PER_PERSON));
  const groups = Math.max(LEAST_GROUPS, Math.round(messages / MESSAGES_PER_GROUP));
  const { engine } = database.dialect;
  const { table, columns } = mapping.messages;
  await database.transaction(async (transaction) => {
    for (const old of oldTables(mapping))
      await transaction.run(
        irregular.share > 0 && old.mapping.table === table
          ? createLooseMessages(engine, mapping)
          : createOldTable(engine, old),
      );
    await insertPeople(transaction, mapping, people);
  });

  const next = messageMaker(random, people, groups);
  // Numbers of its own, so that the rows that stay regular are the same for every share.
  const planter = new Planter(engine, irregular, people, randomFrom(seed + 1));
  const names = COLUMNS.map((column) => columns[column]);
  for (let done = 0; done < messages; done += ROWS_PER_TRANSACTION) {
    const rows = Array.from({ length: Math.min(ROWS_PER_TRANSACTION, messages - done) }, next)
      .flatMap((row) => planter.rowsFor(row))
      .map((row) => COLUMNS.map((column) => row[column]));
    await database.transaction(async (transaction) => {
      await insertRows(transaction, table, names, rows);
      // Ids that are given do not move a sequence on.
      for (const statement of continueAfter(engine, table, columns.id, planter.lastTurn))
        await transaction.all(statement);
    });
    onRows(rows.length);
  }
  return planter.planted;
}

const COLUMNS = [
  'id',
  'senderId',
  'recipientId',
  'groupId',
  'content',
  'type',
  'status',
  'createdAt',
] as const;

/** What lets the old app's next row come after `id`; SQLite sees to it by itself. */
function continueAfter(engine: EngineName, table: string, key: string, id: number): string[] {
  return engine === 'sqlite'
    ? []
    : [`SELECT setval(pg_get_serial_sequence('"${table}"', '${key}'), ${id})`];
}

/** Numbers from 0 up to 1, the same for the same seed (mulberry32, Tommy Ettinger, public domain). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function messageMaker(random: () => number, people: number, groups: number): () => RegularRow {
  const upTo = (n: number): number => Math.floor(random() * n);
  const pick = <Value>(values: readonly [Value, ...Value[]]): Value =>
    values[upTo(values.length)] ?? values[0];
  // Squared, so that some people and groups have long threads and most have short ones.
  const someone = (): number => 1 + Math.floor(random() ** 2 * people);
  const membersOf = (group: number): number => 3 + (group % 12);
  let at = FIRST_MESSAGE;
  return () => {
    at += 1000 * pick(PAUSES);
    const isGroup = random() < 0.6;
    const group = 1 + Math.floor(random() ** 2 * groups);
    const senderId = isGroup ? 1 + ((group * 7 + upTo(membersOf(group)) * 5) % people) : someone();
    const recipientId = isGroup ? null : 1 + ((senderId + upTo(9)) % people);
    const status = isGroup ? 'read' : pick(STATUSES);
    const content = Array.from({ length: 1 + upTo(14) }, () => pick(WORDS)).join(' ');
    const createdAt = new Date(at).toISOString().slice(0, 19).replace('T', ' ');
    const groupId = isGroup ? group : null;
    return { senderId, recipientId, groupId, content, type: 'text', status, createdAt };
  };
}

async function insertPeople(
  transaction: Queryable,
  mapping: LegacyMapping,
  people: number,
): Promise<void> {
  const ids = Array.from({ length: people }, (_, i) => i + 1);
  const phone = (id: number): string => `080${String(id).padStart(8, '0')}`;
  const { users, settings, devices, contacts, callLogs, verificationCodes } = mapping;
  const insert = <Column extends string>(
    { table, columns }: TableMapping<Column>,
    rows: readonly Record<string, OldValue>[],
  ): Promise<void> => {
    const properties = Object.keys(rows[0] ?? {}) as Column[];
    return insertRows(
      transaction,
      table,
      properties.map((property) => columns[property]),
      rows.map((row) => properties.map((property) => row[property] ?? null)),
    );
  };
  await insert(
    users,
    ids.map((id) => ({
      phone: phone(id),
      name: `Person ${id}`,
      username: `person${id}`,
      country: 'NG',
    })),
  );
  await insert(
    settings,
    ids.filter((id) => id % 2 === 1).map((id) => ({ userId: id, darkMode: id % 3 === 0 })),
  );
  await insert(
    devices,
    ids
      .filter((id) => id % 3 === 0)
      .map((id) => ({
        userId: id,
        deviceId: `device-${id}`,
        deviceType: id % 2 ? 'ios' : 'android',
      })),
  );
  await insert(
    contacts,
    ids.map((id) => ({ ownerId: id, name: `Friend of ${id}`, phone: phone((id % people) + 1) })),
  );
  await insert(
    callLogs,
    ids.map((id) => ({
      callerId: id,
      calleeId: (id % people) + 1,
      direction: 'outgoing',
      duration: id,
    })),
  );
  await insert(
    verificationCodes,
    ids.filter((id) => id % 5 === 0).map((id) => ({ userId: id, code: String(100_000 + id) })),
  );
}

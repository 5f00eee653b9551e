import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { CapturedTable, CaptureTrigger } from '../database/capture-triggers.js';
import type { Database, Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { LEGACY_COLUMNS } from '../legacy/old-rows.js';

/** Where an entry of the queue comes from. */
export const SOURCES = { messages: 'messages', users: 'users', departures: 'departures' } as const;

/** Whether an entry is about an account, and no row of the old messages. */
export function isOfAccount(source: string): boolean {
  return source === SOURCES.users || source === SOURCES.departures;
}

/** The same in SQL. */
export const IS_OF_ACCOUNT = `source IN ('${SOURCES.users}', '${SOURCES.departures}')`;

/** The old tables whose writes are captured: the messages, and who is behind an account. */
function capturedTables({ messages, users }: LegacyMapping): CapturedTable[] {
  return [
    {
      table: messages.table,
      key: messages.columns.id,
      columns: LEGACY_COLUMNS.map((column) => messages.columns[column]),
      source: SOURCES.messages,
    },
    {
      table: users.table,
      key: users.columns.id,
      columns: [users.columns.id, users.columns.phone],
      source: SOURCES.users,
      departure: { source: SOURCES.departures, keeps: users.columns.phone },
    },
  ];
}

/** The statements that put all triggers on, where there are none. */
export function captureStatements(dialect: Dialect, mapping: LegacyMapping): readonly string[] {
  return capturedTables(mapping).flatMap((table) =>
    dialect.captureOf(table).flatMap(({ create }) => create),
  );
}

/**
 * Puts on the triggers that are missing or were altered, one transaction for each table, so that none is locked while
 * another one is waited for. From its commit on every write of the old app leaves an entry; on PostgreSQL it waits for
 * writes that are under way.
 * @param options.mayGoOn asked in each of the transactions: a rollback may have ended capture since it was looked at,
 *   and a trigger without its queue would make each write of the old app fail
 * @param options.wasOff called in each transaction that has put some on, last: a batch may hold the state's row, and
 *   ends only when it gets at the table
 * @returns the names of those that were missing.
 * @throws SegueError LOCK_TIMEOUT when a table stays locked by others.
 */
export async function putCaptureOn(
  database: Database,
  mapping: LegacyMapping,
  {
    mayGoOn = () => Promise.resolve(true),
    wasOff = () => Promise.resolve(),
  }: {
    mayGoOn?: (transaction: Queryable) => Promise<boolean>;
    wasOff?: (transaction: Queryable, names: readonly string[]) => Promise<void>;
  } = {},
): Promise<readonly string[]> {
  const put: string[] = [];
  for (const table of capturedTables(mapping)) {
    if ((await missingOn(database.reader, database.dialect, table)).length === 0) continue;
    const names = await database.restructure(async (transaction) => {
      if (!(await mayGoOn(transaction))) return [];
      // Looked at again: another process may have put them on meanwhile.
      const missing = await missingOn(transaction, database.dialect, table);
      for (const { create } of missing)
        for (const statement of create) await transaction.run(statement);
      const off = missing.map(({ name }) => name);
      if (off.length > 0) await wasOff(transaction, off);
      return off;
    });
    put.push(...names);
  }
  return put;
}

/** The names of capture triggers that are missing or were altered. Takes no lock. */
export async function findMissingCapture(
  { dialect, reader }: Database,
  mapping: LegacyMapping,
): Promise<readonly string[]> {
  const names: string[] = [];
  for (const table of capturedTables(mapping))
    names.push(...(await missingOn(reader, dialect, table)).map(({ name }) => name));
  return names;
}

/** Whether any trigger of ours is on. */
export async function isCaptureOn(
  { dialect, reader }: Database,
  mapping: LegacyMapping,
): Promise<boolean> {
  for (const { table } of capturedTables(mapping))
    if ((await reader.all(dialect.captureOn, { table })).length > 0) return true;
  return false;
}

/**
 * Takes all of them off, and then what they left in the queue. On PostgreSQL no lock is waited for longer than 50 ms at
 * a time.
 * @param keeps entries that stay in the queue: who has left, for a new side that is laid aside; its rows are compared anew
 */
export async function takeCaptureOff(
  database: Database,
  mapping: LegacyMapping,
  keeps: 'nothing' | 'departures' = 'nothing',
): Promise<void> {
  if (await isCaptureOn(database, mapping))
    for (const table of capturedTables(mapping))
      await database.restructure((transaction) => dropOn(transaction, database.dialect, table));
  await database.transaction((transaction) =>
    transaction.run(
      keeps === 'nothing'
        ? 'DELETE FROM changeover_queue'
        : `DELETE FROM changeover_queue WHERE source <> '${SOURCES.departures}'`,
    ),
  );
}

/** The same in the transaction that drops the queue: without it each write of the old app would fail. */
export async function dropCapture(
  transaction: Queryable,
  dialect: Dialect,
  mapping: LegacyMapping,
): Promise<void> {
  for (const table of capturedTables(mapping)) await dropOn(transaction, dialect, table);
}

async function dropOn(
  transaction: Queryable,
  dialect: Dialect,
  { table }: CapturedTable,
): Promise<void> {
  for (const { name } of await transaction.all<{ name: string }>(dialect.captureOn, { table }))
    for (const statement of dialect.dropCapture(table, name)) await transaction.run(statement);
}

async function missingOn(
  queryable: Queryable,
  dialect: Dialect,
  table: CapturedTable,
): Promise<readonly CaptureTrigger[]> {
  const found = await queryable.all<{ name: string; definition: string }>(dialect.captureOn, {
    table: table.table,
  });
  const present = new Map(found.map(({ name, definition }) => [name, definition]));
  return dialect
    .captureOf(table)
    .filter(({ name, definition }) => present.get(name) !== definition);
}

import type { LegacyMapping, TableMapping } from '../config/legacy-mapping.js';
import type { Database, Queryable } from '../database/database.js';
import type { ColumnDescription, Dialect } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';

/** A column of an old table. */
export interface ColumnName {
  readonly table: string;
  readonly column: string;
}

/** The columns that are ours, beside the old ones. */
export function addedColumnsOf({ users, messages }: LegacyMapping): ColumnName[] {
  return [
    { table: users.table, column: users.columns.socketId },
    { table: users.table, column: users.columns.lastSeen },
    { table: messages.table, column: messages.columns.conversationId },
  ];
}

/** A trigger, rule or unchecked constraint of the old app's; `acts` when our filling a column would set it off. */
export interface OldTrigger {
  readonly name: string;
  readonly acts: boolean | number;
}

/**
 * Whether the database holds no table at all: then there is no old side. One that holds tables of something else is
 * not empty, and not ours to fill.
 */
export async function isEmpty(database: Database): Promise<boolean> {
  return (await database.reader.all(database.dialect.listTables)).length === 0;
}

export async function hasTable(database: Database, table: string): Promise<boolean> {
  const [row] = await database.reader.all<{ present: number | string }>(database.dialect.hasTable, {
    table,
  });
  return Number(row?.present) > 0;
}

/**
 * Checks that the old tables are what the mapping says, and can be copied.
 * @throws SegueError NO_SUCH_TABLE, NO_SUCH_COLUMN, UNSUPPORTED_DATABASE, naming what is missing and what is there.
 */
export async function checkShape(database: Database, mapping: LegacyMapping): Promise<void> {
  const added = addedColumnsOf(mapping);
  for (const { table, columns } of tablesOf(mapping)) {
    const found = await describeTable(database, table);
    if (found.length === 0)
      throw new SegueError(
        'NO_SUCH_TABLE',
        `${database.shown} has no table ${table}: is it the database of the old app, and the right one? ${await nameTables(database)}`,
      );
    const [strange] = await database.reader.all<{ schema: string }>(
      database.dialect.strangeSchema,
      {
        table,
      },
    );
    if (strange !== undefined)
      throw new SegueError(
        'UNSUPPORTED_DATABASE',
        `The table ${table} lies in the schema ${strange.schema}, and new tables would be made in another one that comes first: ` +
          `add ?options=-csearch_path%3D${encodeURIComponent(strange.schema)} to DATABASE_URL.`,
      );
    for (const column of Object.values(columns))
      if (
        !found.some(({ name }) => name === column) &&
        !added.some((ours) => ours.table === table && ours.column === column)
      )
        throw new SegueError(
          'NO_SUCH_COLUMN',
          `The table ${table} has no column ${column}; it has ${found.map(({ name }) => name).join(', ')}.`,
        );
  }
  await checkTypes(database, mapping);
}

/**
 * Checks that nothing stands where our own tables and columns go.
 * @throws SegueError NAME_TAKEN.
 */
export async function checkNamesAreFree(
  database: Database,
  mapping: LegacyMapping,
  ownTables: readonly string[],
  withoutColumns: boolean,
): Promise<void> {
  for (const table of ownTables) {
    const [row] = await database.reader.all<{ present: number | string }>(
      database.dialect.isNameTaken,
      { table },
    );
    if (Number(row?.present) > 0)
      throw new SegueError(
        'NAME_TAKEN',
        `${database.shown} has a table ${table} already, or something else of that name, which is not ours: rename it, or move its app elsewhere.`,
      );
  }
  if (withoutColumns) return;
  const left = await findLeftColumns(database, mapping);
  for (const { table, column } of addedColumnsOf(mapping)) {
    if (!(await hasColumn(database.reader, database.dialect, { table, column }))) continue;
    if (!left.some((ours) => ours.table === table && ours.column === column))
      throw new SegueError(
        'NAME_TAKEN',
        `The table ${table} has a column ${column} already, which is not ours: --without-columns leaves ours out. Nothing was changed.`,
      );
    if (await hasValues(database, { table, column }))
      throw new SegueError(
        'NAME_TAKEN',
        `The column ${column} of ${table} was left by 'segue rollback --purge', empty, and has values by now, which are not ours: nothing was changed.`,
      );
  }
}

/** Those of our columns that a purge left in the old tables: they bear our mark. */
export async function findLeftColumns(
  database: Database,
  mapping: LegacyMapping,
): Promise<ColumnName[]> {
  const left: ColumnName[] = [];
  for (const { table, column } of addedColumnsOf(mapping)) {
    const marked = await database.reader.all<{ name: string }>(database.dialect.markedColumns, {
      table,
    });
    if (marked.some(({ name }) => name === column)) left.push({ table, column });
  }
  return left;
}

export async function hasColumn(
  queryable: Queryable,
  dialect: Dialect,
  { table, column }: ColumnName,
): Promise<boolean> {
  const found = await queryable.all<ColumnDescription>(dialect.describeTable, { table });
  return found.some(({ name }) => name.toLowerCase() === column.toLowerCase());
}

/** Reads all of the table when the column is empty: no index helps. */
async function hasValues(
  { dialect, reader }: Database,
  { table, column }: ColumnName,
): Promise<boolean> {
  const rows = await reader.all(
    `SELECT 1 AS one FROM ${dialect.name(table)} WHERE ${dialect.name(column)} IS NOT NULL LIMIT 1`,
  );
  return rows.length > 0;
}

/** The old app's triggers on its messages, and its like. */
export function listOldTriggers(
  { dialect, reader }: Database,
  { messages }: LegacyMapping,
): Promise<OldTrigger[]> {
  return reader.all<OldTrigger>(dialect.triggersOn, { table: messages.table });
}

/** What the copy reads, and what the column has to hold for that. */
async function checkTypes(database: Database, { users, messages }: LegacyMapping): Promise<void> {
  const { readable } = database.dialect;
  const wanted: [table: string, column: string, holds: keyof typeof readable][] = [
    [users.table, users.columns.id, 'key'],
    [messages.table, messages.columns.id, 'key'],
    [messages.table, messages.columns.senderId, 'reference'],
    [messages.table, messages.columns.recipientId, 'reference'],
    [messages.table, messages.columns.groupId, 'reference'],
    [messages.table, messages.columns.content, 'text'],
    [messages.table, messages.columns.type, 'text'],
    [messages.table, messages.columns.status, 'text'],
    [messages.table, messages.columns.createdAt, 'time'],
  ];
  for (const [table, column, holds] of wanted) {
    const found = (await describeTable(database, table)).find(({ name }) => name === column);
    if (found === undefined) continue;
    const isReadable = readable[holds].length === 0 || readable[holds].includes(found.type);
    if (isReadable && (holds !== 'key' || Boolean(found.isKey))) continue;
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      `${table}.${column} is ${found.type || 'without a type'}${holds === 'key' && !found.isKey ? ' and not the plain primary key' : ''}: ` +
        `only ${holds === 'key' ? 'a primary key of type ' : ''}${readable[holds].join(' or ')} can be copied so far.`,
    );
  }
}

async function nameTables(database: Database): Promise<string> {
  const tables = await database.reader.all<{ name: string }>(database.dialect.listTables);
  return tables.length === 0
    ? 'It has no tables.'
    : `It has ${tables.map(({ name }) => name).join(', ')}.`;
}

async function describeTable(database: Database, table: string): Promise<ColumnDescription[]> {
  return database.reader.all<ColumnDescription>(database.dialect.describeTable, { table });
}

function tablesOf(mapping: LegacyMapping): TableMapping<string>[] {
  return Object.values(mapping) as TableMapping<string>[];
}

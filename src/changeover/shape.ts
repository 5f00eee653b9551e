import type { LegacyMapping, TableMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import type { ColumnDescription } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';

/** The columns that are ours, beside the old ones. */
function addedColumnsOf({ users, messages }: LegacyMapping): { table: string; column: string }[] {
  return [
    { table: users.table, column: users.columns.socketId },
    { table: users.table, column: users.columns.lastSeen },
    { table: messages.table, column: messages.columns.conversationId },
  ];
}

/** Whether none of the old app's tables is there: then there is no old side. */
export async function isEmpty(database: Database, mapping: LegacyMapping): Promise<boolean> {
  for (const { table } of tablesOf(mapping)) if (await hasTable(database, table)) return false;
  return true;
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
        `${database.shown} has no table ${table}: is it the database of the old app, and the right one?`,
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
  await checkMessageTypes(database, mapping);
}

/**
 * Checks that nothing stands where our own tables and columns go.
 * @throws SegueError NAME_TAKEN.
 */
export async function checkNamesAreFree(
  database: Database,
  mapping: LegacyMapping,
  ownTables: readonly string[],
): Promise<void> {
  for (const table of ownTables)
    if (await hasTable(database, table))
      throw new SegueError(
        'NAME_TAKEN',
        `${database.shown} has a table ${table} already, which is not ours: rename it, or move its app elsewhere.`,
      );
  for (const { table, column } of addedColumnsOf(mapping))
    if ((await describeTable(database, table)).some(({ name }) => name === column))
      throw new SegueError(
        'NAME_TAKEN',
        `The table ${table} has a column ${column} already, which is not ours: nothing was changed.`,
      );
}

async function checkMessageTypes(database: Database, { messages }: LegacyMapping): Promise<void> {
  const { dialect } = database;
  const columns = await describeTable(database, messages.table);
  const find = (name: string): ColumnDescription | undefined =>
    columns.find((column) => column.name === name);

  const id = find(messages.columns.id);
  if (id !== undefined && (!dialect.keyTypes.includes(id.type) || !id.isKey))
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      `${messages.table}.${id.name} is ${id.type || 'without a type'}${id.isKey ? '' : ' and not the primary key'}: ` +
        `it has to be a primary key of type ${dialect.keyTypes.join(' or ')}.`,
    );
  const time = find(messages.columns.createdAt);
  if (time !== undefined && dialect.timeTypes.length > 0 && !dialect.timeTypes.includes(time.type))
    throw new SegueError(
      'UNSUPPORTED_DATABASE',
      `${messages.table}.${time.name} is ${time.type}: only ${dialect.timeTypes.join(' or ')} can be copied so far.`,
    );
}

async function describeTable(database: Database, table: string): Promise<ColumnDescription[]> {
  return database.reader.all<ColumnDescription>(database.dialect.describeTable, { table });
}

function tablesOf(mapping: LegacyMapping): TableMapping<string>[] {
  return Object.values(mapping) as TableMapping<string>[];
}

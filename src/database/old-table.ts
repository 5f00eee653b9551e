import { EntitySchema, type EntitySchemaColumnOptions } from 'typeorm';
import type { TableMapping } from '../config/legacy-mapping.js';
import type { Dialect, EngineName } from './dialect.js';
import { dialectOf } from './dialects.js';

/** How the old app declared a column. */
export interface OldColumn {
  /** `key`: the table's own number, given by the database. */
  readonly type: 'key' | 'integer' | 'text' | 'boolean' | 'time';
  readonly required?: boolean;
  readonly unique?: boolean;
  readonly primary?: boolean;
  readonly default?: string | boolean | typeof NOW;
  readonly oneOf?: readonly string[];
  readonly references?: {
    readonly table: OldTable;
    readonly column: string;
    readonly onDelete: 'CASCADE' | 'SET NULL';
  };
  /** Not the old app's: expand adds it. */
  readonly added?: boolean;
}

/** The database's own clock, as a default. */
export const NOW = Symbol('CURRENT_TIMESTAMP');

/**
 * One of the seven tables that are kept. This description is the only one: the entity, the DDL for an empty
 * database and the generator of legacy databases are made from it.
 */
export interface OldTable<Column extends string = string> {
  readonly entity: string;
  readonly mapping: TableMapping<Column>;
  readonly columns: Readonly<Record<Column, OldColumn>>;
}

/** The names of old columns, quoted for a statement. */
export function quoted<Column extends string>(
  dialect: Dialect,
  columns: Readonly<Record<Column, string>>,
): Record<Column, string> {
  const names = Object.entries<string>(columns).map(([ours, name]) => [ours, dialect.name(name)]);
  return Object.fromEntries(names) as Record<Column, string>;
}

/** Lets the columns of a description be checked against the names of its mapping. */
export function describeOldTable<Column extends string>(
  entity: string,
  mapping: TableMapping<Column>,
  columns: Readonly<Record<Column, OldColumn>>,
): OldTable {
  return { entity, mapping, columns };
}

const TYPES: Record<EngineName, Record<OldColumn['type'], string>> = {
  sqlite: {
    key: 'INTEGER PRIMARY KEY AUTOINCREMENT',
    integer: 'INTEGER',
    text: 'TEXT',
    boolean: 'BOOLEAN',
    time: 'DATETIME',
  },
  postgres: {
    key: 'SERIAL PRIMARY KEY',
    integer: 'INTEGER',
    text: 'TEXT',
    boolean: 'BOOLEAN',
    time: 'TIMESTAMP',
  },
};

/** The statement that makes the table as the old app did, without the columns that expand adds. */
export function createOldTable(engine: EngineName, table: OldTable): string {
  const columns = entries(table)
    .filter(({ column }) => column.added !== true)
    .map(({ name, column }) => `"${name}" ${definitionOf(engine, name, column)}`);
  return `CREATE TABLE "${table.mapping.table}" (${columns.join(', ')})`;
}

/** The statements that add our nullable columns. Raw: TypeORM's addColumn rebuilds a table on SQLite. */
export function addedColumns(engine: EngineName, table: OldTable): { name: string; add: string }[] {
  return entries(table)
    .filter(({ column }) => column.added === true)
    .map(({ name, column }) => ({
      name,
      add: `ALTER TABLE "${table.mapping.table}" ADD COLUMN "${name}" ${TYPES[engine][column.type]}${dialectOf(engine).addedMark}`,
    }));
}

/**
 * The table as an entity, for repositories and queries. `synchronize: false` keeps `migration:generate` from ever
 * proposing a change of an old table; a test compares the description with real tables instead.
 */
export function oldTableEntity(engine: EngineName, table: OldTable): EntitySchema {
  return new EntitySchema({
    name: table.entity,
    tableName: table.mapping.table,
    synchronize: false,
    columns: Object.fromEntries(
      entries(table).map(({ property, name, column }) => [
        property,
        columnOptions(engine, name, column),
      ]),
    ),
  });
}

function columnOptions(
  engine: EngineName,
  name: string,
  column: OldColumn,
): EntitySchemaColumnOptions {
  const isKey = column.type === 'key';
  return {
    name,
    type: ENTITY_TYPES[engine][column.type],
    primary: isKey || column.primary === true,
    ...(isKey ? { generated: 'increment' as const } : {}),
    unique: column.unique === true,
    nullable: column.required !== true && !isKey && column.primary !== true,
  };
}

const ENTITY_TYPES = {
  sqlite: {
    key: 'integer',
    integer: 'integer',
    text: 'text',
    boolean: 'boolean',
    time: 'datetime',
  },
  postgres: {
    key: 'integer',
    integer: 'integer',
    text: 'text',
    boolean: 'boolean',
    time: 'timestamp',
  },
} as const;

function definitionOf(engine: EngineName, name: string, column: OldColumn): string {
  const parts = [TYPES[engine][column.type]];
  if (column.primary === true) parts.push('PRIMARY KEY');
  if (column.unique === true) parts.push('UNIQUE');
  if (column.required === true) parts.push('NOT NULL');
  if (column.references !== undefined) {
    const { table, column: target, onDelete } = column.references;
    const targetName = (table.mapping.columns as Record<string, string>)[target];
    parts.push(`REFERENCES "${table.mapping.table}"("${targetName}") ON DELETE ${onDelete}`);
  }
  if (column.oneOf !== undefined) parts.push(`CHECK (${checkOf(name, column.oneOf)})`);
  if (column.default !== undefined) parts.push(`DEFAULT ${defaultOf(engine, column.default)}`);
  return parts.join(' ');
}

function defaultOf(engine: EngineName, value: NonNullable<OldColumn['default']>): string {
  if (value === NOW) return 'CURRENT_TIMESTAMP';
  if (typeof value === 'boolean')
    return engine === 'sqlite' ? String(Number(value)) : String(value);
  return `'${value}'`;
}

function checkOf(name: string, values: readonly string[]): string {
  return `"${name}" IN (${values.map((value) => `'${value}'`).join(', ')})`;
}

function entries(table: OldTable): { property: string; name: string; column: OldColumn }[] {
  return Object.entries(table.columns).map(([property, column]) => ({
    property,
    name: table.mapping.columns[property] ?? property,
    column,
  }));
}

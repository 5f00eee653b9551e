import type { Queryable } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';

/** A stored value with its type: what a driver makes of it has lost bytes, types or digits. */
export type Cell =
  | { readonly type: 'null' }
  | { readonly type: 'integer'; readonly value: bigint }
  | { readonly type: 'real'; readonly value: number }
  | { readonly type: 'text' | 'blob'; readonly bytes: Buffer };

export const NULL: Cell = { type: 'null' };

export const integer = (value: bigint): Cell => ({ type: 'integer', value });

export const text = (value: string): Cell => ({ type: 'text', bytes: Buffer.from(value) });

/** Columns of a table: on PostgreSQL their type decides, on SQLite that of each value. */
export type Columns<Name extends string> = Readonly<Record<Name, 'integer' | 'text'>>;

/** Reads whole columns of a table, with types kept. */
export async function readCells<Name extends string>(
  queryable: Queryable,
  engine: EngineName,
  table: string,
  columns: Columns<Name>,
): Promise<Record<Name, Cell>[]> {
  const names = Object.keys(columns) as Name[];
  const { select, cell } = READING[engine];
  const rows = await queryable.all<Row>(`SELECT ${names.map(select).join(', ')} FROM "${table}"`);
  return rows.map(
    (row) =>
      Object.fromEntries(names.map((name) => [name, cell(row, name, columns[name])])) as Record<
        Name,
        Cell
      >,
  );
}

/** One text for each value of each type, and no two for the same: for comparing and for reading. */
export function show(cell: Cell): string {
  switch (cell.type) {
    case 'null':
      return 'null';
    case 'integer':
      return String(cell.value);
    case 'real':
      return `real ${cell.value}`;
    case 'blob':
      return `x'${cell.bytes.toString('hex')}'`;
    case 'text': {
      const value = cell.bytes.toString('utf8');
      return Buffer.from(value).equals(cell.bytes)
        ? JSON.stringify(value)
        : `text x'${cell.bytes.toString('hex')}'`;
    }
  }
}

type Row = Record<string, string | number | null>;

interface Reading {
  readonly select: (name: string) => string;
  readonly cell: (row: Row, name: string, type: 'integer' | 'text') => Cell;
}

const READING: Record<EngineName, Reading> = {
  sqlite: {
    // hex() of a number is that of its text, which has fewer digits than a real; the driver gives a real exactly.
    select: (name) => `typeof("${name}") AS "${name}_type",
      CASE typeof("${name}") WHEN 'integer' THEN CAST("${name}" AS TEXT) WHEN 'real' THEN "${name}"
        WHEN 'null' THEN NULL ELSE hex("${name}") END AS "${name}"`,
    cell: (row, name) => {
      const value = row[name] ?? null;
      const type = row[`${name}_type`];
      if (value === null) return NULL;
      if (type === 'integer') return integer(BigInt(value));
      if (type === 'real') return { type, value: Number(value) };
      if (type === 'text' || type === 'blob')
        return { type, bytes: Buffer.from(String(value), 'hex') };
      throw new Error(`${name} has the type ${String(type)}`);
    },
  },
  postgres: {
    select: (name) => `"${name}"::text AS "${name}"`,
    cell: (row, name, type) => {
      const value = row[name] ?? null;
      if (value === null) return NULL;
      return type === 'integer' ? integer(BigInt(value)) : text(String(value));
    },
  },
};

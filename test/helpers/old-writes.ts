import fc from 'fast-check';
import type { EngineName } from '../../src/database/dialect.js';
import { literal } from '../../src/demo/old-values.js';
import { type Cell, integer, NULL, text } from './cells.js';

/**
 * What an old app writes by SQL, and what its tables must hold then: said a second time in plain JavaScript, for values
 * that no column changes.
 */

type Value = string | number | null;

/** The columns of the old table but for the id, as an app writes them. */
export interface Written {
  readonly sender_id: Value;
  readonly recipient_id: Value;
  readonly group_id: Value;
  readonly content: Value;
  readonly type: Value;
  readonly status: Value;
  readonly created_at: Value;
}

type Column = keyof Written;

export type OldWrite =
  | { readonly kind: 'insert' | 'put'; readonly id: number; readonly row: Written }
  | {
      readonly kind: 'update';
      /** One row by its id, or all of a sender. */
      readonly by: 'id' | 'sender_id';
      readonly key: number;
      readonly change: readonly [Column, Value];
    }
  | { readonly kind: 'renumber'; readonly id: number; readonly to: number }
  | { readonly kind: 'delete'; readonly by: 'id' | 'sender_id'; readonly key: number }
  | { readonly kind: 'empty' }
  | { readonly kind: 'addUser' | 'removeUser'; readonly id: number }
  | { readonly kind: 'phone'; readonly id: number; readonly phone: string };

/** The old tables as nobody but the old app makes them. */
export class OldTables {
  constructor(
    private rows = new Map<number, Written>(),
    private users = new Map<number, string>(),
  ) {}

  copy(): OldTables {
    return new OldTables(new Map(this.rows), new Map(this.users));
  }

  get ids(): readonly number[] {
    return [...this.rows.keys()];
  }

  /** A line for each row, as `linesOf` gives them of cells. */
  get lines(): string[] {
    return [...this.rows].map(([id, row]) =>
      lineOf([integer(BigInt(id)), ...COLUMNS.map((column) => cellOf(row[column]))]),
    );
  }

  get people(): string[] {
    return [...this.users].map(([id, phone]) => `${id} ${phone}`);
  }

  /** Takes a row over that we have written, in the old table's own terms. */
  adopt(id: number, row: Written): void {
    this.rows.set(id, row);
  }

  /** Takes a write over; false: the database would refuse it, and an app that knows its rows does not write it. */
  write(write: OldWrite): boolean {
    switch (write.kind) {
      case 'insert':
        if (this.rows.has(write.id)) return false;
        this.rows.set(write.id, write.row);
        return true;
      case 'put':
        this.rows.set(write.id, write.row);
        return true;
      case 'update': {
        const [column, value] = write.change;
        for (const [id, row] of this.of(write)) this.rows.set(id, { ...row, [column]: value });
        return true;
      }
      case 'renumber': {
        const row = this.rows.get(write.id);
        if (row === undefined || this.rows.has(write.to)) return false;
        this.rows.delete(write.id);
        this.rows.set(write.to, row);
        return true;
      }
      case 'delete':
        for (const [id] of this.of(write)) this.rows.delete(id);
        return true;
      case 'empty':
        this.rows.clear();
        return true;
      case 'addUser':
        if (this.users.has(write.id)) return false;
        this.users.set(write.id, `phone ${write.id}`);
        return true;
      case 'removeUser':
        return this.users.delete(write.id);
      case 'phone':
        if (!this.users.has(write.id)) return false;
        this.users.set(write.id, `${write.phone} ${write.id}`);
        return true;
    }
  }

  private of({ by, key }: { by: 'id' | 'sender_id'; key: number }): [number, Written][] {
    return [...this.rows].filter(([id, row]) => (by === 'id' ? id : row.sender_id) === key);
  }
}

const COLUMNS: readonly Column[] = [
  'sender_id',
  'recipient_id',
  'group_id',
  'content',
  'type',
  'status',
  'created_at',
];

/** A row as one text, its values with their types. */
export function lineOf(cells: readonly Cell[]): string {
  return cells
    .map((cell) => {
      if (cell.type === 'null') return 'null';
      return 'bytes' in cell
        ? `${cell.type} ${cell.bytes.toString('hex')}`
        : `${cell.type} ${cell.value}`;
    })
    .join(' | ');
}

function cellOf(value: Value): Cell {
  if (value === null) return NULL;
  return typeof value === 'number' ? integer(BigInt(value)) : text(value);
}

/** A write as the old app of an engine sends it. */
export function sqlOf(engine: EngineName, write: OldWrite): string {
  switch (write.kind) {
    case 'insert':
      return `INSERT INTO ${into(write)}`;
    case 'put':
      return engine === 'sqlite'
        ? `REPLACE INTO ${into(write)}`
        : `INSERT INTO ${into(write)} ON CONFLICT (id) DO UPDATE SET ${COLUMNS.map((column) => `${column} = excluded.${column}`).join(', ')}`;
    case 'update':
      return `UPDATE messages SET ${write.change[0]} = ${literal(write.change[1])} WHERE ${write.by} = ${write.key}`;
    case 'renumber':
      return `UPDATE messages SET id = ${write.to} WHERE id = ${write.id}`;
    case 'delete':
      return `DELETE FROM messages WHERE ${write.by} = ${write.key}`;
    case 'empty':
      return engine === 'sqlite' ? 'DELETE FROM messages' : 'TRUNCATE messages';
    case 'addUser':
      return `INSERT INTO users (id, phone) VALUES (${write.id}, 'phone ${write.id}')`;
    case 'removeUser':
      return `DELETE FROM users WHERE id = ${write.id}`;
    case 'phone':
      return `UPDATE users SET phone = '${write.phone} ${write.id}' WHERE id = ${write.id}`;
  }
}

function into({ id, row }: { id: number; row: Written }): string {
  const values = [id, ...COLUMNS.map((column) => row[column])];
  return `messages (id, ${COLUMNS.join(', ')}) VALUES (${values.map(literal).join(', ')})`;
}

/** Few ids and people, so that writes meet. */
const ID = fc.integer({ min: 1, max: 14 });
const SENDER = fc.constantFrom(1, 2, 3, 4);

/** @param shape of the old table: what it would change is not written */
function valuesOf(
  engine: EngineName,
  shape: string,
): Readonly<Record<Column, fc.Arbitrary<Value>>> {
  const isSqlite = engine === 'sqlite';
  const often = (common: readonly Value[], rare: readonly Value[]): fc.Arbitrary<Value> =>
    fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom(...common) },
      { weight: 1, arbitrary: fc.constantFrom(...rare) },
    );
  return {
    sender_id: often([1, 2, 3], [4, null, 0]),
    recipient_id: often([1, 2, null], [3, 4, 0]),
    group_id: often([null, null, 1], [0, 2, -3]),
    content: often(['hello', 'HELLO', 'hello '], [null, '', 'ß \u{1f600}', isSqlite ? '\0' : '\n']),
    type: often(['text', 'image'], [null, 'TEXT', 'text ']),
    status: often(['sent', 'delivered', 'read'], [null, 'READ', 'read ']),
    created_at: often(
      ['2019-01-01 08:00:00', '2019-01-01 08:00:01', '2018-12-31 23:59:59', '2020-06-01 00:00:00'],
      [
        null,
        '2999-01-01 00:00:00',
        ...(isSqlite
          ? ['2019-01-01T08:00:00Z', 'yesterday', ...(shape === 'nocase' ? [] : [1_546_329_600])]
          : ['infinity', '2019-01-01 08:00:00.000001']),
      ],
    ),
  };
}

/** Rows to begin with, each as an INSERT. */
export function oldInserts(engine: EngineName, shape: string): fc.Arbitrary<OldWrite[]> {
  return fc.uniqueArray(insertOf(engine, shape), {
    selector: ({ id }) => id,
    maxLength: 12,
    size: 'max',
  });
}

function insertOf(
  engine: EngineName,
  shape: string,
): fc.Arbitrary<OldWrite & { readonly id: number }> {
  return fc.record({
    kind: fc.constant('insert' as const),
    id: ID,
    row: fc.record(valuesOf(engine, shape)),
  });
}

/** Any write. */
export function oldWrites(engine: EngineName, shape: string): fc.Arbitrary<OldWrite> {
  const values = valuesOf(engine, shape);
  const change = (column: Column): fc.Arbitrary<readonly [Column, Value]> =>
    values[column].map((value) => [column, value]);
  const key = fc.oneof(
    { weight: 4, arbitrary: fc.record({ by: fc.constant('id' as const), key: ID }) },
    { weight: 1, arbitrary: fc.record({ by: fc.constant('sender_id' as const), key: SENDER }) },
  );
  const row = fc.record(values);
  return fc.oneof(
    { weight: 4, arbitrary: insertOf(engine, shape) },
    {
      weight: 8,
      arbitrary: fc
        .tuple(key, fc.oneof(...COLUMNS.map(change)))
        .map(([rows, changed]) => ({ kind: 'update' as const, ...rows, change: changed })),
    },
    { weight: 3, arbitrary: key.map((rows) => ({ kind: 'delete' as const, ...rows })) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('put' as const), id: ID, row }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('renumber' as const), id: ID, to: ID }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'empty' as const }) },
    {
      weight: 3,
      arbitrary: fc.oneof(
        fc.record({
          kind: fc.constantFrom('addUser' as const, 'removeUser' as const),
          id: SENDER,
        }),
        fc.record({
          kind: fc.constant('phone' as const),
          id: SENDER,
          phone: fc.constantFrom('phone', 'PHONE', 'other'),
        }),
      ),
    },
  );
}

import type { Queryable } from '../database/database.js';

/**
 * A value of an old column, as a statement can give it. A Buffer is a blob, and a number without a fraction an
 * integer: what JavaScript has no word for is one of the two classes below.
 */
export type OldValue = string | number | bigint | boolean | null | Buffer | TextBytes | Real;

/** Bytes that SQLite keeps as text, whatever they are: it checks neither UTF-8 nor NUL. */
export class TextBytes {
  constructor(readonly bytes: Buffer) {}
}

/** A floating point number, also one without a fraction. */
export class Real {
  constructor(readonly value: number) {}
}

const ROWS_PER_INSERT = 500;

/** A value as SQL, without parameters: drivers change what they are given. */
export function literal(value: OldValue): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string')
    // SQLite's parser takes a statement to end at NUL.
    return value.includes('\0')
      ? literal(new TextBytes(Buffer.from(value)))
      : `'${value.replaceAll("'", "''")}'`;
  if (Buffer.isBuffer(value)) return `x'${value.toString('hex')}'`;
  if (value instanceof TextBytes) return `CAST(x'${value.bytes.toString('hex')}' AS TEXT)`;
  if (value instanceof Real) return realLiteral(value.value);
  return typeof value === 'number' ? numberLiteral(value) : String(value);
}

/** Inserts rows, each with its values in the order of the columns. */
export async function insertRows(
  transaction: Queryable,
  table: string,
  columns: readonly string[],
  rows: readonly (readonly OldValue[])[],
): Promise<void> {
  const into = `INSERT INTO "${table}" (${columns.map((column) => `"${column}"`).join(', ')}) VALUES `;
  for (let start = 0; start < rows.length; start += ROWS_PER_INSERT) {
    const values = rows
      .slice(start, start + ROWS_PER_INSERT)
      .map((row) => `(${row.map(literal).join(', ')})`);
    await transaction.run(into + values.join(', '));
  }
}

function numberLiteral(value: number): string {
  return Number.isSafeInteger(value) ? String(value) : realLiteral(value);
}

function realLiteral(value: number): string {
  // SQL has no word for infinity; a literal beyond the largest number is read as it.
  if (!Number.isFinite(value)) return value < 0 ? '-9e999' : '9e999';
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

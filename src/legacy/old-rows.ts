import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { HIGHEST_ID } from '../database/ids.js';

/** The columns of an old message, in the order of the old table. */
export const LEGACY_COLUMNS = [
  'id',
  'senderId',
  'recipientId',
  'groupId',
  'content',
  'type',
  'status',
  'createdAt',
] as const;

export type LegacyColumn = (typeof LEGACY_COLUMNS)[number];

/** What our own statements call the columns, whatever the mapping does. */
export const PLAIN_NAMES = {
  id: 'id',
  senderId: 'sender_id',
  recipientId: 'recipient_id',
  groupId: 'group_id',
  content: 'content',
  type: 'type',
  status: 'status',
  createdAt: 'created_at',
} as const satisfies Record<LegacyColumn, string>;

/** One expression per column of an old message. */
export type LegacyExpressions = Readonly<Record<LegacyColumn, string>>;

/** The old table itself, addressed by an alias. */
export interface OldRows {
  /** The table's quoted name. */
  readonly table: string;
  /** The quoted names, without the alias: for an UPDATE or an INSERT. */
  readonly names: LegacyExpressions & { readonly conversationId: string };
  /** A statement for lowest and highest id and the number of rows, as `{low, high, count}`. */
  readonly bounds: string;
  /** A statement for the id of the `:size`-th row from `:from` on, as `{range_end}`; no row: fewer are left. */
  readonly rangeEnd: string;
  /** The columns behind an alias. */
  of(alias: string): LegacyExpressions & { readonly conversationId: string };
}

/** The old messages under the names that the mapping gives them. */
export function oldRows(dialect: Dialect, { messages }: LegacyMapping): OldRows {
  const all = [...LEGACY_COLUMNS, 'conversationId'] as const;
  const under = (prefix: string): LegacyExpressions & { conversationId: string } =>
    Object.fromEntries(
      all.map((column) => [column, prefix + dialect.name(messages.columns[column])]),
    ) as Record<(typeof all)[number], string>;
  const table = dialect.name(messages.table);
  const names = under('');
  return {
    table,
    names,
    bounds: `SELECT CAST(min(${names.id}) AS text) AS low, CAST(max(${names.id}) AS text) AS high, count(*) AS count FROM ${table}`,
    // The result must not be called as the column is: ORDER BY would mean the text.
    rangeEnd: `SELECT CAST(${names.id} AS text) AS range_end FROM ${table}
      WHERE ${names.id} >= CAST(:from AS bigint) ORDER BY ${names.id} LIMIT 1 OFFSET :size - 1`,
    of: (alias) => under(`${alias}.`),
  };
}

/** A row of `OldRows.bounds`: an empty table has no ids. */
export interface Bounds {
  readonly low: string | null;
  readonly high: string | null;
  readonly count: number | string;
}

/** Whether an id lies in the range from `:from` to `:upTo`, both included. */
export function inRange(id: string): string {
  return `${id} BETWEEN CAST(:from AS bigint) AND CAST(:upTo AS bigint)`;
}

/** Where the range after this one begins; null after the last one. */
export function nextAfter(upTo: string): string | null {
  return upTo === HIGHEST_ID ? null : String(BigInt(upTo) + 1n);
}

/** The bytes of a row's text; neither engine reads the text for it. */
export function bytesOfContent({ content }: LegacyExpressions): string {
  return `coalesce(octet_length(${content}), 0)`;
}

/** The columns of a row that was read under those names, behind an alias. */
export function plainColumns(alias: string): LegacyExpressions {
  return Object.fromEntries(
    LEGACY_COLUMNS.map((column) => [column, `${alias}.${PLAIN_NAMES[column]}`]),
  ) as Record<LegacyColumn, string>;
}

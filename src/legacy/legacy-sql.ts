import type { Dialect } from '../database/dialect.js';
import type { LegacyExpressions } from './old-rows.js';

/**
 * The old clients' queries, as statements over one side. Each gives rows of `LegacyRow`; ids are given as text,
 * `:limit` and `:offset` as numbers.
 */
export interface LegacySql {
  /** Both directions between `:me` and `:peer`, the newest first. */
  readonly messages: string;
  /** The rows of `:group`, the newest first, when `:me` wrote in it. */
  readonly groupMessages: string;
  /** The row `:id`, when `:me` may see it. */
  readonly message: string;
  /** The newest row of each thread of `:me`, the newest first. */
  readonly recentMessages: string;
  /** Number of rows to `:me` that are not read, as `{count}`. */
  readonly unreadCount: string;
}

/** An old row as it leaves the database: ids as text, the time as the column's own text. */
export interface LegacyRow {
  readonly id: string;
  readonly sender_id: string;
  readonly recipient_id: string | null;
  readonly group_id: string | null;
  /** Bytes where the old column holds a blob; a number where it was declared without a type. */
  readonly content: string | number | Buffer | null;
  readonly type: string | null;
  readonly status: string | null;
  readonly created_at: string | null;
}

export const ME = 'CAST(:me AS bigint)';
export const PEER = 'CAST(:peer AS bigint)';
export const GROUP = 'CAST(:group AS bigint)';
export const ID = 'CAST(:id AS bigint)';

/** The same ids as the quarantine keeps them: as text. PostgreSQL gives a parameter one type for all its places. */
export const ME_TEXT = 'CAST(:me AS text)';
export const PEER_TEXT = 'CAST(:peer AS text)';
export const GROUP_TEXT = 'CAST(:group AS text)';

/** By the old column's own text, null the oldest, then by id. */
const NEWEST_FIRST = 'r.created_at IS NULL, r.created_at DESC, r.id DESC';

/** The columns of a result, with the id still a number to sort by. */
export function columnsOf(dialect: Dialect, row: LegacyExpressions): string {
  return `${row.id} AS id, ${row.senderId} AS sender_id, ${row.recipientId} AS recipient_id, ${row.groupId} AS group_id,
    ${row.content} AS content, CAST(${row.type} AS text) AS type, CAST(${row.status} AS text) AS status, ${dialect.textOf(row.createdAt)} AS created_at`;
}

/** Whether a row goes between `:me` and `:peer`, in either direction. */
export function isBetweenPair(row: LegacyExpressions): string {
  return `((${row.senderId} = ${ME} AND ${row.recipientId} = ${PEER}) OR (${row.senderId} = ${PEER} AND ${row.recipientId} = ${ME}))`;
}

/** Whether a row belongs to no group, in the old app's eyes: null, 0 or an empty text names none. */
export function isDirect(dialect: Dialect, row: LegacyExpressions): string {
  return dialect.isNone(row.groupId);
}

/** Whether an old status says that the row is not read; null says nothing. */
export function isUnread(status: string): string {
  return `${status} <> 'read'`;
}

/** One text for each thread of `:me`: the peer's, or the group's. */
export function threadOf(dialect: Dialect, row: LegacyExpressions): string {
  return `CASE WHEN ${isDirect(dialect, row)}
    THEN coalesce('u' || CAST(CASE WHEN ${row.senderId} = ${ME} THEN ${row.recipientId} ELSE ${row.senderId} END AS text), 'nobody')
    ELSE 'g' || CAST(${row.groupId} AS text) END`;
}

/** All of the rows, newest first. */
export function newestFirst(rows: string): string {
  return `SELECT CAST(r.id AS text) AS id, CAST(r.sender_id AS text) AS sender_id, CAST(r.recipient_id AS text) AS recipient_id,
      CAST(r.group_id AS text) AS group_id, r.content, r.type, r.status, r.created_at
    FROM (${rows}) AS r ORDER BY ${NEWEST_FIRST}`;
}

/** One page of the rows, newest first. */
export function page(rows: string): string {
  return `${newestFirst(rows)} LIMIT :limit OFFSET :offset`;
}

/** Of rows with a `thread`, the newest of each, newest first. */
export function newestOfEachThread(rows: string): string {
  return newestFirst(`SELECT * FROM (
      SELECT r.*, row_number() OVER (PARTITION BY r.thread ORDER BY ${NEWEST_FIRST}) AS place FROM (${rows}) AS r
    ) AS ranked WHERE place = 1`);
}

import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { LEGACY_COLUMNS, oldRows, PLAIN_NAMES } from '../legacy/old-rows.js';
import {
  OLD_KINDS,
  RAW,
  STATUS_CODES,
  UNKNOWN_STATUS,
} from '../messages/enhanced-message.entities.js';

/** What becomes of an old row, as SQL over the rows that `read` gives. */
export interface RowRules {
  /**
   * The old rows of a range of ids as `o`, each read once: its values under `PLAIN_NAMES`, `instant` (null when the
   * time cannot be used), the thread, as `thread_group` or `pair_low` and `pair_high`, and `account`, the sender's id
   * where he has one. Rows leave it by id.
   * `:now` is an instant: what lies after it is in the future, and no usable time.
   * @param range a condition on the expression of the id
   * @param order which rows leave it first; with a LIMIT around it, no more are read than that takes
   */
  read(range: (id: string) => string, order?: 'ASC' | 'DESC'): string;
  /** True for a row whose thread is clear. */
  readonly isPlaced: string;
  readonly kind: string;
  readonly status: string;
  /** The bits of the old columns that what is served cannot give back. */
  readonly rawMask: string;
  /** For a row that is not placed: the reason, one of a few words, and a sentence. */
  readonly reason: string;
  readonly detail: string;
}

/** The columns of the rows that `read` gives, with what they hold; instants are numbers as ids are. */
export const READ_COLUMNS = [
  ['id', 'id'],
  ['sender_id', 'id'],
  ['recipient_id', 'id'],
  ['group_id', 'id'],
  ['content', 'text'],
  ['type', 'text'],
  ['status', 'text'],
  ['created_at', 'time'],
  ['exact', 'id'],
  ['known_kind', 'text'],
  ['known_status', 'id'],
  ['account', 'id'],
  ['thread_group', 'id'],
  ['peer', 'id'],
  ['is_number', 'flag'],
  ['pair_low', 'id'],
  ['pair_high', 'id'],
  ['instant', 'id'],
] as const;

/** Why a row cannot be placed: the first of these that applies. */
interface Obstacle {
  readonly when: string;
  readonly reason: 'no-thread' | 'no-sender';
  readonly detail: string;
}

/**
 * The rules for rows, the same on both engines. A row is migrated when its thread is clear; what the new side cannot
 * express is kept raw beside it. Only a row without a thread goes to quarantine.
 * @param now the parameter that says what lies in the future: `now`, the backfill's beginning, or `latest`, for rows that
 *   may be written since
 */
export function rowRules(
  dialect: Dialect,
  mapping: LegacyMapping,
  now: 'now' | 'latest' = 'now',
): RowRules {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const users = dialect.name(mapping.users.table);
  const userId = dialect.name(mapping.users.columns.id);

  const toGroup = `(${dialect.isInteger(m.groupId)} AND ${m.groupId} <> 0 AND (${m.senderId} IS NULL OR ${dialect.isInteger(m.senderId)}))`;
  // Where the group is empty the pair decides; SQLite's text '7' and 7.0 are no ids, though they compare as such.
  const toPair = `(${dialect.isInteger(m.recipientId)} AND ${m.recipientId} <> 0 AND ${dialect.isInteger(m.senderId)} AND ${dialect.isNone(m.groupId)})`;

  // One CASE and no IN: SQLite looks a list up in a table that it makes for it.
  const known = (
    column: string,
    values: readonly (readonly [name: string, value: string])[],
  ): string =>
    `CASE ${dialect.exactly(column)} ${values.map(([name, value]) => `WHEN '${name}' THEN ${value}`).join(' ')} END`;
  const knownKind = known(
    m.type,
    OLD_KINDS.map((kind) => [kind, `'${kind}'`]),
  );
  const knownStatus = known(
    m.status,
    Object.entries(STATUS_CODES).map(([name, code]) => [name, String(code)]),
  );
  const isPast = (instant: string): string => `${instant} <= CAST(:${now} AS bigint)`;
  const other = dialect.otherInstantOf('r.created_at');
  const bits: [bit: number, when: string][] = [
    [RAW.sender, 'o.sender_id IS NOT NULL AND o.account IS NULL'],
    [RAW.recipient, 'o.thread_group IS NOT NULL AND o.recipient_id IS NOT NULL'],
    [RAW.group, 'o.thread_group IS NULL AND o.group_id IS NOT NULL'],
    [RAW.type, 'o.known_kind IS NULL'],
    [RAW.status, 'o.known_status IS NULL'],
    [RAW.createdAt, `NOT coalesce(${isPast('o.exact')}, false)`],
    [RAW.content, 'o.is_number'],
  ];
  const obstacles: Obstacle[] = [
    {
      when: `NOT ${dialect.isNone('o.group_id')} AND NOT ${dialect.isInteger('o.group_id')}`,
      reason: 'no-thread',
      detail: 'the group is neither empty nor a whole number',
    },
    {
      when: `${dialect.isNone('o.group_id')} AND ${dialect.isNone('o.recipient_id')}`,
      reason: 'no-thread',
      detail: 'neither a recipient nor a group is set',
    },
    {
      when: `${dialect.isNone('o.group_id')} AND NOT ${dialect.isInteger('o.recipient_id')}`,
      reason: 'no-thread',
      detail: 'the recipient is neither empty nor a whole number',
    },
    { when: 'true', reason: 'no-sender', detail: 'the sender is not a whole number' },
  ];
  const firstOf = (what: 'reason' | 'detail'): string =>
    `CASE ${obstacles.map((obstacle) => `WHEN ${obstacle.when} THEN '${obstacle[what]}'`).join(' ')} END`;

  return {
    // Accounts are looked up one by one: joined, PostgreSQL reads all of them for each batch.
    // The limit keeps both planners from dissolving the subquery, and reading the time once for each of its uses.
    read: (
      range,
      order = 'ASC',
    ) => `(SELECT r.*, ${dialect.lesser('r.sender_id', 'r.peer')} AS pair_low, ${dialect.greater('r.sender_id', 'r.peer')} AS pair_high,
        CASE WHEN ${isPast('r.exact')} THEN r.exact WHEN r.exact IS NULL AND ${isPast(other)} THEN ${other} END AS instant
      FROM (
        SELECT ${LEGACY_COLUMNS.map((column) => `${m[column]} AS ${PLAIN_NAMES[column]}`).join(', ')}, ${dialect.exactInstantOf(m.createdAt)} AS exact,
          ${knownKind} AS known_kind, ${knownStatus} AS known_status,
          (SELECT u.${userId} FROM ${users} u WHERE u.${userId} = ${m.senderId}) AS account,
          CASE WHEN ${toGroup} THEN ${m.groupId} END AS thread_group,
          CASE WHEN ${toPair} THEN ${m.recipientId} END AS peer, ${dialect.isNumber(m.content)} AS is_number
        FROM ${rows.table} m WHERE ${range(m.id)} ORDER BY ${m.id} ${order} LIMIT 9223372036854775807) AS r) AS o`,
    isPlaced: '(o.thread_group IS NOT NULL OR o.peer IS NOT NULL)',
    kind: `coalesce(o.known_kind, 'text')`,
    status: `coalesce(o.known_status, ${UNKNOWN_STATUS})`,
    rawMask: bits.map(([bit, when]) => `CASE WHEN ${when} THEN ${bit} ELSE 0 END`).join(' + '),
    reason: firstOf('reason'),
    detail: firstOf('detail'),
  };
}

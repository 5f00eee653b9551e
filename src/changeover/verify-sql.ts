import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { inverseOf, keptBeside } from '../legacy/inverse.js';
import { inRange, LEGACY_COLUMNS, oldRows } from '../legacy/old-rows.js';
import { HAS_RAW, LATE, RAW } from '../messages/enhanced-message.entities.js';
import { rowRules } from './row-rules.js';

/**
 * The statements of the comparison; each is about the ids from `:from` to `:upTo`, as text. `:now` is the backfill's
 * beginning, after which old times were in the future when rows were copied; `:latest` is what `readLatest` says.
 */
export interface VerifySql {
  /** Rows on each side, and those with a raw time, as `{legacy, migrated, quarantined, untimed}`. */
  readonly count: string;
  /** What is wrong, as `{legacyId, kind, detail}`; no row: nothing. */
  readonly mismatches: readonly string[];
  /**
   * The same of messages that stand for no old row, by their own ids: no write of the old app makes them, so they are
   * none of those that pass capture by.
   */
  readonly strangers: readonly string[];
  /**
   * The same of the places of rows without a usable time; `:before` is the last usable one before the range. Only
   * where there are rows with a raw time.
   */
  readonly places: string;
  /** The same by where they were put, for a table in which rows were changed since: the row before one may be another. */
  readonly keptPlaces: string;
  /** The first usable time of the range by id, and the last, as `{at}`. */
  readonly firstInstant: string;
  readonly lastInstant: string;
}

/**
 * Compares in the database, in short ranges: each old row with what the served columns say it must have been (the
 * inverse), and each served column with what the old row says it must be (the forward check, which alone sees half
 * a second added to a time whose old form is kept raw).
 */
export function verifySql(dialect: Dialect, mapping: LegacyMapping, fillsLink: boolean): VerifySql {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const rules = rowRules(dialect, mapping);
  const current = rowRules(dialect, mapping, 'latest');
  const inverse = inverseOf(dialect, 'e', 'c', 'v');
  const same = (a: string, b: string): string => `${a} IS NOT DISTINCT FROM ${b}`;

  // It came when the conversation was further on: it stands behind what was there.
  const isLate = `e.raw_mask & ${LATE} <> 0`;

  // Made here: its own instant goes on, where its mirror's time is what the old column can say of it.
  const isMirrored = `(e.made_here AND e.position = e.sent_at AND ${dialect.identical(dialect.legacyTime('e.sent_at'), 'o.created_at')})`;

  // It was in the future when it was copied, and is no more: its time was no usable one, and still is not.
  const wasFuture = `(e.raw_mask & ${RAW.createdAt} <> 0 AND o.instant > CAST(:now AS bigint))`;

  const backward: [name: string, holds: string][] = LEGACY_COLUMNS.map((column) => {
    const name = rows.names[column].replaceAll('"', '');
    return [name, dialect.identical(m[column], inverse[column])];
  });
  const forward: [name: string, holds: string][] = [
    ['id of the copy', 'e.id = e.legacy_message_id'],
    // Its old row is there, and new clients would be shown that it was deleted.
    ['removed_at', 'e.removed_at IS NULL'],
    [
      'conversation',
      `(${same('c.legacy_group_id', 'o.thread_group')} AND ${same('c.pair_low', 'o.pair_low')} AND ${same('c.pair_high', 'o.pair_high')})`,
    ],
    ['sender', same('e.sender_id', 'o.account')],
    ['kind', `e.kind = ${current.kind}`],
    ['status code', `e.status = ${current.status}`],
    [
      'raw mask',
      `((e.raw_mask & ~${LATE}) = ${current.rawMask} OR (${wasFuture} AND (e.raw_mask & ~${LATE + RAW.createdAt}) = ((${current.rawMask}) & ~${RAW.createdAt})))`,
    ],
    [
      'sent_at',
      `(e.sent_at = coalesce(o.instant, e.position) OR ${isMirrored} OR (${wasFuture} AND e.sent_at = e.position))`,
    ],
    [
      'position',
      `CASE WHEN ${isMirrored} THEN true WHEN ${isLate} OR ${wasFuture} THEN e.position >= coalesce(o.instant, e.position) OR ${wasFuture} ELSE e.position = coalesce(o.instant, e.position) END`,
    ],
    [
      'raw values',
      `(e.raw_mask = 0 OR (v.conversation_id = e.conversation_id AND ${dialect.identical('v.created_text', dialect.textOf('o.created_at'))}
        AND ${RAW_COLUMNS.map(([bit, column]) => `(e.raw_mask & ${bit} <> 0 OR v.${column} IS NULL)`).join(' AND ')}))`,
    ],
    [
      'sender is no participant',
      `(${inverse.senderId} IS NULL OR ${isParticipant(inverse.senderId, 'AND p.has_written')})`,
    ],
    [
      'recipient is no participant',
      `(c.kind = 'group' OR (${isParticipant('c.pair_low')} AND ${isParticipant('c.pair_high')}))`,
    ],
  ];
  const link: [name: string, holds: string][] = fillsLink
    ? [[rows.names.conversationId.replaceAll('"', ''), `${m.conversationId} = e.conversation_id`]]
    : [];
  const copied = `JOIN enhanced_messages e ON e.legacy_message_id =`;
  // A copy has its old row's id. Without the range PostgreSQL reads all raw values for each range.
  const around = `LEFT JOIN conversations c ON c.id = e.conversation_id
    ${keptBeside('e', 'v')} AND ${inRange('v.message_id')}`;

  return {
    count: `SELECT (SELECT count(*) FROM ${rows.table} m WHERE ${inRange(m.id)}) AS legacy,
      (SELECT count(*) FROM enhanced_messages e WHERE ${inRange('e.legacy_message_id')}) AS migrated,
      (SELECT count(*) FROM changeover_quarantine q WHERE ${inRange('q.legacy_id')}) AS quarantined,
      (SELECT count(*) FROM enhanced_messages e WHERE ${inRange('e.legacy_message_id')} AND e.${HAS_RAW}
        AND e.raw_mask & ${RAW.createdAt} <> 0 AND NOT (${isLate})) AS untimed`,
    mismatches: [
      differing(
        m.id,
        [...backward, ...link],
        `${rows.table} m ${copied} ${m.id} ${around} WHERE ${inRange(m.id)}`,
      ),
      differing('o.id', forward, `${current.read(inRange)} ${copied} o.id ${around} WHERE true`),
      `SELECT CAST(${m.id} AS text) AS "legacyId", 'missing' AS kind, 'neither copied nor in quarantine' AS detail
        FROM ${rows.table} m
        WHERE ${inRange(m.id)}
          AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.legacy_message_id = ${m.id})
          AND NOT EXISTS (SELECT 1 FROM changeover_quarantine q WHERE q.legacy_id = ${m.id})`,
      `SELECT CAST(e.legacy_message_id AS text) AS "legacyId", 'twice' AS kind, 'copied, and in quarantine too' AS detail
        FROM enhanced_messages e JOIN changeover_quarantine q ON q.legacy_id = e.legacy_message_id
        WHERE ${inRange('e.legacy_message_id')}`,
      `SELECT CAST(e.legacy_message_id AS text) AS "legacyId", 'ghost' AS kind, 'copied from an old row that is not there' AS detail
        FROM enhanced_messages e
        WHERE ${inRange('e.legacy_message_id')} AND NOT EXISTS (SELECT 1 FROM ${rows.table} m WHERE ${m.id} = e.legacy_message_id)`,
      `SELECT CAST(q.legacy_id AS text) AS "legacyId", 'ghost' AS kind, 'in quarantine for an old row that is not there' AS detail
        FROM changeover_quarantine q
        WHERE ${inRange('q.legacy_id')} AND NOT EXISTS (SELECT 1 FROM ${rows.table} m WHERE ${m.id} = q.legacy_id)`,
      `SELECT CAST(v.message_id AS text) AS "legacyId", 'stray' AS kind, 'raw values beside a message that has none, or is not there' AS detail
        FROM legacy_raw_values v
        WHERE ${inRange('v.message_id')} AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.id = v.message_id AND e.raw_mask <> 0)`,
    ],
    strangers: [
      // Whoever writes on the new side while there is an old one writes the old row with it.
      stranger(
        'e.removed_at IS NULL',
        'unfounded',
        'a message that stands for no old row, and was not removed',
      ),
      stranger(
        'e.removed_at IS NOT NULL AND e.text IS NOT NULL',
        'tombstone',
        'what is left of a removed message has a text',
      ),
    ],
    // Made anew from the old table, by the run of rows after each usable time.
    places: `SELECT CAST(t.id AS text) AS "legacyId", 'differs' AS kind, 'position, ' AS detail
      FROM (SELECT id, instant, first_value(instant) OVER (PARTITION BY run ORDER BY id) AS place FROM (
          SELECT o.id, o.instant, count(o.instant) OVER (ORDER BY o.id) AS run FROM ${rules.read(inRange)}) AS runs) AS t
        ${copied} t.id
      WHERE t.instant IS NULL AND e.raw_mask & ${RAW.createdAt} <> 0 AND NOT (${isLate}) AND e.position <> coalesce(t.place, CAST(:before AS bigint))`,
    keptPlaces: `SELECT CAST(o.id AS text) AS "legacyId", 'differs' AS kind, 'position, ' AS detail
      FROM ${current.read(inRange)} ${copied} o.id LEFT JOIN changeover_places p ON p.legacy_id = o.id
      WHERE o.instant IS NULL AND NOT (${isLate}) AND e.position IS DISTINCT FROM p.position`,
    firstInstant: `SELECT CAST(o.instant AS text) AS at FROM ${rules.read(inRange)} WHERE o.instant IS NOT NULL LIMIT 1`,
    lastInstant: `SELECT CAST(o.instant AS text) AS at FROM ${rules.read(inRange, 'DESC')} WHERE o.instant IS NOT NULL LIMIT 1`,
  };
}

function stranger(condition: string, kind: string, detail: string): string {
  return `SELECT CAST(e.id AS text) AS "legacyId", '${kind}' AS kind, '${detail}' AS detail
    FROM enhanced_messages e WHERE ${inRange('e.id')} AND e.legacy_message_id IS NULL AND ${condition}`;
}

const RAW_COLUMNS = [
  [RAW.sender, 'sender_id'],
  [RAW.recipient, 'recipient_id'],
  [RAW.group, 'group_id'],
  [RAW.content, 'content'],
  [RAW.type, 'type'],
  [RAW.status, 'status'],
  [RAW.createdAt, 'created_at'],
] as const;

/** The rows of which a check does not hold, with the names of those checks. */
function differing(
  id: string,
  checks: readonly [name: string, holds: string][],
  fromWhere: string,
): string {
  const failed = checks.map(([, holds]) => `(${holds}) IS NOT TRUE`);
  const names = checks.map(
    ([name], i) => `CASE WHEN ${failed[i]} THEN '${name.replaceAll("'", "''")}, ' ELSE '' END`,
  );
  return `SELECT CAST(${id} AS text) AS "legacyId", 'differs' AS kind, ${names.join(' || ')} AS detail
    FROM ${fromWhere} AND (${failed.join(' OR ')})`;
}

function isParticipant(user: string, further = ''): string {
  return `EXISTS (SELECT 1 FROM conversation_participants p WHERE p.conversation_id = e.conversation_id AND p.user_id = ${user} ${further})`;
}

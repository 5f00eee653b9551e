import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { inverseOf } from '../legacy/inverse.js';
import { inRange, LEGACY_COLUMNS, oldRows } from '../legacy/old-rows.js';

/** The statements of the comparison; each is about the ids from `:from` to `:upTo`, as text. */
export interface VerifySql {
  /** Rows on each side, as `{legacy, migrated, quarantined}`. */
  readonly count: string;
  /** What is wrong, as `{legacyId, kind, detail}`; no row: nothing. */
  readonly mismatches: readonly string[];
}

/**
 * Compares in the database, in short ranges: each old row with what the served columns say it must have been (the
 * inverse), and each served column with what the old row says it must be (the forward check, which alone sees half
 * a second added to a time that the old column cannot hold).
 */
export function verifySql(dialect: Dialect, mapping: LegacyMapping, fillsLink: boolean): VerifySql {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const inverse = inverseOf(dialect, 'e', 'c');
  const instant = dialect.instantOf(m.createdAt);

  const checks: [name: string, holds: string][] = [
    ...LEGACY_COLUMNS.map((column): [string, string] => [
      rows.names[column].replaceAll('"', ''),
      dialect.identical(m[column], inverse[column]),
    ]),
    ['id of the copy', 'e.id = e.legacy_message_id'],
    ['sent_at', `e.sent_at = ${instant}`],
    ['position', `e.position = ${instant}`],
    ...(fillsLink
      ? [
          [
            rows.names.conversationId.replaceAll('"', ''),
            `${m.conversationId} = e.conversation_id`,
          ] as [string, string],
        ]
      : []),
    ['sender is no participant', isParticipant('e.sender_id')],
    [
      'recipient is no participant',
      `(c.kind = 'group' OR (${isParticipant('c.pair_low')} AND ${isParticipant('c.pair_high')}))`,
    ],
  ];
  const failed = checks.map(([, holds]) => `(${holds}) IS NOT TRUE`);
  const names = checks.map(
    ([name], i) => `CASE WHEN ${failed[i]} THEN '${name.replaceAll("'", "''")}, ' ELSE '' END`,
  );

  return {
    count: `SELECT (SELECT count(*) FROM ${rows.table} m WHERE ${inRange(m.id)}) AS legacy,
      (SELECT count(*) FROM enhanced_messages e WHERE ${inRange('e.legacy_message_id')}) AS migrated,
      (SELECT count(*) FROM changeover_quarantine q WHERE ${inRange('q.legacy_id')}) AS quarantined`,
    mismatches: [
      `SELECT CAST(${m.id} AS text) AS "legacyId", 'differs' AS kind, ${names.join(' || ')} AS detail
        FROM ${rows.table} m
          JOIN enhanced_messages e ON e.legacy_message_id = ${m.id}
          LEFT JOIN conversations c ON c.id = e.conversation_id
        WHERE ${inRange(m.id)} AND (${failed.join(' OR ')})`,
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
    ],
  };
}

function isParticipant(user: string): string {
  return `EXISTS (SELECT 1 FROM conversation_participants p WHERE p.conversation_id = e.conversation_id AND p.user_id = ${user})`;
}

import { createHash } from 'node:crypto';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import { inverseOf, keptBeside } from '../legacy/inverse.js';
import { LOWEST_ID } from '../database/ids.js';
import {
  inRange,
  LEGACY_COLUMNS,
  type LegacyExpressions,
  nextAfter,
  oldRows,
} from '../legacy/old-rows.js';
import { endOfPage } from './content-bytes.js';
import type { ChangeoverContext } from './context.js';
import { pendingIn } from './pending-rows.js';
import { Meter } from './progress.js';

/** Rows of each side at a time, where their texts are not large. */
const ROWS_PER_PAGE = 200;

export interface Digest {
  /** Lower-case hex, of the old table. */
  readonly sha256: string;
  /** Ids of rows whose lines differ between the page. */
  readonly differing: readonly string[];
}

/**
 * Streams the canonical form of all old rows by id, from the old table and rebuilt from the new side (rows in
 * quarantine from the old table on both), and hashes it. One line a row: each column in the order of the old table,
 * on SQLite as `type:hex`, on PostgreSQL as hex, with `|` between them and a line feed at the end. So the
 * same figure can be made of a restored backup.
 *
 * Reads both sides once, 200 rows or 8 MiB of text at a time. Where the old app writes on, the figure is of no single instant, and rows
 * that are pending differ by right.
 */
export async function digest(
  { database, mapping, report }: ChangeoverContext,
  rows: number,
): Promise<Digest> {
  const statements = digestSql(database.dialect, mapping);
  const meter = new Meter('digest', rows, report);
  const hash = createHash('sha256');
  const differing: string[] = [];
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const start: string = from;
    const page = await database.snapshot(async (reader) => {
      const upTo = await endOfPage(
        reader,
        { dialect: database.dialect, mapping },
        { from: start, size: ROWS_PER_PAGE },
      );
      const range = { from: start, upTo };
      return {
        upTo: range.upTo,
        pending: await pendingIn(reader, range),
        old: await reader.all<Line>(statements.old, range),
        rebuilt: await reader.all<Line>(statements.rebuilt, range),
      };
    });
    const lines = new Map(page.rebuilt.map(({ legacyId, line }) => [legacyId, line]));
    for (const { legacyId, line } of page.old) {
      hash.update(`${line}\n`);
      const isPending = page.pending?.has(legacyId) ?? true;
      if (lines.get(legacyId) !== line && !isPending) differing.push(legacyId);
    }
    meter.add(page.old.length);
    from = nextAfter(page.upTo);
  }
  return { sha256: hash.digest('hex'), differing };
}

interface Line {
  readonly legacyId: string;
  readonly line: string;
}

function digestSql(dialect: Dialect, mapping: LegacyMapping): Record<'old' | 'rebuilt', string> {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const lineOf = (row: LegacyExpressions): string =>
    LEGACY_COLUMNS.map((column) => dialect.canonicalOf(row[column])).join(` || '|' || `);
  const byId = (sql: string): string =>
    `SELECT CAST(r.id AS text) AS "legacyId", r.line FROM (${sql}) AS r ORDER BY r.id`;
  return {
    old: byId(
      `SELECT ${m.id} AS id, ${lineOf(m)} AS line FROM ${rows.table} m WHERE ${inRange(m.id)}`,
    ),
    rebuilt:
      byId(`SELECT e.legacy_message_id AS id, ${lineOf(inverseOf(dialect, 'e', 'c', 'v'))} AS line
        FROM enhanced_messages e JOIN conversations c ON c.id = e.conversation_id
          ${keptBeside('e', 'v')} AND ${inRange('v.message_id')}
        WHERE ${inRange('e.legacy_message_id')}
      UNION ALL SELECT ${m.id} AS id, ${lineOf(m)} AS line
        FROM changeover_quarantine q JOIN ${rows.table} m ON ${m.id} = q.legacy_id
        WHERE ${inRange('q.legacy_id')}`),
  };
}

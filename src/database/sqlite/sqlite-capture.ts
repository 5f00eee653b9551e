import { CAPTURE_PREFIX, type CapturedTable, type CaptureTrigger } from '../capture-triggers.js';

const name = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;

/** The trigger runs in the old app's SQLite, which may be years older than ours: no function that came after 3.0. */
const NOW = `CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)`;

/**
 * The triggers of one old table. REPLACE removes a conflicting row without telling any of them, and TRUNCATE does not
 * exist here.
 */
export function sqliteCaptureOf({
  table,
  key,
  columns,
  source,
  departure,
}: CapturedTable): readonly CaptureTrigger[] {
  const entry = (row: 'OLD' | 'NEW'): string =>
    `INSERT INTO changeover_queue (source, legacy_id, queued_at) VALUES ('${source}', ${row}.${name(key)}, ${NOW});`;
  const goneEntry =
    departure === undefined
      ? entry('OLD')
      : `INSERT INTO changeover_queue (source, legacy_id, queued_at, phone) VALUES ('${departure.source}', OLD.${name(key)}, ${NOW}, OLD.${name(departure.keeps)});`;
  const trigger = (event: string, when: string, ...entries: string[]): CaptureTrigger => {
    const called = `${CAPTURE_PREFIX}${source}_${event}`;
    const create = `CREATE TRIGGER "${called}" AFTER ${when} BEGIN ${entries.join(' ')} END`;
    return {
      name: called,
      table,
      create: [...dropSqliteCapture(table, called), create],
      definition: create,
    };
  };
  const others = columns.filter((column) => column !== key).map(name);
  return [
    trigger('insert', `INSERT ON ${name(table)}`, entry('NEW')),
    trigger('delete', `DELETE ON ${name(table)}`, goneEntry),
    trigger('update', `UPDATE OF ${others.join(', ')} ON ${name(table)}`, entry('NEW')),
    // By its value: the key may be set under the names rowid, oid and _rowid_ too.
    trigger(
      'key',
      `UPDATE ON ${name(table)} WHEN OLD.${name(key)} IS NOT NEW.${name(key)}`,
      goneEntry,
      entry('NEW'),
    ),
  ];
}

export function dropSqliteCapture(_table: string, trigger: string): readonly string[] {
  return [`DROP TRIGGER IF EXISTS "${trigger}"`];
}

import { CAPTURE_PREFIX, type CapturedTable, type CaptureTrigger } from '../capture-triggers.js';

const name = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;

/** Bits of pg_trigger.tgtype. */
const [ROW, INSERT, DELETE, UPDATE, TRUNCATE] = [1, 4, 8, 16, 32];

/**
 * The triggers of one old table. They run with our rights, since the old app's role has none on the queue, and with a
 * search path of their own, which ends in pg_temp: else a temporary table called changeover_queue would take the
 * entries. ALWAYS: also where session_replication_role is replica.
 */
export function postgresCaptureOf({
  table,
  key,
  columns,
  source,
  departure,
}: CapturedTable): readonly CaptureTrigger[] {
  const now = '(extract(epoch FROM clock_timestamp()) * 1000000)::bigint';
  // In the order of the clock, so that what a transaction has just made is found without an index of its own.
  const ordered = `(lpad(to_hex(${now}), 16, '0') || right(replace(gen_random_uuid()::text, '-', ''), 16))::uuid`;
  const entry = (id: string): string =>
    `INSERT INTO changeover_queue (id, source, legacy_id, queued_at) VALUES (${ordered}, '${source}', ${id}, ${now});`;
  const goneEntry =
    departure === undefined
      ? entry(`OLD.${name(key)}`)
      : `INSERT INTO changeover_queue (source, legacy_id, queued_at, phone) VALUES ('${departure.source}', OLD.${name(key)}, ${now}, OLD.${name(departure.keeps)}::text);`;
  const trigger = (
    event: string,
    type: number,
    when: string,
    condition: string,
    body: string,
  ): CaptureTrigger => {
    const called = `${CAPTURE_PREFIX}${source}_${event}`;
    const text = `BEGIN ${body} RETURN NULL; END`;
    return {
      name: called,
      table,
      create: [
        ...dropPostgresCapture(table, called),
        `DO $do$ BEGIN EXECUTE format($create$CREATE FUNCTION "${called}"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
          SET search_path = pg_catalog, %I, pg_temp AS $body$${text}$body$$create$, current_schema()); END $do$`,
        `CREATE TRIGGER "${called}" AFTER ${when} ON ${name(table)} ${condition} EXECUTE FUNCTION "${called}"()`,
        `ALTER TABLE ${name(table)} ENABLE ALWAYS TRIGGER "${called}"`,
      ],
      definition: `A ${type} ${text}`,
    };
  };
  // Byte by byte: a collation may call unlike texts equal.
  const isChanged = columns.map(
    (column) =>
      `OLD.${name(column)}::text COLLATE "C" IS DISTINCT FROM NEW.${name(column)}::text COLLATE "C"`,
  );
  return [
    trigger('insert', ROW + INSERT, 'INSERT', 'FOR EACH ROW', entry(`NEW.${name(key)}`)),
    trigger('delete', ROW + DELETE, 'DELETE', 'FOR EACH ROW', goneEntry),
    trigger(
      'update',
      ROW + UPDATE,
      'UPDATE',
      `FOR EACH ROW WHEN (${isChanged.join(' OR ')})`,
      `${entry(`NEW.${name(key)}`)} IF OLD.${name(key)} <> NEW.${name(key)} THEN ${goneEntry} END IF;`,
    ),
    trigger('truncate', TRUNCATE, 'TRUNCATE', 'FOR EACH STATEMENT', entry('NULL')),
  ];
}

export function dropPostgresCapture(table: string, trigger: string): readonly string[] {
  return [
    `DROP TRIGGER IF EXISTS "${trigger}" ON ${name(table)}`,
    `DROP FUNCTION IF EXISTS "${trigger}"()`,
  ];
}

import { CAPTURE_PREFIX } from '../capture-triggers.js';
import { UTC } from '../../config/zone.js';
import type { Dialect } from '../dialect.js';
import { LATE_INDEXES } from '../migrations/postgres-tables.js';
import { dropPostgresCapture, postgresCaptureOf } from './postgres-capture.js';

/** The years in which the order of a time's text is the order of times, and microseconds fit 64 bits. */
const IN_ORDER = `BETWEEN timestamp '0001-01-01' AND timestamp '9999-12-31 23:59:59.999999'`;

/** Guarded by CASE, since the order in which conditions are asked is the planner's. */
function exactInstantOf(time: string): string {
  return `CASE WHEN ${time} ${IN_ORDER} THEN (extract(epoch FROM ${time}) * 1000000)::bigint END`;
}

const RAW_TYPES = { id: 'bigint', text: 'text', time: 'timestamp' } as const;

/** PostgreSQL's words. Times of the old app are `timestamp` columns, kept to the microsecond. */
const LOG_LOCK = 'pg_advisory_xact_lock(7310592897)';

export const postgresDialect: Dialect = {
  engine: 'postgres',
  zone: UTC,
  types: {
    id: 'bigint',
    instant: 'bigint',
    small: 'smallint',
    flag: 'boolean',
    raw: 'text',
    legacyTime: 'timestamp',
  },
  name: (identifier) => `"${identifier.replaceAll('"', '""')}"`,
  // least(x, NULL) is x here: a null recipient would land in the sender's notes to himself.
  lesser: (a, b) => `CASE WHEN ${a} <= ${b} THEN ${a} WHEN ${b} < ${a} THEN ${b} END`,
  greater: (a, b) => `CASE WHEN ${a} >= ${b} THEN ${a} WHEN ${b} > ${a} THEN ${b} END`,
  keyText: (expression) => `(${expression})::text`,
  textOf: (expression) => `(${expression})::text COLLATE "C"`,
  // Types are the columns' own here. The text's bytes are compared, since a collation may call unlike texts equal.
  identical: (a, b) => `((${a})::text COLLATE "C" IS NOT DISTINCT FROM (${b})::text COLLATE "C")`,
  isInteger: (expression) => `${expression} IS NOT NULL`,
  exactly: (expression) => `(${expression})::text COLLATE "C"`,
  isNone: (expression) => `(${expression} IS NULL OR ${expression} = 0)`,
  isNumber: () => 'false',
  instantOf: exactInstantOf,
  exactInstantOf,
  // A timestamp within these years and its microseconds are the same thing, and there is no other way to write one.
  otherInstantOf: () => 'NULL',
  // Two parts, since interval multiplication goes through a double and 2^53 microseconds are only 285 years.
  legacyTime: (instant) =>
    `(timestamp '1970-01-01' + (${instant} / 1000000) * interval '1 second' + (${instant} % 1000000) * interval '1 microsecond')`,
  toRaw: (expression) => `(${expression})::text`,
  fromRaw: (expression, holds) => `(${expression})::${RAW_TYPES[holds]}`,
  typeOf: (expression) => `pg_typeof(${expression})::text`,
  hexOf: (expression) => `encode(convert_to((${expression})::text, 'UTF8'), 'hex')`,
  // The type is the column's, whatever the value.
  canonicalOf: (expression) =>
    `coalesce(encode(convert_to((${expression})::text, 'UTF8'), 'hex'), 'null')`,
  idOfFirst: (instant, id) => `(min(ARRAY[${instant}, ${id}]))[2]`,
  lateIndexes: {
    drop: LATE_INDEXES.map(({ name }) => `DROP INDEX IF EXISTS "${name}"`),
    build: LATE_INDEXES.map(({ create }) => create.replace(' INDEX ', ' INDEX IF NOT EXISTS ')),
  },
  empty: (table) => `TRUNCATE "${table}"`,
  analyze: (table) => [`ANALYZE "${table}"`],
  unlocked: (select) => `${select} FOR NO KEY UPDATE SKIP LOCKED`,
  locked: (select) => `${select} FOR NO KEY UPDATE`,
  givesNumbersAgain: false,
  // By the clock: where it is set back between the two, an entry stays that could go.
  queueEnd: `SELECT lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 16, '0') || repeat('0', 16)`,
  isBehind: (name) => `id >= CAST(:${name} AS uuid)`,
  locking: (select) => [`${select} FOR NO KEY UPDATE`],
  atOnce: (statements) => [
    `WITH ${statements.map((statement, n) => `s${n} AS (${statement})`).join(', ')} SELECT 1 AS done`,
  ],
  // "segue" and the log, in ASCII. Taken last and held until the commit, so that ids come in the order of commits.
  lockEventLog: [`SELECT ${LOG_LOCK}`],
  // A part of its own that is not dissolved: else PostgreSQL would leave out what nobody reads, and never lock.
  behindEventLog: (statement) =>
    `WITH locked AS MATERIALIZED (SELECT ${LOG_LOCK} AS log) ${statement((source) => `locked CROSS JOIN ${source}`)}`,
  newEpoch: `substr(replace(gen_random_uuid()::text, '-', ''), 1, 16)`,
  newMessageIds: `SELECT CAST(nextval('enhanced_messages_own_ids') AS text) AS id FROM generate_series(1, :count)`,
  // Statistics know nothing of the ids that a batch just wrote, since they lie below all others: the planner expects
  // one row, and looks up each of them: 60 of the 200 ms of a link, and 35 when told not to.
  // A row that the old app holds is not waited for longer: with it would wait all that stand behind us, and who waits for
  // a second for each other is ended by the server, the old app as likely as we.
  beforeLink: ['SET LOCAL enable_nestloop = off', `SET LOCAL lock_timeout = '100ms'`],
  // TRUNCATE would lock them too, but after the rows were counted.
  lockTables: (tables) => [
    `LOCK TABLE ${tables.map((table) => `"${table}"`).join(', ')} IN ACCESS EXCLUSIVE MODE`,
  ],
  dropsColumnsCheaply: true,
  addedMark: '',
  markedColumns: `SELECT attname::text AS name FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(:table)) AND false`,
  now: `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`,
  readable: {
    key: ['smallint', 'integer', 'bigint'],
    reference: ['smallint', 'integer', 'bigint'],
    text: ['text', 'character varying'],
    time: ['timestamp without time zone'],
  },
  hasTable: `SELECT count(*) AS present FROM pg_class WHERE oid = to_regclass(quote_ident(:table)) AND relkind IN ('r', 'p')`,
  isNameTaken: `SELECT count(to_regclass(quote_ident(:table))) AS present`,
  listTables: `SELECT relname::text AS name FROM pg_class WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid)
    AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND relpersistence <> 't' ORDER BY 1`,
  strangeSchema: `SELECT n.nspname::text AS schema FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass(quote_ident(:table)) AND n.nspname IS DISTINCT FROM current_schema()`,
  describeTable: `SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type,
    EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND i.indkey::text = a.attnum::text) AS "isKey"
    FROM pg_attribute a WHERE a.attrelid = to_regclass(quote_ident(:table)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
  // Bit 16 of tgtype is UPDATE; tgattr lists the columns of UPDATE OF. A rule acts too, and a constraint that was
  // never checked on old rows is checked when they are touched.
  triggersOn: `SELECT t.tgname::text AS name, (t.tgtype & 16) <> 0 AND t.tgattr::text = '' AS acts FROM pg_trigger t
      WHERE t.tgrelid = to_regclass(quote_ident(:table)) AND NOT t.tgisinternal AND NOT starts_with(t.tgname, '${CAPTURE_PREFIX}')
    UNION ALL SELECT rulename::text, ev_type = '2' FROM pg_rewrite WHERE ev_class = to_regclass(quote_ident(:table))
    UNION ALL SELECT conname::text, true FROM pg_constraint
      WHERE conrelid = to_regclass(quote_ident(:table)) AND NOT convalidated
    ORDER BY 1`,
  // A statement with fewer values than columns is taken here, and a function's text is read anew each time.
  triggerTexts: `SELECT NULL AS name, NULL AS text WHERE false`,
  captureOf: postgresCaptureOf,
  dropCapture: dropPostgresCapture,
  captureOn: `SELECT t.tgname::text AS name, t.tgenabled::text || ' ' || t.tgtype::text || ' ' || p.prosrc AS definition
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = to_regclass(quote_ident(:table)) AND starts_with(t.tgname, '${CAPTURE_PREFIX}')`,
  isAmong: (expression, subquery) => `${expression} = ANY (ARRAY(${subquery}))`,
  idsIn: (name) =>
    `SELECT CAST(value AS bigint) AS id FROM jsonb_array_elements_text(CAST(:${name} AS jsonb)) AS listed(value)`,
  rowsIn: (name, columns, texts = []) =>
    `SELECT ${[
      ...columns.map((column) => `CAST(value->>'${column}' AS bigint) AS ${column}`),
      ...texts.map((column) => `value->>'${column}' AS ${column}`),
    ].join(', ')} FROM jsonb_array_elements(CAST(:${name} AS jsonb)) AS listed(value)`,
  joinEach: (table, alias, query) =>
    `CROSS JOIN LATERAL (SELECT x.* FROM ${table} x ${query}) AS ${alias}`,
  jsonOf: (query, columns) =>
    `(SELECT coalesce(json_agg(json_build_object(${columns.map((column) => `'${column}', "${column}"`).join(', ')})), '[]')::text FROM (${query}) AS rows_of_it)`,
  textsIn: (name) =>
    `SELECT value FROM jsonb_array_elements_text(CAST(:${name} AS jsonb)) AS listed(value)`,
  entriesIn: (name) =>
    `SELECT CAST(value AS uuid) FROM jsonb_array_elements_text(CAST(:${name} AS jsonb)) AS listed(value)`,
  // Autovacuum never sees a temporary table; this empties it without a trace in the catalogue.
  scratchTable: (table, columns) => [
    `CREATE TEMPORARY TABLE IF NOT EXISTS ${table} (${columns.map(([name, holds]) => `${name} ${holds === 'flag' ? 'boolean' : RAW_TYPES[holds]}`).join(', ')}) ON COMMIT DELETE ROWS`,
  ],
  largestLog: `SELECT pg_size_bytes(current_setting('max_wal_size')) AS bytes`,
  afterBatch: [],
  manners: {
    busyTargetMs: 100,
    // Others wait only for the rows that it holds. Resting as long as it works, apply would fall behind a busy old app.
    restShare: 0.25,
    // Locks are given in turn, and only those of rows are held: nobody starves.
    gapMs: 0,
    gapEveryMs: Infinity,
    // Of what others write, only old rows matter: they leave entries.
    foreignMark: 'SELECT applied FROM changeover_state WHERE id = 1',
    // The old table is known by its triggers: each row that is linked leaves a dead one there.
    throttles: `SELECT 'replica lag' AS reason FROM pg_stat_replication WHERE replay_lag > interval '2 seconds'
      UNION ALL SELECT 'dead tuples' FROM pg_stat_user_tables
        WHERE (relid = to_regclass('enhanced_messages')
            OR relid IN (SELECT tgrelid FROM pg_trigger WHERE starts_with(tgname::text, '${CAPTURE_PREFIX}'))) AND n_dead_tup > 100000 AND n_dead_tup > n_live_tup
      LIMIT 1`,
    // pg_stat_activity hides from a plain role what others wait for.
    waiters: `SELECT w.pid FROM pg_locks w
      WHERE NOT w.granted AND w.pid <> pg_backend_pid() AND pg_backend_pid() = ANY (pg_blocking_pids(w.pid)) LIMIT 1`,
    longWaitMs: Infinity,
  },
  // What another role's session is called can be hidden from us: then it is one of others.
  foreignSessions: `SELECT coalesce(nullif(application_name, ''), 'a session without a name') || coalesce(' of ' || usename, '') AS who, count(*) AS count
    FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND coalesce(application_name, '') <> 'segue' GROUP BY 1 ORDER BY 1`,
  asksOfOldApp: [
    {
      name: 'named-columns',
      check: 'triggers',
      says: 'The old app names the columns where it copies SELECT * of these tables into another one. If not: --without-columns.',
      becauseOfColumns: true,
    },
    {
      name: 'replanned-statement',
      check: null,
      says:
        'The old app prepares no SELECT * of these tables, or prepares it anew when it fails with "cached plan must ' +
        'not change result type". If not: restart it right after expand, or --without-columns.',
      becauseOfColumns: true,
    },
  ],
  version: `SELECT 'PostgreSQL ' || current_setting('server_version') AS version`,
};

import type { Dialect } from '../dialect.js';

/** The years in which the order of a time's text is the order of times, and microseconds fit 64 bits. */
const IN_ORDER = `BETWEEN timestamp '0001-01-01' AND timestamp '9999-12-31 23:59:59.999999'`;

/** PostgreSQL's words. Times of the old app are `timestamp` columns, kept to the microsecond. */
export const postgresDialect: Dialect = {
  engine: 'postgres',
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
  isText: (expression) => `${expression} IS NOT NULL`,
  isCanonicalTime: (expression) => `coalesce(${expression} ${IN_ORDER}, false)`,
  // Guarded by CASE, since the order in which conditions are asked is the planner's.
  instantOf: (expression) =>
    `CASE WHEN ${expression} ${IN_ORDER} THEN (extract(epoch FROM ${expression}) * 1000000)::bigint END`,
  // Two parts, since interval multiplication goes through a double and 2^53 microseconds are only 285 years.
  legacyTime: (instant) =>
    `(timestamp '1970-01-01' + (${instant} / 1000000) * interval '1 second' + (${instant} % 1000000) * interval '1 microsecond')`,
  idOfFirst: (instant, id) => `(min(ARRAY[${instant}, ${id}]))[2]`,
  analyze: (table) => [`ANALYZE "${table}"`],
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
      WHERE t.tgrelid = to_regclass(quote_ident(:table)) AND NOT t.tgisinternal
    UNION ALL SELECT rulename::text, ev_type = '2' FROM pg_rewrite WHERE ev_class = to_regclass(quote_ident(:table))
    UNION ALL SELECT conname::text, true FROM pg_constraint
      WHERE conrelid = to_regclass(quote_ident(:table)) AND NOT convalidated
    ORDER BY 1`,
  version: `SELECT 'PostgreSQL ' || current_setting('server_version') AS version`,
};

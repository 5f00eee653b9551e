import type { Dialect } from '../dialect.js';

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
  textOf: (expression) => `(${expression})::text COLLATE "C"`,
  // Types are the columns' own here. The text's bytes are compared, since a collation may call unlike texts equal.
  identical: (a, b) => `((${a})::text COLLATE "C" IS NOT DISTINCT FROM (${b})::text COLLATE "C")`,
  isInteger: (expression) => `${expression} IS NOT NULL`,
  isText: (expression) => `${expression} IS NOT NULL`,
  isCanonicalTime: (expression) => `coalesce(isfinite(${expression}), false)`,
  instantOf: (expression) => `(extract(epoch FROM ${expression}) * 1000000)::bigint`,
  // Two parts, since interval multiplication goes through a double and 2^53 microseconds are only 285 years.
  legacyTime: (instant) =>
    `(timestamp '1970-01-01' + (${instant} / 1000000) * interval '1 second' + (${instant} % 1000000) * interval '1 microsecond')`,
  idOfFirst: (instant, id) => `(min(ARRAY[${instant}, ${id}]))[2]`,
  analyze: (table) => [`ANALYZE "${table}"`],
  now: `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`,
  keyTypes: ['smallint', 'integer', 'bigint'],
  timeTypes: ['timestamp without time zone'],
  hasTable: `SELECT count(to_regclass(quote_ident(:table))) AS present`,
  describeTable: `SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type,
    EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND i.indkey::text = a.attnum::text) AS "isKey"
    FROM pg_attribute a WHERE a.attrelid = to_regclass(quote_ident(:table)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
  triggersOn: `SELECT t.tgname::text AS name, pg_get_triggerdef(t.oid) AS definition FROM pg_trigger t
    WHERE t.tgrelid = to_regclass(quote_ident(:table)) AND NOT t.tgisinternal ORDER BY t.tgname`,
  version: `SELECT 'PostgreSQL ' || current_setting('server_version') AS version`,
};

import type { Dialect } from '../dialect.js';

/** Microseconds from the beginning of year 0 to 1970, and some: added, no instant is negative. */
const YEAR_ZERO = '70000000000000000';

/** SQLite's words. Times of the old app are text `YYYY-MM-DD HH:MM:SS`, as CURRENT_TIMESTAMP writes them. */
export const sqliteDialect: Dialect = {
  engine: 'sqlite',
  types: {
    id: 'integer',
    instant: 'integer',
    small: 'integer',
    flag: 'boolean',
    raw: 'blob',
    legacyTime: 'datetime',
  },
  name: (identifier) => `"${identifier.replaceAll('"', '""')}"`,
  lesser: (a, b) => `min(${a}, ${b})`,
  greater: (a, b) => `max(${a}, ${b})`,
  // Too many are found rather than too few: '12ab' is 12 here, and the old condition is asked again of each row.
  keyText: (expression) => `CAST(CAST(${expression} AS INTEGER) AS TEXT)`,
  // The column may have been declared with a collation of its own; a cast does not take it off.
  textOf: (expression) => `CAST(${expression} AS TEXT) COLLATE BINARY`,
  // Values of one type class under BINARY are equal only when their bytes are.
  identical: (a, b) => `(typeof(${a}) = typeof(${b}) AND ${a} IS ${b} COLLATE BINARY)`,
  isInteger: (expression) => `typeof(${expression}) = 'integer'`,
  isText: (expression) => `typeof(${expression}) = 'text'`,
  // 2011-02-31 is read as 2011-03-03, 24:00:00 as the next day, 'now' as now: only what comes back unchanged is
  // canonical. The order of texts is that of times from year 0 on (a text
  // is cast for that, or the column's affinity would make the year a number).
  isCanonicalTime: (expression) =>
    `(typeof(${expression}) = 'text' AND CAST(${expression} AS TEXT) >= '0000' AND datetime(unixepoch(${expression}), 'unixepoch') IS ${expression} COLLATE BINARY)`,
  instantOf: (expression) => `(unixepoch(${expression}) * 1000000)`,
  legacyTime: (instant) => `datetime(${instant} / 1000000, 'unixepoch')`,
  // Both numbers as text of one width, so that the smallest text is the first pair. A bare column beside min() is
  // taken from any of the rows that share the minimum.
  idOfFirst: (instant, id) => {
    const first = `min(printf('%020d%d%019d', ${instant} + ${YEAR_ZERO}, ${id} >= 0,
      CASE WHEN ${id} >= 0 THEN ${id} ELSE ${id} + 9223372036854775807 + 1 END))`;
    return `CASE substr(${first}, 21, 1) WHEN '1' THEN CAST(substr(${first}, 22) AS INTEGER)
      ELSE CAST(substr(${first}, 22) AS INTEGER) - 9223372036854775807 - 1 END`;
  },
  // ANALYZE would leave sqlite_stat1 behind, and with it other plans for the old app.
  analyze: () => [],
  now: `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`,
  // Only INTEGER PRIMARY KEY is the rowid: never null, never text. Other declared types say nothing of the values.
  readable: { key: ['integer'], reference: [], text: [], time: [] },
  hasTable: `SELECT count(*) AS present FROM sqlite_master WHERE type = 'table' AND name = :table COLLATE NOCASE`,
  isNameTaken: `SELECT count(*) AS present FROM sqlite_master WHERE name = :table COLLATE NOCASE`,
  listTables: `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name`,
  strangeSchema: `SELECT NULL AS schema WHERE :table IS NULL`,
  // INTEGER PRIMARY KEY DESC and keys of WITHOUT ROWID tables have an index of their own: they are not the rowid.
  describeTable: `SELECT name, lower(type) AS type,
      pk = 1 AND NOT EXISTS (SELECT 1 FROM pragma_index_list(:table) WHERE origin = 'pk') AS "isKey"
    FROM pragma_table_info(:table)`,
  // Read without a parser, so that neither a comment nor a quoted name can hide it: a trigger does not act on an
  // UPDATE of our column when its text has no UPDATE but followed by OF.
  triggersOn: `SELECT name, replace(lower(sql), 'update of ', '') LIKE '%update%' AS acts FROM sqlite_master
    WHERE type = 'trigger' AND tbl_name = :table COLLATE NOCASE ORDER BY name`,
  version: `SELECT 'SQLite ' || sqlite_version() AS version`,
};

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
  // The column may have been declared with a collation of its own; a cast does not take it off.
  textOf: (expression) => `CAST(${expression} AS TEXT) COLLATE BINARY`,
  // Values of one type class under BINARY are equal only when their bytes are.
  identical: (a, b) => `(typeof(${a}) = typeof(${b}) AND ${a} IS ${b} COLLATE BINARY)`,
  isInteger: (expression) => `typeof(${expression}) = 'integer'`,
  isText: (expression) => `typeof(${expression}) = 'text'`,
  // datetime() turns 2011-02-31 into 2011-03-03 and reads 'now': only what comes back unchanged is canonical.
  isCanonicalTime: (expression) =>
    `(typeof(${expression}) = 'text' AND datetime(${expression}) IS ${expression} COLLATE BINARY)`,
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
  // Only INTEGER PRIMARY KEY is the rowid: never null, never text.
  keyTypes: ['integer'],
  // The declared type says nothing of the values: each row is looked at.
  timeTypes: [],
  hasTable: `SELECT count(*) AS present FROM sqlite_master WHERE type = 'table' AND name = :table COLLATE NOCASE`,
  describeTable: `SELECT name, lower(type) AS type, pk = 1 AND (SELECT max(pk) FROM pragma_table_info(:table)) = 1 AS "isKey"
    FROM pragma_table_info(:table)`,
  triggersOn: `SELECT name, sql AS definition FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table ORDER BY name`,
  version: `SELECT 'SQLite ' || sqlite_version() AS version`,
};

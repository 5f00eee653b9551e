import { CAPTURE_PREFIX } from '../capture-triggers.js';
import { UTC } from '../../config/zone.js';
import type { Dialect } from '../dialect.js';
import { dropSqliteCapture, sqliteCaptureOf } from './sqlite-capture.js';

/** Microseconds from the beginning of year 0 to 1970, and some: added, no instant is negative. */
const YEAR_ZERO = '70000000000000000';

/** Between year 0 and the end of year 9999: the seconds that a date function gives a date for. */
const IN_ORDER = 'BETWEEN -62167219200 AND 253402300799';

const CLOCK = '[0-9][0-9]:[0-9][0-9]';

/**
 * SQLite's own parser, for what has the form of a time and names a day that exists. It takes much else: 2011-02-31 is
 * 2011-03-03 to it, 24:00:00 the next day, 'now' and bare numbers are times, blanks may stand nearly anywhere, and it
 * stops reading at NUL. It reads fractions to the millisecond; the digits are taken from the text here.
 */
export function instantOfText(text: string): string {
  const zone = zoneOfText(text);
  const clock = `substr(${text}, 12, length(${text}) - 11 - length(${zone}))`;
  const fraction = `substr(${clock}, 10)`;
  const seconds = `unixepoch(substr(${text}, 1, 19) || ${zone})`;
  return `CASE WHEN ${text} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' AND instr(${text}, char(0)) = 0
      AND date(substr(${text}, 1, 10)) IS substr(${text}, 1, 10) AND substr(${text}, 12, 2) < '24'
    THEN CASE WHEN length(${text}) = 10 OR substr(${text}, 11, 1) IN (' ', 'T') AND (${clock} GLOB '${CLOCK}:[0-9][0-9]' OR ${clock} GLOB '${CLOCK}')
        THEN unixepoch(${text}) * 1000000
      WHEN substr(${text}, 11, 1) IN (' ', 'T') AND ${clock} GLOB '${CLOCK}:[0-9][0-9].[0-9]*' AND ${fraction} NOT GLOB '*[^0-9]*'
        THEN ${seconds} * 1000000 + CAST(substr(${fraction} || '000000', 1, 6) AS INTEGER) END END`;
}

/** The zone at the end of a time, `Z` or `+05:30`; empty where it has none. */
export function zoneOfText(text: string): string {
  return `CASE WHEN ${text} GLOB '*Z' THEN 'Z' WHEN ${text} GLOB '*:[0-9][0-9]*[+-]${CLOCK}' THEN substr(${text}, -6) ELSE '' END`;
}

/** Multiplied only within the range: beyond it a product would become a real number without a word. */
function instantOfNumber(number: string, whole: (product: string) => string): string {
  return `CASE WHEN ${number} >= 100000000000 THEN CASE WHEN ${number} < 253402300800000 THEN ${whole(`${number} * 1000`)} END
      WHEN ${number} ${IN_ORDER} THEN ${whole(`${number} * 1000000`)} END`;
}

/** What comes back unchanged has the form, and names a day that exists: nearly all rows, and nothing else is asked of them. */
function exactInstantOf(time: string): string {
  return `CASE WHEN typeof(${time}) = 'text' AND datetime(unixepoch(${time}), 'unixepoch') IS ${time} COLLATE BINARY
      AND unixepoch(${time}) ${IN_ORDER} THEN unixepoch(${time}) * 1000000 END`;
}

function otherInstantOf(time: string): string {
  return otherThanExact(time, instantOfText(time));
}

/** @param ofText the instant of a text */
export function otherThanExact(time: string, ofText: string): string {
  return `CASE typeof(${time})
    WHEN 'text' THEN ${ofText}
    WHEN 'integer' THEN ${instantOfNumber(time, (value) => `(${value})`)}
    WHEN 'real' THEN ${instantOfNumber(time, (value) => `CAST(round(${value}) AS INTEGER)`)} END`;
}

/** SQLite's words. Times of the old app are text `YYYY-MM-DD HH:MM:SS`, as CURRENT_TIMESTAMP writes them. */
export const sqliteDialect: Dialect = {
  engine: 'sqlite',
  zone: UTC,
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
  exactly: (expression) => `${expression} COLLATE BINARY`,
  isNone: (expression) => `(${expression} IS NULL OR ${expression} = 0 OR ${expression} = '')`,
  isNumber: (expression) => `typeof(${expression}) IN ('integer', 'real')`,
  instantOf: (expression) =>
    `coalesce(${exactInstantOf(expression)}, ${otherInstantOf(expression)})`,
  exactInstantOf,
  otherInstantOf,
  // Of an instant before 1970 the division rounds up; the rest, which no canonical time has, makes up for it.
  legacyTime: (instant) => `datetime(${instant} / 1000000, 'unixepoch')`,
  toRaw: (expression) => expression,
  fromRaw: (expression) => expression,
  typeOf: (expression) => `typeof(${expression})`,
  hexOf: (expression) => `hex(${expression})`,
  canonicalOf: (expression) => `(typeof(${expression}) || ':' || lower(hex(${expression})))`,
  // Both numbers as text of one width, so that the smallest text is the first pair. A bare column beside min() is
  // taken from any of the rows that share the minimum.
  idOfFirst: (instant, id) => {
    const first = `min(printf('%020d%d%019d', ${instant} + ${YEAR_ZERO}, ${id} >= 0,
      CASE WHEN ${id} >= 0 THEN ${id} ELSE ${id} + 9223372036854775807 + 1 END))`;
    return `CASE substr(${first}, 21, 1) WHEN '1' THEN CAST(substr(${first}, 22) AS INTEGER)
      ELSE CAST(substr(${first}, 22) AS INTEGER) - 9223372036854775807 - 1 END`;
  },
  // There is one write lock: a build over millions of rows would hold it for seconds.
  lateIndexes: { drop: [], build: [] },
  // Without WHERE, SQLite frees the pages instead of looking at rows: 0.2 s for a million.
  empty: (table) => `DELETE FROM "${table}"`,
  // ANALYZE would leave sqlite_stat1 behind, and with it other plans for the old app.
  analyze: () => [],
  unlocked: (select) => select,
  locked: (select) => select,
  locking: () => [],
  givesNumbersAgain: true,
  queueEnd: 'SELECT CAST(coalesce(max(id), 0) AS text) FROM changeover_queue',
  isBehind: (name) => `id > CAST(:${name} AS integer)`,
  atOnce: (statements) => statements,
  lockEventLog: [],
  behindEventLog: (statement) => statement((source) => source),
  newEpoch: 'lower(hex(randomblob(8)))',
  newMessageIds: `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
    SELECT CAST((SELECT coalesce(max(e.id), 1099511627775) FROM enhanced_messages e WHERE e.id >= 1099511627776) + n.i AS text) AS id FROM n`,
  // There are no other joins here than looking up row by row.
  beforeLink: [],
  lockTables: () => [],
  dropsColumnsCheaply: false,
  // A comment in the definition, which SQLite keeps as it was written, and takes out again with the column.
  addedMark: ' /* added by segue */',
  markedColumns: `SELECT c.name FROM sqlite_master t, pragma_table_info(t.name) c
    WHERE t.type = 'table' AND t.name = :table COLLATE NOCASE
      AND instr(t.sql, '"' || c.name || '" ' || c.type || ' /* added by segue */') > 0`,
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
    WHERE type = 'trigger' AND tbl_name = :table COLLATE NOCASE AND name NOT LIKE '${CAPTURE_PREFIX}%' ORDER BY name`,
  triggerTexts: `SELECT name, sql AS text FROM sqlite_master
    WHERE type = 'trigger' AND name NOT LIKE '${CAPTURE_PREFIX}%' ORDER BY name`,
  captureOf: sqliteCaptureOf,
  dropCapture: dropSqliteCapture,
  captureOn: `SELECT name, sql AS definition FROM sqlite_master
    WHERE type = 'trigger' AND tbl_name = :table COLLATE NOCASE AND name LIKE '${CAPTURE_PREFIX}%'`,
  isAmong: (expression, subquery) => `${expression} IN (${subquery})`,
  idsIn: (name) => `SELECT CAST(value AS INTEGER) AS id FROM json_each(:${name})`,
  rowsIn: (name, columns, texts = []) =>
    `SELECT ${[
      ...columns.map(
        (column) => `CAST(json_extract(value, '$.${column}') AS INTEGER) AS ${column}`,
      ),
      ...texts.map((column) => `json_extract(value, '$.${column}') AS ${column}`),
    ].join(', ')} FROM json_each(:${name})`,
  // There is no LATERAL here.
  joinEach: (table, alias, query) =>
    `JOIN ${table} ${alias} ON ${alias}.id IN (SELECT x.id FROM ${table} x ${query})`,
  jsonOf: (query, columns) =>
    `(SELECT json_group_array(json_object(${columns.map((column) => `'${column}', "${column}"`).join(', ')})) FROM (${query}))`,
  textsIn: (name) => `SELECT value FROM json_each(:${name})`,
  entriesIn: (name) => `SELECT CAST(value AS INTEGER) FROM json_each(:${name})`,
  // Without types, so that no value is converted.
  scratchTable: (table, columns) => [
    `CREATE TEMPORARY TABLE IF NOT EXISTS ${table} (${columns.map(([name]) => name).join(', ')})`,
    `DELETE FROM ${table}`,
  ],
  // As large as the largest batch, since a checkpoint comes after a commit: 110 MB were seen.
  largestLog: `SELECT 134217728 AS bytes`,
  // Copies the log into the file as far as readers allow; takes no lock that a writer waits for.
  afterBatch: ['PRAGMA wal_checkpoint(PASSIVE)'],
  manners: {
    busyTargetMs: 25,
    restShare: 1,
    // The engine's own busy handler looks every 100 ms in the end, and a timeout of 1 s is to be enough.
    gapMs: 110,
    gapEveryMs: 850,
    foreignMark: 'PRAGMA data_version',
    throttles: null,
    waiters: null,
    longWaitMs: 50,
  },
  foreignSessions: null,
  asksOfOldApp: [
    {
      name: 'wal',
      check: 'mode',
      says: 'The file is in WAL mode: --wal switches it, and the mode stays.',
      becauseOfColumns: false,
    },
    {
      name: 'named-columns',
      check: 'triggers',
      says:
        'The old app names the columns in its INSERTs into these tables, and in those that copy SELECT * from them. ' +
        'If not: --without-columns.',
      becauseOfColumns: true,
    },
    {
      name: 'busy-timeout',
      check: null,
      says: "Each connection of the old app waits at least 1 s for a lock (PRAGMA busy_timeout = 1000, or its driver's own setting).",
      becauseOfColumns: false,
    },
    {
      name: 'immediate',
      check: null,
      says: 'The old app begins transactions that write with BEGIN IMMEDIATE, or writes in single statements.',
      becauseOfColumns: false,
    },
  ],
  version: `SELECT 'SQLite ' || sqlite_version() AS version`,
};

import type { CapturedTable, CaptureTrigger } from './capture-triggers.js';
import type { Zone } from '../config/zone.js';

export type EngineName = 'sqlite' | 'postgres';

/** Column types of our own tables, where the engines name them differently. */
export interface ColumnTypes {
  /** A key or a reference to one: 64 bits. */
  readonly id: 'integer' | 'bigint';
  /** An instant: microseconds since 1970-01-01 UTC, 64 bits. */
  readonly instant: 'integer' | 'bigint';
  readonly small: 'integer' | 'smallint';
  readonly flag: 'boolean';
  /** A value kept as it was found, without conversion. */
  readonly raw: 'blob' | 'text';
  /** Date and time as the old tables declare them. */
  readonly legacyTime: 'datetime' | 'timestamp';
}

/** A column as the database describes it. */
export interface ColumnDescription {
  readonly name: string;
  /** The declared type, lower case: any text on SQLite, the catalogue's name on PostgreSQL. */
  readonly type: string;
  /** Whether the column alone is the table's primary key. */
  readonly isKey: boolean | number;
}

/** Something that has to be so, or the old app sees errors while the changeover runs. */
export interface OldAppDuty {
  readonly name: string;
  /** What tells, at least in part, whether it is so: the database's mode, the texts of old triggers; or nothing. */
  readonly check: 'mode' | 'triggers' | null;
  /** The duty, and the way out where it is not met, as a sentence. */
  readonly says: string;
  /** True: only because columns are added to its tables. */
  readonly becauseOfColumns: boolean;
}

/** How to write beside others without being in their way. */
export interface Manners {
  /** How long a batch may hold its locks while others write, in ms. */
  readonly busyTargetMs: number;
  /** How long it rests after a transaction, as a part of the time for which that held its locks. */
  readonly restShare: number;
  /** A rest that any waiting writer has to notice, and how long he may have to wait for one, in ms. */
  readonly gapMs: number;
  readonly gapEveryMs: number;
  /** A statement whose one value changes when somebody else has committed a write, on the connection that writes. */
  readonly foreignMark: string;
  /** What the database suffers from that a slower copy would help, as rows `{reason}`; null: nothing can be asked. */
  readonly throttles: string | null;
  /**
   * A row where somebody waits for a lock that the asking transaction holds; null: nobody can tell. Then a transaction
   * of ours that had to wait so many ms for its beginning says that others are busy.
   */
  readonly waiters: string | null;
  readonly longWaitMs: number;
}

/**
 * What the two engines write differently. Statements are made of these pieces, so that no statement asks which
 * engine it is for. Arguments are SQL expressions; results are too.
 */
export interface Dialect {
  readonly engine: EngineName;
  readonly types: ColumnTypes;

  /** The zone of old times that say none of their own. */
  readonly zone: Zone;

  /** A name, quoted, whatever is in it. */
  name(identifier: string): string;

  /** The smaller and the larger of two numbers, null when either is null. */
  lesser(a: string, b: string): string;
  greater(a: string, b: string): string;

  /** The whole number that an old comparison with a number may take a value for, as text: a key to look it up by. */
  keyText(expression: string): string;

  /** The value's own text, compared byte by byte; null stays null. */
  textOf(expression: string): string;

  /**
   * True when both are null, or both have the same type and the same bytes. Plain comparison does not do: under
   * NOCASE `'a' IS 'A'`, and 1 equals '1' in a column with affinity.
   */
  identical(a: string, b: string): string;

  /** True for a whole number that is stored as one. */
  isInteger(expression: string): string;

  /** A value that equals a text only where it is stored as text, of the same bytes. */
  exactly(expression: string): string;

  /** True for what an old app writes where it means nothing: null, 0 or an empty text. */
  isNone(expression: string): string;

  /** True for a number in a column that was declared without a type. */
  isNumber(expression: string): string;

  /**
   * An old time as an instant (microseconds, UTC): text as SQL and ISO 8601 write it, with or without a zone; a number
   * as seconds since 1970, from 100,000,000,000 up as milliseconds. A text without a zone is a time of the clocks in
   * `zone`: the earlier of two instants at which they show it, and where they leap over it, as if they had not leapt.
   * Null for what is no such time, and outside of the years 0 (SQLite), 1 (PostgreSQL) to 9999; never an error.
   */
  instantOf(expression: string): string;

  /** As `instantOf` of a time that `legacyTime` gives back from its instant, byte for byte; null for any other. */
  exactInstantOf(expression: string): string;

  /** As `instantOf` of any other time than those; what it gives for them means nothing. */
  otherInstantOf(expression: string): string;

  /**
   * The inverse of `instantOf`: the old column's own value for an instant. Of the two instants at which a clock in
   * `zone` shows the same time both give that one, and only the earlier is read back from it.
   */
  legacyTime(instant: string): string;

  /** An old value in the form in which `legacy_raw_values` keeps it, and back. */
  toRaw(expression: string): string;
  fromRaw(expression: string, holds: 'id' | 'text' | 'time'): string;

  /** The type of a value, in the engine's words, and the bytes of its text (of a blob: its own), in hex; null is null. */
  typeOf(expression: string): string;
  hexOf(expression: string): string;

  /** A value as text, the same for the same bytes of the same type and for no others; null is text too. */
  canonicalOf(expression: string): string;

  /** An aggregate: the id of the row that comes first by (instant, id). */
  idOfFirst(instant: string, id: string): string;

  /**
   * Indexes of `enhanced_messages` that are built when all rows are there, where that costs less than keeping them
   * up row by row and holds no lock that an old app waits for.
   */
  readonly lateIndexes: { readonly drop: readonly string[]; readonly build: readonly string[] };

  /** Takes all rows out of a table of our own, quickly, however many there are. */
  empty(table: string): string;

  /**
   * Statements after which, until the transaction ends, two ranges of rows are joined by reading each of them once, and
   * a row that somebody else has locked makes a statement fail instead of waiting for long.
   */
  readonly beforeLink: readonly string[];

  /** Statements that tell the planner about rows just written; none where they would leave a trace for the old app. */
  analyze(table: string): readonly string[];

  /** A SELECT from one table, without the rows that another transaction has locked. */
  unlocked(select: string): string;

  /** A SELECT from one table whose rows stay locked until the transaction ends; in the order in which it gives them. */
  locked(select: string): string;
  /** What has to run before those rows are read, where a transaction that writes has not locked them already. */
  locking(select: string): readonly string[];

  /** Whether a row can get the number of one that was deleted. */
  readonly givesNumbersAgain: boolean;

  /** Where the queue of captured writes ends, as text; and whether an entry, named `id`, came after the end `:name`. */
  readonly queueEnd: string;
  isBehind(name: string): string;

  /** Statements that write to different tables and do not see each other's rows, in as few as the engine needs. */
  atOnce(statements: readonly string[]): readonly string[];

  /** Statements that take the lock of the event log until the transaction ends; none where there is one writer anyway. */
  readonly lockEventLog: readonly string[];

  /**
   * A statement that writes to the log, and takes that lock before it makes the first row.
   * @param statement makes it, with what it reads from after FROM
   */
  behindEventLog(statement: (from: (source: string) => string) => string): string;

  /** 16 random hexadecimal digits. */
  readonly newEpoch: string;

  /** `:count` ids for messages that have no old row, as rows `{id}`: from 2^40 up. To be used in the same transaction. */
  readonly newMessageIds: string;

  /** Statements that keep everybody else off our tables until the transaction ends; none where it does so anyway. */
  lockTables(tables: readonly string[]): readonly string[];

  /** Whether dropping a column only changes the catalogue; else it writes the table anew, under a lock. */
  readonly dropsColumnsCheaply: boolean;

  /**
   * What is written behind a column that we add to an old table, so that it is known as ours when our own tables are
   * gone; nothing where such a column never stays behind.
   */
  readonly addedMark: string;

  /** The columns of the table `:table` that bear that mark, as rows `{name}`. */
  readonly markedColumns: string;

  /** The database's clock as an instant: processes on several machines agree on it. */
  readonly now: string;

  /** Declared types that the copy knows how to read, by what a column holds. Empty: any, each row is looked at. */
  readonly readable: Readonly<Record<'key' | 'reference' | 'text' | 'time', readonly string[]>>;

  /** Whether a table of this name is there, as one row `{present}` with 1 or 0; `:table` is its name. */
  readonly hasTable: string;

  /** The same of anything that would keep a table of this name from being made. */
  readonly isNameTaken: string;

  /** The tables of the database, as rows `{name}`. */
  readonly listTables: string;

  /** The schema of the table `:table`, as `{schema}`, where new tables would be made in another one; else no row. */
  readonly strangeSchema: string;

  /** Describes a table's columns, as rows of `ColumnDescription`; `:table` is its name. */
  readonly describeTable: string;

  /**
   * What would act when a column of ours is filled in the table `:table`, or is an old trigger at all: rows
   * `{name, acts}`. In doubt it acts.
   */
  readonly triggersOn: string;

  /**
   * Texts of the old app's triggers that may stop working when one of its tables gets another column, as rows
   * `{name, text}`.
   */
  readonly triggerTexts: string;

  /** The triggers that capture what the old app writes to a table. */
  captureOf(table: CapturedTable): readonly CaptureTrigger[];

  /** Statements that take a trigger of ours off a table, if it is there. */
  dropCapture(table: string, trigger: string): readonly string[];

  /** The triggers of ours on the table `:table`, as rows `{name, definition}`. */
  readonly captureOn: string;

  /**
   * Whether a value is among those of a subquery that has few rows and does not depend on the row. On PostgreSQL they are read
   * first, so that the planner looks each up by an index: of a list it expects a hundred, and reads small tables whole.
   */
  isAmong(expression: string, subquery: string): string;

  /** The ids in the JSON array of texts `:name`, as a subquery of one column; and those of entries of the queue. */
  idsIn(name: string): string;
  entriesIn(name: string): string;

  /**
   * The rows in the JSON array of objects `:name`, as a subquery.
   * @param columns whole numbers that are given as text
   * @param texts columns that are text
   */
  rowsIn(name: string, columns: readonly string[], texts?: readonly string[]): string;

  /**
   * Joins, to each row before it, the rows of a table that a query of its own gives, which may have an order and a limit.
   * @param alias what the joined rows are called
   * @param query all behind `FROM table x`, about the columns of `x`
   */
  joinEach(table: string, alias: string, query: string): string;

  /** All rows of a query as one text, a JSON array of objects with these columns. */
  jsonOf(query: string, columns: readonly string[]): string;

  /** The texts in the JSON array `:name`, as a subquery of one column. */
  textsIn(name: string): string;

  /**
   * Statements that make an empty table of this connection's own, with columns that take any value as it is; what an
   * earlier transaction left in it is gone.
   */
  scratchTable(
    table: string,
    columns: readonly (readonly [name: string, holds: 'id' | 'text' | 'time' | 'flag'])[],
  ): readonly string[];

  /** How large the engine's own log may grow between two checkpoints, as one row `{bytes}`. */
  readonly largestLog: string;

  readonly manners: Manners;

  /** Statements that our connection runs after each batch, so that no other one has to pay for what it left. */
  readonly afterBatch: readonly string[];

  /**
   * Sessions of others on this database, as rows `{who, count}`; null where the engine does not know of any: its file is
   * open to whoever may read it.
   */
  readonly foreignSessions: string | null;

  /** What the old app must be like, as far as the engine asks for it. */
  readonly asksOfOldApp: readonly OldAppDuty[];

  /** Reads the version of the engine, as one row `{version}`. */
  readonly version: string;
}

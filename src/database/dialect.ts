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

/**
 * What the two engines write differently. Statements are made of these pieces, so that no statement asks which
 * engine it is for. Arguments are SQL expressions; results are too.
 */
export interface Dialect {
  readonly engine: EngineName;
  readonly types: ColumnTypes;

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

  /** True for text that is stored as text. */
  isText(expression: string): string;

  /** True when the old time is in the form that `legacyTime` writes, so that it can be rebuilt exactly. */
  isCanonicalTime(expression: string): string;

  /** A canonical old time as an instant (microseconds, UTC); null or nonsense for any other, never an error. */
  instantOf(expression: string): string;

  /** The inverse of `instantOf`: the old column's own value for an instant. */
  legacyTime(instant: string): string;

  /** An aggregate: the id of the row that comes first by (instant, id). */
  idOfFirst(instant: string, id: string): string;

  /** Statements that tell the planner about rows just written; none where they would leave a trace for the old app. */
  analyze(table: string): readonly string[];

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

  /** Reads the version of the engine, as one row `{version}`. */
  readonly version: string;
}

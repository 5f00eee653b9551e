import { messageOf, SegueError, type ErrorCode } from '../errors/segue-error.js';

/** What the engines' own errors mean for a person: by SQLite's code or PostgreSQL's five letters, or their start. */
const MEANINGS: readonly [code: RegExp, as: ErrorCode, sentence: string][] = [
  [
    /^SQLITE_BUSY/,
    'LOCK_TIMEOUT',
    'Another process holds the lock of the database file for longer than 5 s. Nothing was changed; try again when it has let go.',
  ],
  [
    /^(SQLITE_READONLY|EACCES|EPERM|EROFS)/,
    'NOT_PERMITTED',
    'The database file, or the folder that its -wal and -shm files go to, cannot be written.',
  ],
  [
    /^SQLITE_(CORRUPT|NOTADB)/,
    'UNSUPPORTED_DATABASE',
    'The database file is damaged: restore it from a backup.',
  ],
  [
    /^(SQLITE_FULL|ENOSPC|53100|53400)/,
    'UNAVAILABLE',
    'There is no space left for the database, or for its temporary files. What was committed stays; make room and run this again.',
  ],
  [
    /^(SQLITE_(IOERR|CANTOPEN)|58)/,
    'UNAVAILABLE',
    'The files of the database cannot be read or written at the moment.',
  ],
  [
    /^42501/,
    'NOT_PERMITTED',
    'The database role lacks a right: it has to own the old tables and may create tables beside them.',
  ],
  [
    /^(40001|40P01|55P03)/,
    'LOCK_TIMEOUT',
    'Other transactions stood in the way each time this was tried. What was committed stays; run this again.',
  ],
  [
    /^57014/,
    'UNAVAILABLE',
    'A statement was cancelled: by somebody on the server, or by its statement_timeout. What was committed stays; run this again.',
  ],
  [
    /^53/,
    'UNAVAILABLE',
    'The database server lacks memory or connections at the moment. What was committed stays; run this again.',
  ],
  [
    /^(08|57P|25P03|ECONN|EPIPE|ETIMEDOUT)/,
    'UNAVAILABLE',
    'The database does not answer, or ended the connection. What was committed stays; run this again when it is back.',
  ],
];

/** pg tells a cut connection by its words only. */
const CUT = /Connection terminated|connection timeout|Client has encountered a connection error/i;

/** A statement came to a connection that had ended before. */
export class ConnectionEnded extends Error {
  /** PostgreSQL's connection_failure. */
  readonly code = '08006';

  constructor() {
    super('The connection had ended before this statement');
  }
}

/** The error for people that an error of a driver stands for; null where none is known: then it is a fault. */
export function explainDatabaseError(error: unknown): SegueError | null {
  if (error instanceof SegueError) return error;
  const code = codeOf(error) ?? (CUT.test(messageOf(error)) ? '08' : undefined);
  const meaning = MEANINGS.find(([pattern]) => code !== undefined && pattern.test(code));
  return meaning === undefined ? null : new SegueError(meaning[1], meaning[2], { cause: error });
}

/** Errors by which the database refuses a value: a constraint, a limit, a conversion, a trigger's own objection. */
const REFUSALS = /^(SQLITE_(CONSTRAINT|TOOBIG|MISMATCH)|22|23|54|P0001)/;

/**
 * The database's own words, when it refused what was to be written; null for everything else, above all for what
 * would go as wrong with any other row: no space, no connection, a lock.
 */
export function refusalOf(error: unknown): string | null {
  const code = codeOf(error);
  // SQLite's code for this one is that of a missing table too, which no row is to blame for.
  const isRefusal = REFUSALS.test(code ?? '') || messageOf(error).includes('integer overflow');
  return isRefusal ? messageOf(error) : null;
}

/** Whether a row was refused because of another one with its key; on SQLite, because of any constraint. */
export function isDuplicate(error: unknown): boolean {
  return /^(23505|SQLITE_CONSTRAINT)/.test(codeOf(error) ?? '');
}

/** Errors of a transaction that lost to another one: it did nothing, and may well succeed when tried again. */
const PASSING = /^(SQLITE_BUSY|40001|40P01|55P03)/;

/** Rolls a transaction back that is to be tried once more: it will go another way then. */
export class TryAgain extends Error {}

/** Whether a transaction failed only because of what others did at the same time, or is to be tried again. */
export function isPassing(error: unknown): boolean {
  return error instanceof TryAgain || PASSING.test(codeOf(error) ?? '');
}

/** A driver's code for an error, through TypeORM's wrapping and through causes. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, driverError, cause } = error as Record<'code' | 'driverError' | 'cause', unknown>;
  return typeof code === 'string' ? code : (codeOf(driverError) ?? codeOf(cause));
}

/**
 * What keeps a column from being dropped, in the database's words: a view, a trigger, an index or a constraint that
 * needs it; null for any other error. SQLite looks through the whole schema, and stumbles over what was broken before.
 */
export function findColumnUse(error: unknown): string | null {
  const message = messageOf(error);
  if (codeOf(error) === '2BP01') {
    const { detail } = error as { detail?: unknown };
    return typeof detail === 'string' ? `${message}: ${detail}` : message;
  }
  return /cannot drop column|error in (view|trigger|index|table) /i.test(message) ? message : null;
}

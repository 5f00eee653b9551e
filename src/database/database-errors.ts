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
    /^SQLITE_FULL|^53100/,
    'UNAVAILABLE',
    'There is no space left for the database. What was committed stays; make room and run this again.',
  ],
  [
    /^SQLITE_(IOERR|CANTOPEN)/,
    'UNAVAILABLE',
    'The database file cannot be read or written at the moment.',
  ],
  [
    /^42501/,
    'NOT_PERMITTED',
    'The database role lacks a right: it has to own the old tables and may create tables beside them.',
  ],
  [
    /^(08|57P|53|ECONN|EPIPE|ETIMEDOUT)/,
    'UNAVAILABLE',
    'The database does not answer, or ended the connection. What was committed stays; run this again when it is back.',
  ],
];

/** pg tells a cut connection by its words only. */
const CUT = /Connection terminated|connection timeout|Client has encountered a connection error/i;

/** The error for people that an error of a driver stands for; null where none is known: then it is a fault. */
export function explainDatabaseError(error: unknown): SegueError | null {
  if (error instanceof SegueError) return error;
  const code = codeOf(error) ?? (CUT.test(messageOf(error)) ? '08' : undefined);
  const meaning = MEANINGS.find(([pattern]) => code !== undefined && pattern.test(code));
  return meaning === undefined ? null : new SegueError(meaning[1], meaning[2], { cause: error });
}

/** A driver's code for an error, through TypeORM's wrapping and through causes. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, driverError, cause } = error as Record<'code' | 'driverError' | 'cause', unknown>;
  return typeof code === 'string' ? code : (codeOf(driverError) ?? codeOf(cause));
}

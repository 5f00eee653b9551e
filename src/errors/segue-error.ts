/**
 * Every error that a person can meet. The list is closed: a new code is added here, with the sentence that
 * docs/errors.md shows, before it can be thrown. GraphQL carries the code in `extensions.code`, the command
 * line prints it in front of the message.
 */
export const ERROR_CODES = {
  UNAUTHENTICATED: 'No token, or one that is not valid any more.',
  FORBIDDEN:
    'The caller may not ask this for the person named, or a cookie came along from another site.',
  NOT_FOUND: 'What was named does not exist, or may not be seen by the caller.',
  BAD_USER_INPUT: 'An argument has a value that the field does not take.',
  NOT_EXPANDED: 'The changeover has not come far enough for what was asked.',
  RATE_LIMITED: 'Too many in too short a time; the message says when there is a next one.',
  LEGACY_ID_OUT_OF_RANGE: 'An old id does not fit the 32-bit Int of the old API.',
  IDEMPOTENCY_CONFLICT: 'The client id was used before, for something else.',
  RECIPIENT_GONE: 'The account that this would be sent to does not exist any more.',
  UNAVAILABLE: 'The database, or the service that sends codes, does not answer at the moment.',
  INTERNAL: 'A fault of the server; the details are in its log.',
  BAD_CONFIG: 'A setting has a value that it cannot take.',
  DATABASE_NOT_FOUND: 'There is no database where the setting points.',
  DATABASE_UNREACHABLE: 'The database server cannot be reached, or refuses the login.',
  NOT_PERMITTED: 'A right to the database, its file or its folder is missing.',
  UNSUPPORTED_DATABASE: 'The database is there, but not of a shape that can be moved.',
  NO_SUCH_TABLE: 'An old table that the mapping names is missing.',
  NO_SUCH_COLUMN: 'An old column that the mapping names is missing.',
  NEWER_DATABASE:
    'Another version of Segue wrote the database, and this one does not know all of it.',
  NO_SPACE: 'The disk has less than twice the space free that would be written.',
  NAME_TAKEN: 'A table or column that would be added is there already and is not ours.',
  WRONG_STAGE: 'The verb does not fit the stage of the changeover.',
  RUNNER_ACTIVE: 'Another process is running the changeover.',
  LEASE_LOST: 'This process lost its lease to another one and stopped.',
  LOCK_TIMEOUT: 'A table, or a database file, stayed locked by others for too long.',
  NOT_VERIFIED:
    'The comparison of both sides found differences, or changes of the old app that wait and that nobody applies; or none stands by which people could be moved.',
  GATE_CLOSED: 'The contract step was refused, because something of what it waits for is open.',
  WOULD_LOSE_ROWS: 'A step back was refused, because rows would be lost by it.',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * An error for people: a code from the closed list, and a message that names what was wrong, with which value,
 * and the way out. The message never carries SQL, a stack or a secret.
 */
export class SegueError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'SegueError';
  }
}

/** By shape, since a native addon's errors are not always instances of this realm's Error. */
function isErrorLike(error: unknown): error is { message: string } {
  return (
    typeof error === 'object' &&
    error !== null &&
    typeof (error as { message?: unknown }).message === 'string'
  );
}

/** What an unknown thrown thing says of itself, in one line, for messages and logs. */
export function messageOf(error: unknown): string {
  return isErrorLike(error) ? error.message : String(error);
}

/** A place in the event log. */
export interface Place {
  /** Which log: a log that was begun anew has another one. */
  readonly epoch: string;
  /** The event that was seen last; 0: none yet. */
  readonly id: number;
  /**
   * Its instant, in microseconds as text. After a restore the log goes on from an earlier event, and gives the same ids
   * out again: to another instant.
   */
  readonly at: string;
}

/** The opaque cursor of a place. */
export function writeCursor({ epoch, id, at }: Place): string {
  return Buffer.from(`${epoch}.${id.toString(36)}.${BigInt(at).toString(36)}`).toString(
    'base64url',
  );
}

/** The place that a cursor means; null for what no log of ours ever gave out. */
export function readCursor(cursor: string): Place | null {
  const text = Buffer.from(cursor, 'base64url').toString();
  const [, epoch, id, at] = /^([0-9a-f]{16})\.([0-9a-z]{1,10})\.([0-9a-z]{1,13})$/.exec(text) ?? [];
  if (epoch === undefined || id === undefined || at === undefined) return null;
  const place = { epoch, id: Number.parseInt(id, 36), at: String(instantOf(at)) };
  // A text that decodes to the same is not the same cursor.
  return writeCursor(place) === cursor ? place : null;
}

/** BigInt reads no base 36. */
function instantOf(text: string): bigint {
  let value = 0n;
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  return value;
}

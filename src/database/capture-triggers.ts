/** An old table whose writes are captured. */
export interface CapturedTable {
  readonly table: string;
  /** The column whose value an entry of the queue names. */
  readonly key: string;
  /** The columns whose change makes a row dirty; the key is one of them. */
  readonly columns: readonly string[];
  /** What entries of this table say they come from. */
  readonly source: string;
  /** What an entry says of a row that is gone, where that is another thing, and which of its columns it keeps as `phone`. */
  readonly departure?: { readonly source: string; readonly keeps: string };
}

/** A trigger that captures writes: it appends to `changeover_queue` and does nothing else. */
export interface CaptureTrigger {
  readonly name: string;
  readonly table: string;
  /** Puts it on where it is missing or was altered; to be run in one transaction. */
  readonly create: readonly string[];
  /** What the dialect's `captureOn` says of it when it is as it should be. */
  readonly definition: string;
}

/** What every name of ours on an old table begins with: by it our triggers are told from the old app's. */
export const CAPTURE_PREFIX = 'segue_capture_';

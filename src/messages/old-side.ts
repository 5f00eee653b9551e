import type { Queryable } from '../database/database.js';

/** An old row to be written for a message. */
export interface OldMessage {
  readonly senderId: string;
  /** One of the two is null. */
  readonly recipientId: string | null;
  readonly groupId: string | null;
  readonly conversationId: string;
  readonly text: string;
  readonly kind: string;
  /** In microseconds. */
  readonly sentAt: string;
}

/**
 * The old table as writes on the new side see it, for as long as it lives: what is written here is written there too,
 * in the same transaction.
 */
export interface OldSide {
  /** Writes the old rows of messages; returns their ids in the same order, which the messages get too. */
  addMessages(transaction: Queryable, messages: readonly OldMessage[]): Promise<string[]>;
  /**
   * A statement that takes entries of the queue away that came after the end `:queueEnd`, where they are about rows that
   * are exactly what was written of them: apply would find nothing to do. The rows are those of `:messages`, a JSON array
   * of what `OldMessage` names, and of `id` and `plain`, which is 1 where the new side says the same as the row.
   */
  readonly takeEntries: string;
  /**
   * An expression for the old rows that the old app has deleted and whose numbers the next messages can get, as a JSON array
   * of `{id}`.
   */
  readonly gone: string;
  /**
   * Has the new side know, of old rows that the old app has deleted, that they are gone, before their numbers are given out
   * again.
   */
  makeWay(transaction: Queryable, legacyIds: readonly string[]): Promise<void>;
  /** Marks the old row of a message to somebody as read, whatever its status said; false where there is none to him. */
  markRead(transaction: Queryable, legacyId: string, recipientId: string): Promise<boolean>;
  /** Raises the statuses of old rows, given by their ids, to `delivered` or `read`. */
  raiseStatuses(
    transaction: Queryable,
    legacyIds: readonly string[],
    status: 'delivered' | 'read',
  ): Promise<void>;
}

/** Which sides there are at the moment. */
export interface Sides {
  /**
   * Asks inside of a transaction that has locked what it will write, so that no rollback comes in between.
   * @returns the old side; null where there is none any more
   * @throws SegueError NOT_EXPANDED while there is no new side to write to.
   */
  open(transaction: Queryable): Promise<OldSide | null>;
}

/** The sides that are written to: the old table alone, while the new side is being made; both; or the new one alone. */
export type ServedSides = 'old' | 'both' | 'new';

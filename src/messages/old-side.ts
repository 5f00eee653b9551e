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

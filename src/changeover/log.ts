import type { Queryable } from '../database/database.js';

/**
 * Writes down what an operator had the changeover do, in the transaction that does it.
 * @param who as he can be found: a person's id, or user and machine of a command line
 * @param did in words, with what it was before
 */
export async function noteAction(
  transaction: Queryable,
  now: string,
  { who, did }: { readonly who: string; readonly did: string },
): Promise<void> {
  await transaction.run(
    `INSERT INTO changeover_log (at, who, did) VALUES (${now}, CAST(:who AS text), CAST(:did AS text))`,
    { who, did },
  );
}

import { codeOf, isPassing } from './database-errors.js';

/** How often something is tried that lost to another transaction. */
const ATTEMPTS = 5;

/** PostgreSQL's unique_violation: somebody else has just written the same key, which the next try finds. */
const UNIQUE_VIOLATION = '23505';

/**
 * Runs a transaction again that lost to another one, which did nothing: a deadlock, a lock held for too long, a key that
 * somebody else wrote at the same time.
 */
export async function tryAgain<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt += 1)
    try {
      return await work();
    } catch (error) {
      const isLost = isPassing(error) || codeOf(error) === UNIQUE_VIOLATION;
      if (attempt === ATTEMPTS || !isLost) throw error;
    }
}

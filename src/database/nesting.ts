import { AsyncLocalStorage } from 'node:async_hooks';
import type { OpenTransaction } from './open-transaction.js';

let areFollowed = false;

/** Has transactions be found that are asked for inside of another one, on databases that are opened from now on. */
export function followTransactions(): void {
  areFollowed = true;
}

/**
 * Finds transactions that are asked for inside of another one: on SQLite such a one would wait for itself, on PostgreSQL
 * it would be a second one, which commits although the first is rolled back. Whoever has a transaction passes it on.
 *
 * Only where tests run: to follow asynchronous calls costs a server a third of its CPU (`AsyncLocalStorage` before
 * Node.js 24 hooks into every promise).
 */
export class Nesting {
  private readonly current = areFollowed ? new AsyncLocalStorage<OpenTransaction>() : null;

  /** @throws Error inside of a transaction, which is doomed by that. */
  check(): void {
    const outer = this.current?.getStore();
    if (outer?.isOpen !== true) return;
    const error = new Error('A transaction was asked for inside of another one: pass that one on');
    outer.doom(error);
    throw error;
  }

  run<Result>(
    transaction: OpenTransaction,
    work: (transaction: OpenTransaction) => Promise<Result>,
  ): Promise<Result> {
    return this.current === null
      ? work(transaction)
      : this.current.run(transaction, () => work(transaction));
  }
}

import { messageOf } from '../errors/segue-error.js';
import type { Parameters, Queryable } from './database.js';

/**
 * The handle that work inside a transaction gets. It notices a failed statement, so that a caller who caught the
 * error cannot commit half of his work, and it refuses to run once the transaction has ended, so that work that
 * nobody waited for cannot slip into somebody else's transaction.
 */
export class OpenTransaction implements Queryable {
  private failure: unknown;
  private ended = false;

  constructor(private readonly connection: Queryable) {}

  get isOpen(): boolean {
    return !this.ended;
  }

  all<Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> {
    return this.guarded(() => this.connection.all<Row>(sql, parameters));
  }

  run(sql: string, parameters?: Parameters): Promise<number> {
    return this.guarded(() => this.connection.run(sql, parameters));
  }

  /** Has it rolled back, for a reason that no statement of it told. */
  doom(reason: Error): void {
    this.failure ??= reason;
  }

  /** @throws the first failure, when anything failed: to be called before COMMIT. */
  checkUnharmed(): void {
    if (this.failure !== undefined)
      throw this.failure instanceof Error
        ? this.failure
        : new Error(messageOf(this.failure), { cause: this.failure });
  }

  end(): void {
    this.ended = true;
  }

  private async guarded<Result>(statement: () => Promise<Result>): Promise<Result> {
    if (this.ended)
      throw new Error('This transaction has ended: a statement came after its commit or rollback.');
    try {
      return await statement();
    } catch (error) {
      this.failure ??= error;
      throw error;
    }
  }
}

/**
 * Runs `work` between `begin` and `commit`, or rolls back and passes the first failure on.
 * The rollback's own failure is attached, never put in its place.
 */
export async function runTransaction<Result>(
  connection: Queryable,
  begin: string,
  work: (transaction: OpenTransaction) => Promise<Result>,
): Promise<Result> {
  await connection.run(begin);
  const transaction = new OpenTransaction(connection);
  try {
    const result = await work(transaction);
    transaction.checkUnharmed();
    transaction.end();
    await connection.run('COMMIT');
    return result;
  } catch (error) {
    transaction.end();
    try {
      await connection.run('ROLLBACK');
    } catch (rollback) {
      // A full disk or an I/O error makes SQLite roll back by itself; then there is nothing left to undo.
      if (!String(rollback).includes('no transaction is active'))
        throw new AggregateError(
          [error, rollback],
          `${messageOf(error)}; and the rollback failed: ${messageOf(rollback)}`,
          { cause: rollback },
        );
    }
    throw error;
  }
}

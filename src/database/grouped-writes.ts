import type { Database, Queryable } from './database.js';
import { isPassing, refusalOf } from './database-errors.js';

/** What came of one member of a group: its result, or why it was refused, which is no failure of the others. */
export type Outcome<Result> = { readonly result: Result } | { readonly refusal: Error };

/** The commit of a group. */
export interface Commit {
  readonly members: number;
  /** From when its transaction was asked for to its end, in ms. */
  readonly tookMs: number;
}

/** The most members of one transaction. */
const MOST_MEMBERS = 64;

/** How often a transaction is tried that lost to another one. */
const ATTEMPTS = 5;

/**
 * Commits in groups: what is asked for while one commit runs goes together into the next, so that one sync of the disk
 * serves all of it. A member that is refused by the rules fails alone; when the database itself refuses the group, each
 * member is tried by itself, so that only the one at fault fails.
 *
 * A promise resolves after the commit of its member, never before.
 */
export class GroupedWrites<Draft, Result> {
  private waiting: Member<Draft, Result>[] = [];
  private isRunning = false;

  /**
   * @param work writes some drafts in one transaction, and gives one outcome each
   * @param committed called after each commit
   */
  constructor(
    private readonly database: Database,
    private readonly work: (
      transaction: Queryable,
      drafts: readonly Draft[],
    ) => Promise<Outcome<Result>[]>,
    private readonly committed: (commit: Commit) => void,
  ) {}

  write(draft: Draft): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ draft, resolve, reject });
      if (!this.isRunning) void this.run();
    });
  }

  private async run(): Promise<void> {
    this.isRunning = true;
    // What is asked for in this turn of the event loop goes together.
    await Promise.resolve();
    while (this.waiting.length > 0) await this.commit(this.waiting.splice(0, MOST_MEMBERS));
    this.isRunning = false;
  }

  /** Never rejects: each member is told what came of it. */
  private async commit(members: readonly Member<Draft, Result>[]): Promise<void> {
    const began = performance.now();
    try {
      const outcomes = await this.tried(members.map(({ draft }) => draft));
      this.committed({ members: members.length, tookMs: performance.now() - began });
      members.forEach(({ resolve, reject }, n) => {
        const outcome = outcomes[n];
        if (outcome === undefined) reject(new Error('A member of a group was forgotten'));
        else if ('refusal' in outcome) reject(outcome.refusal);
        else resolve(outcome.result);
      });
    } catch (error) {
      // Of a commit whose connection was lost nobody knows whether it took place: it is not for us to try it again.
      if (members.length > 1 && refusalOf(error) !== null)
        for (const member of members) await this.commit([member]);
      else for (const { reject } of members) reject(error);
    }
  }

  private async tried(drafts: readonly Draft[]): Promise<Outcome<Result>[]> {
    for (let attempt = 1; ; attempt += 1)
      try {
        return await this.database.transaction((transaction) => this.work(transaction, drafts));
      } catch (error) {
        if (attempt === ATTEMPTS || !isPassing(error)) throw error;
      }
  }
}

interface Member<Draft, Result> {
  readonly draft: Draft;
  readonly resolve: (result: Result) => void;
  readonly reject: (reason: unknown) => void;
}

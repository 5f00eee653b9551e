import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeoverContext } from '../changeover/context.js';
import { setCutover } from '../changeover/cutover.js';
import { type GateCondition, readGate } from '../changeover/gate.js';
import { readQuarantine } from '../changeover/quarantine.js';
import { parseTarget, rollback } from '../changeover/rollback.js';
import { readDifferences } from '../changeover/shadow.js';
import { type Status, status } from '../changeover/status.js';
import { readState } from '../changeover/stage.js';
import { setPaused, setRateLimit } from '../changeover/wishes.js';
import { SegueError } from '../errors/segue-error.js';
import { connectionOf, readKey, readPageRequest, writeKey } from '../graphql/connections.js';
import { globalId } from '../graphql/global-ids.js';
import type {
  Changeover,
  ChangeoverStage,
  DeprecatedUsage,
  QuarantineConnection,
  ShadowDifferenceConnection,
} from './changeover.types.js';
import { readDeprecatedUsage } from '../legacy/deprecated-calls.js';
import { checkOperator } from './operator.guard.js';
import type { Operators } from './operators.js';

/** How often it is looked how far the changeover has come, in ms. */
const LOOK_MS = 1_000;

interface PageQuestion {
  readonly first: number | null;
  readonly after: string | null;
}

export interface QuarantineQuestion extends PageQuestion {
  readonly reason: string | null;
}

/** What operators see of the changeover, and have it do. */
export class ChangeoverService {
  constructor(
    private readonly context: Omit<ChangeoverContext, 'who'>,
    private readonly migrationsTable: string,
    private readonly operators: Operators,
    /** For how long nobody may have called the old API before the contract step, in seconds. */
    private readonly quietTime: number,
  ) {}

  /** Without counting tables, where the books say how many rows there are. */
  async find(): Promise<Changeover> {
    return present(await status(this.context.database, this.context.mapping, { fromBooks: true }));
  }

  async setPaused(operatorId: string, isPaused: boolean): Promise<Changeover> {
    await setPaused(this.contextOf(operatorId), isPaused);
    return this.find();
  }

  /** @throws SegueError BAD_USER_INPUT, WRONG_STAGE. */
  async setRate(operatorId: string, rowsPerSecond: number | null): Promise<Changeover> {
    await setRateLimit(this.contextOf(operatorId), rowsPerSecond);
    return this.find();
  }

  /** @throws SegueError BAD_USER_INPUT, WRONG_STAGE, NOT_VERIFIED. */
  async setCutover(operatorId: string, percent: number): Promise<Changeover> {
    await setCutover(this.contextOf(operatorId), { percent });
    return this.find();
  }

  /**
   * @param confirm the name of the stage, typed
   * @throws SegueError BAD_USER_INPUT; all that a rollback throws.
   */
  async rollback(operatorId: string, to: ChangeoverStage, confirm: string): Promise<Changeover> {
    if (confirm !== to)
      throw new SegueError(
        'BAD_USER_INPUT',
        `confirm is ${JSON.stringify(confirm)}: it takes ${to}, typed. Nothing was changed.`,
      );
    await rollback(this.contextOf(operatorId), {
      to: parseTarget(to),
      migrationsTable: this.migrationsTable,
    });
    return this.find();
  }

  /** @throws SegueError BAD_USER_INPUT. */
  async quarantine({ first, after, reason }: QuarantineQuestion): Promise<QuarantineConnection> {
    const request = readPageRequest({ first, after }, (cursor) => readKey(cursor, 1)?.[0] ?? null);
    const rows = await readQuarantine(this.context.database, {
      after: request.after,
      reason,
      size: request.size + 1,
    });
    const { edges, pageInfo } = connectionOf(request, rows, request.after !== null, (row) => ({
      cursor: writeKey(row.legacyId),
      node: row,
    }));
    return { edges, pageInfo };
  }

  /** @throws SegueError BAD_USER_INPUT. */
  async shadowDifferences(question: PageQuestion): Promise<ShadowDifferenceConnection> {
    const request = readPageRequest(question, (cursor) => readKey(cursor, 1)?.[0] ?? null);
    const rows = await readDifferences(this.context.database, {
      after: request.after,
      size: request.size + 1,
    });
    const { edges, pageInfo } = connectionOf(request, rows, request.after !== null, (row) => ({
      cursor: writeKey(row.id),
      node: { ...row, userId: globalId('User', row.userId), at: new Date(row.at) },
    }));
    return { edges, pageInfo };
  }

  gate(): Promise<GateCondition[]> {
    return readGate(this.context, this.quietTime);
  }

  /** Nothing at LEGACY, where it is not counted. */
  async deprecatedUsage(): Promise<DeprecatedUsage[]> {
    const { database } = this.context;
    if ((await readState(database)).stage === 'LEGACY') return [];
    const usage = await readDeprecatedUsage(database);
    return usage.map((row) => ({ ...row, lastCalledAt: new Date(row.lastCalledAt) }));
  }

  /** Where it stands, and again each time that this has changed, for as long as the person is an operator. */
  follow(operatorId: string): AsyncIterableIterator<Changeover> {
    const stopping = new AbortController();
    const states = this.states(operatorId, stopping.signal);
    return {
      next: () => states.next(),
      return: () => {
        stopping.abort();
        return states.return(undefined);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  private async *states(
    operatorId: string,
    stopping: AbortSignal,
  ): AsyncGenerator<Changeover, undefined> {
    for (let told = ''; !stopping.aborted;) {
      await checkOperator(this.operators, operatorId);
      const now = await this.find();
      const text = JSON.stringify(now);
      if (text !== told) yield now;
      told = text;
      await sleep(LOOK_MS, undefined, { signal: stopping, ref: false }).catch(() => undefined);
    }
    return undefined;
  }

  private contextOf(operatorId: string): ChangeoverContext {
    return { ...this.context, who: globalId('User', operatorId) };
  }
}

function present({ verifiedAt, mismatches, ...now }: Status): Changeover {
  return {
    ...now,
    verifiedAt: verifiedAt === null ? null : new Date(verifiedAt),
    mismatches: mismatches ?? 0,
  };
}

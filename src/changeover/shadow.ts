import { setTimeout as sleep } from 'node:timers/promises';
import type { Database, Queryable } from '../database/database.js';
import { messageOf, SegueError } from '../errors/segue-error.js';
import type { AskedOldQuery } from '../legacy/legacy.service.js';
import type { LegacySql } from '../legacy/legacy-sql.js';
import type { ChangeoverContext } from './context.js';
import type { OldOrNew } from './cutover-sides.js';
import { noteAction } from './log.js';
import { hasPending } from './pending-rows.js';
import { getState, hasReached, readState, type Stage } from './stage.js';

/** For how long it is believed how many calls are to be compared, in ms: a change is to be heeded within a second. */
const BELIEVED_MS = 500;

/** Calls that wait to be compared; those beyond are not. */
const MOST_WAITING = 32;

/** How often a call is asked again while the old app's writes wait to be applied, and the rest in between, in ms. */
const LOOKS = 20;
const LOOK_REST_MS = 250;

/** How often the counts are written down, in ms. */
const WRITE_EVERY_MS = 1_000;

/** Differences that are kept, and characters of each answer. */
const KEPT = 1_000;
const MOST_TEXT = 100_000;

/** What came of one call. */
type Outcome =
  | { readonly is: 'same' }
  | { readonly is: 'different'; readonly old: string; readonly new: string }
  /** What differed was waiting to be applied, however often it was looked. */
  | { readonly is: 'undecided' }
  /** There are no two sides by now. */
  | { readonly is: 'over' };

const COUNTED = ['compared', 'mismatches', 'noise', 'undecided'] as const;
type Counts = Record<(typeof COUNTED)[number], number>;

/**
 * Compares a share of the old calls with the other side, after they were answered: what the caller got, and when, does
 * not depend on it in any way.
 *
 * Both sides are asked anew in one snapshot, so that what is written meanwhile is no difference; where they differ while
 * changes of the old app wait to be applied, a little later again. One call at a time, and then a rest for as long as
 * that took: it costs the database at most half of one connection, whatever the share is.
 */
export class Shadow {
  private readonly waiting: AskedOldQuery[] = [];
  private readonly stopping = new AbortController();
  private counts: Counts = noCounts();
  private sample = 0;
  private readAt = -Infinity;
  private told = '';
  private running: Promise<void> | null = null;
  private writing: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | null = null;

  /**
   * @param warn told once of each failure that is another one than the last
   * @param random from 0 to 1, as `Math.random`
   */
  constructor(
    private readonly database: Database,
    private readonly sides: Readonly<Record<OldOrNew, LegacySql>>,
    private readonly warn: (message: string) => void,
    private readonly random: () => number = Math.random,
  ) {}

  /** To be called with each old call that was answered. Returns at once, and never throws. */
  note(asked: AskedOldQuery): void {
    if (this.stopping.signal.aborted) return;
    if (performance.now() - this.readAt > BELIEVED_MS) {
      this.readAt = performance.now();
      this.readSample().catch(this.tell);
    }
    if (this.random() * 10_000 >= this.sample || this.waiting.length >= MOST_WAITING) return;
    this.waiting.push(asked);
    this.running ??= this.run().finally(() => {
      this.running = null;
    });
  }

  /** Resolves when nothing is compared any more and all counts are written down. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    await this.write().catch(this.tell);
  }

  private readonly tell = (error: unknown): void => {
    const message = messageOf(error);
    if (message !== this.told) this.warn(`The sides were not compared by old calls: ${message}`);
    this.told = message;
  };

  private async readSample(): Promise<void> {
    const { stage, shadowSample } = await readState(this.database);
    this.sample = hasTwoSides(stage) ? shadowSample : 0;
  }

  private async run(): Promise<void> {
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      if (this.stopping.signal.aborted) return;
      const began = performance.now();
      try {
        await this.compare(next);
        this.told = '';
      } catch (error) {
        this.tell(error);
      }
      await this.rest(performance.now() - began);
    }
  }

  private async compare(asked: AskedOldQuery): Promise<void> {
    const outcome = await this.ask(asked);
    if (outcome.is === 'over') return;
    this.counts.compared += 1;
    if (outcome.is === 'undecided') this.counts.undecided += 1;
    if (outcome.is === 'different') {
      this.counts.mismatches += 1;
      await this.keep(asked, outcome);
    }
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.write().catch(this.tell);
    }, WRITE_EVERY_MS).unref();
  }

  private async ask(asked: AskedOldQuery): Promise<Outcome> {
    for (let look = 1; ; look += 1) {
      const found = await this.askBoth(asked);
      if (found === null) return { is: 'over' };
      // Only the first time: later the answer may well be another one.
      if (look === 1 && asked.sql === this.sides.old && textOf(asked.rows) !== found.old)
        this.counts.noise += 1;
      if (found.old === found.new) return { is: 'same' };
      if (!found.isPending) return { is: 'different', old: found.old, new: found.new };
      if (look === LOOKS || this.stopping.signal.aborted) return { is: 'undecided' };
      await this.rest(LOOK_REST_MS);
    }
  }

  /**
   * Both answers at one moment, and whether changes of the old app wait; null where there are no two sides. A side that
   * fails has answered too: its failure is its answer. Not where both of them fail.
   */
  private async askBoth(
    asked: AskedOldQuery,
  ): Promise<{ old: string; new: string; isPending: boolean } | null> {
    try {
      return await this.database.snapshot(async (reader) => {
        if (!hasTwoSides((await getState(reader)).stage)) return null;
        return {
          old: await this.answer(reader, 'old', asked),
          new: await this.answer(reader, 'new', asked),
          isPending: await hasPending(reader),
        };
      });
    } catch (error) {
      // A statement that failed has ended the snapshot: whose it was is found by asking each for itself.
      const { reader } = this.database;
      const [old, now] = await Promise.allSettled([
        this.answer(reader, 'old', asked),
        this.answer(reader, 'new', asked),
      ]);
      if (old.status === now.status || !hasTwoSides((await readState(this.database)).stage))
        throw error;
      return { old: settledText(old), new: settledText(now), isPending: false };
    }
  }

  private async answer(
    reader: Queryable,
    side: OldOrNew,
    { operation, parameters }: AskedOldQuery,
  ): Promise<string> {
    return textOf(await reader.all(this.sides[side][operation], parameters));
  }

  private keep(
    asked: AskedOldQuery,
    { old, new: now }: Outcome & { is: 'different' },
  ): Promise<void> {
    const { dialect } = this.database;
    return this.database.transaction(async (transaction) => {
      if (!hasTwoSides((await getState(transaction)).stage)) return;
      await transaction.run(
        // Who said that it is right so spoke of other answers.
        `INSERT INTO shadow_differences (operation, user_id, at, times, old_answer, new_answer)
         VALUES (CAST(:operation AS text), CAST(:userId AS bigint), ${dialect.now}, 1, CAST(:old AS text), CAST(:now AS text))
         ON CONFLICT (operation, user_id) DO UPDATE SET at = excluded.at, times = shadow_differences.times + 1,
           reason = CASE WHEN shadow_differences.old_answer = excluded.old_answer AND shadow_differences.new_answer = excluded.new_answer
             THEN shadow_differences.reason END,
           old_answer = excluded.old_answer, new_answer = excluded.new_answer`,
        { operation: callOf(asked), userId: asked.userId, old: cut(old), now: cut(now) },
      );
      await transaction.run(
        `DELETE FROM shadow_differences WHERE id IN (SELECT id FROM shadow_differences ORDER BY at DESC, id DESC LIMIT 1000000 OFFSET ${KEPT})`,
      );
    });
  }

  private write(): Promise<void> {
    this.writing = this.writing.catch(() => undefined).then(() => this.writeCounts());
    return this.writing;
  }

  private async writeCounts(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const { counts } = this;
    if (COUNTED.every((name) => counts[name] === 0)) return;
    this.counts = noCounts();
    try {
      await this.database.transaction((transaction) =>
        transaction.run(
          `UPDATE changeover_state SET ${COUNTED.map((name) => `shadow_${name} = shadow_${name} + :${name}`).join(', ')} WHERE id = 1`,
          counts,
        ),
      );
    } catch (error) {
      for (const name of COUNTED) this.counts[name] += counts[name];
      throw error;
    }
  }

  private rest(ms: number): Promise<unknown> {
    return sleep(ms, undefined, { signal: this.stopping.signal, ref: false }).catch(
      () => undefined,
    );
  }
}

function noCounts(): Counts {
  return { compared: 0, mismatches: 0, noise: 0, undecided: 0 };
}

/** Whether there are copies of all rows, and the old rows too. */
function hasTwoSides(stage: Stage): boolean {
  return hasReached(stage, 'BACKFILLED') && stage !== 'CONTRACTED';
}

function settledText(answer: PromiseSettledResult<string>): string {
  return answer.status === 'fulfilled' ? answer.value : `failed: ${messageOf(answer.reason)}`;
}

/** Rows as one text, the same for the same values of the same types. */
function textOf(rows: readonly object[]): string {
  return JSON.stringify(rows, (_, value: unknown) =>
    isBytes(value) ? { hex: Buffer.from(value.data).toString('hex') } : value,
  );
}

/** What `JSON.stringify` makes of a Buffer before it is asked for another form. */
function isBytes(value: unknown): value is { data: number[] } {
  return (
    typeof value === 'object' && value !== null && (value as { type?: unknown }).type === 'Buffer'
  );
}

/** An old call as somebody would write it down. */
function callOf({ operation, parameters }: AskedOldQuery): string {
  const given = Object.entries(parameters)
    .filter(([name]) => name !== 'me')
    .map(([name, value]) => `${name}: ${String(value)}`);
  return `${operation}(${given.join(', ')})`;
}

function cut(text: string): string {
  return text.length <= MOST_TEXT
    ? text
    : `${text.slice(0, MOST_TEXT)} … and ${text.length - MOST_TEXT} characters more`;
}

/** Of the old calls, so many percent are compared; in every server within a second. */
export async function setSample(
  { database, who }: ChangeoverContext,
  percent: number,
): Promise<void> {
  await whereTwoSidesAre(database, async (transaction) => {
    await transaction.run('UPDATE changeover_state SET shadow_sample = :sample WHERE id = 1', {
      sample: Math.round(percent * 100),
    });
    await noteAction(transaction, database.dialect.now, { who, did: `shadow: ${percent} percent` });
  });
}

/**
 * A share as somebody typed it, in percent, to the hundredth.
 * @throws SegueError BAD_USER_INPUT.
 */
export function parseSample(text: string): number {
  const percent = /^\d{1,3}(\.\d{1,2})?$/.test(text) ? Number(text) : NaN;
  if (!(percent >= 0 && percent <= 100))
    throw new SegueError(
      'BAD_USER_INPUT',
      `--sample is ${JSON.stringify(text)}: it takes percent of the old calls, from 0 to 100, as 0.5 or 20.`,
    );
  return percent;
}

export interface ShadowDifference {
  readonly id: string;
  /** The call with its arguments. */
  readonly operation: string;
  readonly userId: string;
  /** ISO 8601, of the last time. */
  readonly at: string;
  readonly times: number;
  readonly oldAnswer: string;
  readonly newAnswer: string;
  /** Why an operator says that it is right so; null: nobody has. */
  readonly reason: string | null;
}

/** What came of the comparison so far. */
export interface ShadowReport {
  /** Percent of the old calls. */
  readonly sample: number;
  readonly compared: number;
  readonly mismatches: number;
  /** Calls in which the old side differed from itself, asked twice: what was written in between. */
  readonly noise: number;
  /** Calls that could not be decided, since apply was behind all the while. */
  readonly undecided: number;
  /** The newest differences, 1,000 at most: one for each call of a person's. */
  readonly differences: readonly ShadowDifference[];
}

export async function shadowReport({ database }: ChangeoverContext): Promise<ShadowReport> {
  const state = await readState(database);
  return {
    sample: state.shadowSample / 100,
    ...state.shadow,
    differences: await readDifferences(database, { after: null, size: KEPT }),
  };
}

/** Differences behind an id, by id. None where the database was never expanded. */
export async function readDifferences(
  database: Database,
  { after, size }: { after: string | null; size: number },
): Promise<ShadowDifference[]> {
  if ((await readState(database)).stage === 'LEGACY') return [];
  const rows = await database.reader.all<
    Omit<ShadowDifference, 'at' | 'times'> & { at: string; times: number | string }
  >(
    `SELECT CAST(id AS text) AS id, operation, CAST(user_id AS text) AS "userId", CAST(at AS text) AS at, times,
       old_answer AS "oldAnswer", new_answer AS "newAnswer", reason
     FROM shadow_differences WHERE CAST(:after AS bigint) IS NULL OR id > CAST(:after AS bigint) ORDER BY id LIMIT :size`,
    { after, size },
  );
  return rows.map((row) => ({
    ...row,
    at: new Date(Number(row.at) / 1_000).toISOString(),
    times: Number(row.times),
  }));
}

/**
 * Says of a difference why it is right so; it holds until one of the answers is another one.
 * @throws SegueError BAD_USER_INPUT without a reason; NOT_FOUND; WRONG_STAGE.
 */
export async function explainDifference(
  { database, who }: ChangeoverContext,
  id: string,
  reason: string,
): Promise<void> {
  if (reason.trim() === '')
    throw new SegueError('BAD_USER_INPUT', 'The reason is empty: say why both answers are right.');
  await whereTwoSidesAre(database, async (transaction) => {
    const changed = /^\d{1,18}$/.test(id)
      ? await transaction.run(
          'UPDATE shadow_differences SET reason = CAST(:reason AS text) WHERE id = CAST(:id AS bigint)',
          { id, reason },
        )
      : 0;
    if (changed === 0)
      throw new SegueError(
        'NOT_FOUND',
        `There is no difference ${JSON.stringify(id)}: 'segue shadow report' lists them.`,
      );
    await noteAction(transaction, database.dialect.now, {
      who,
      did: `shadow: difference ${id} is right so: ${reason}`,
    });
  });
}

/** Begins to count anew, and forgets the differences; the share stays. */
export async function forgetDifferences({ database, who }: ChangeoverContext): Promise<void> {
  await whereTwoSidesAre(database, async (transaction) => {
    await transaction.run('DELETE FROM shadow_differences');
    await transaction.run(
      `UPDATE changeover_state SET ${COUNTED.map((name) => `shadow_${name} = 0`).join(', ')} WHERE id = 1`,
    );
    await noteAction(transaction, database.dialect.now, { who, did: 'shadow: begun anew' });
  });
}

/** Nothing is shadowed any more, as with a rollback; to be run where the copies go. */
export async function endShadow(transaction: Queryable): Promise<void> {
  await transaction.run('DELETE FROM shadow_differences');
  await transaction.run(
    `UPDATE changeover_state SET shadow_sample = 0, ${COUNTED.map((name) => `shadow_${name} = 0`).join(', ')} WHERE id = 1`,
  );
}

async function whereTwoSidesAre(
  database: Database,
  work: (transaction: Queryable) => Promise<void>,
): Promise<void> {
  checkTwoSides((await readState(database)).stage);
  await database.transaction(async (transaction) => {
    await transaction.run('UPDATE changeover_state SET changed_at = changed_at WHERE id = 1');
    checkTwoSides((await getState(transaction)).stage);
    await work(transaction);
  });
}

/** @throws SegueError WRONG_STAGE. */
function checkTwoSides(stage: Stage): void {
  if (!hasTwoSides(stage))
    throw new SegueError(
      'WRONG_STAGE',
      stage === 'CONTRACTED'
        ? 'The stage is CONTRACTED: there is no old side to compare with.'
        : `The stage is ${stage}: both sides can be compared when all is copied. 'segue migrate' leads there.`,
    );
}

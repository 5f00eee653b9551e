import { createHash } from 'node:crypto';
import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';
import { findCertificate } from './certificate.js';
import type { ChangeoverContext } from './context.js';
import { noteAction } from './log.js';
import { changeStage, getState, hasReached, readState, type Stage } from './stage.js';

/** Who is to be answered from the new side. */
export type CutoverWish =
  /** So many percent of all people, 0 to 100. */
  | { readonly percent: number }
  /** One person by his id, whatever the percentage; or no more than that. */
  | { readonly userId: string; readonly isOn: boolean };

export interface CutoverOptions {
  /** Go on without a verification that stands. */
  readonly force?: boolean;
}

export interface CutoverResult {
  readonly stage: Stage;
  readonly percent: number;
  /** How many people are on the new side whatever the percentage. */
  readonly users: number;
  /** What stood against it and was ignored. */
  readonly ignored: readonly string[];
}

/**
 * The hundredth that somebody falls into, 0 to 99: the same in every process and for ever, so that who was answered from
 * the new side at some percentage is so at a higher one; and spread evenly, whatever ids look like.
 */
export function hundredthOf(userId: string): number {
  return createHash('sha256').update(`cutover of ${userId}`).digest().readUInt32BE(0) % 100;
}

/**
 * Says who of those that ask by the old API is answered from the new side. Every server heeds it within a second. The stage
 * follows: CUTTING_OVER, COMPLETE at 100 %, and where nobody is on the new side any more VERIFIED, or BACKFILLED when the
 * newest certificate does not stand.
 *
 * More people on the new side need a verification without mismatches that is younger than 24 h; fewer need nothing. Locks
 * the changeover's one row.
 * @throws SegueError BAD_USER_INPUT; WRONG_STAGE before BACKFILLED, and after the contract step; NOT_VERIFIED.
 */
export async function setCutover(
  { database, who }: ChangeoverContext,
  wish: CutoverWish,
  { force = false }: CutoverOptions = {},
): Promise<CutoverResult> {
  if (
    'percent' in wish &&
    !(Number.isInteger(wish.percent) && wish.percent >= 0 && wish.percent <= 100)
  )
    throw new SegueError(
      'BAD_USER_INPUT',
      `percent is ${wish.percent}: it takes a whole number from 0 to 100.`,
    );
  const { dialect } = database;
  checkStage((await readState(database)).stage);
  return database.transaction(async (transaction) => {
    await transaction.run('UPDATE changeover_state SET changed_at = changed_at WHERE id = 1');
    const { stage, cutoverPercent: before } = await getState(transaction);
    checkStage(stage);
    const isMore = 'percent' in wish ? wish.percent > before : wish.isOn;
    const obstacles = await findObstacles(transaction, dialect);
    if (isMore && obstacles.length > 0 && !force)
      throw new SegueError(
        'NOT_VERIFIED',
        `Nobody was moved: ${obstacles.join('; ')}. Run 'segue verify', or go on all the same with --force.`,
      );
    const did =
      'percent' in wish
        ? await setPercent(transaction, wish.percent, before)
        : await setUser(transaction, wish, dialect.now);
    const [on] = await transaction.all<{ percent: number | string; users: number | string }>(
      'SELECT cutover_percent AS percent, (SELECT count(*) FROM cutover_users) AS users FROM changeover_state WHERE id = 1',
    );
    const [percent, users] = [Number(on?.percent), Number(on?.users)];
    const next = stageOf(percent, users, obstacles.length === 0 || stage === 'VERIFIED');
    if (next !== stage) await changeStage(transaction, dialect.now, stage, next);
    const ignored = isMore ? obstacles : [];
    await noteAction(transaction, dialect.now, {
      who,
      did: `cutover: ${did}${ignored.length === 0 ? '' : `, though ${ignored.join('; ')}`}`,
    });
    return { stage: next, percent, users, ignored };
  });
}

/** Whoever is on the new side goes back to the old one, as with a rollback; to be run where the stage is changed. */
export async function endCutover(transaction: Queryable): Promise<void> {
  await transaction.run('UPDATE changeover_state SET cutover_percent = 0 WHERE id = 1');
  await transaction.run('DELETE FROM cutover_users');
}

/**
 * A percentage as somebody typed it.
 * @throws SegueError BAD_USER_INPUT.
 */
export function parsePercent(text: string): number {
  if (!/^(\d{1,2}|100)$/.test(text))
    throw new SegueError(
      'BAD_USER_INPUT',
      `--percent is ${JSON.stringify(text)}: it takes a whole number from 0 to 100.`,
    );
  return Number(text);
}

function checkStage(stage: Stage): void {
  if (stage === 'CONTRACTED')
    throw new SegueError(
      'WRONG_STAGE',
      'The stage is CONTRACTED: everybody is answered from the new side, and there is no other one.',
    );
  if (!hasReached(stage, 'BACKFILLED'))
    throw new SegueError(
      'WRONG_STAGE',
      `The stage is ${stage}: people can be answered from the new side when all is copied. 'segue migrate' leads there.`,
    );
}

/** Why the newest verification does not stand. */
async function findObstacles(transaction: Queryable, dialect: Dialect): Promise<string[]> {
  const certificate = await findCertificate(transaction, dialect);
  if (certificate === null) return ['the sides were never compared'];
  const { mismatches, isStale, isVoid, verifiedAt } = certificate;
  return [
    ...(mismatches > 0 ? [`the last verification found ${mismatches} mismatches`] : []),
    ...(isStale ? [`the last verification is of ${verifiedAt}, more than 24 hours ago`] : []),
    ...(isVoid ? ['something passed capture by since the last verification'] : []),
  ];
}

async function setPercent(
  transaction: Queryable,
  percent: number,
  before: number,
): Promise<string> {
  await transaction.run('UPDATE changeover_state SET cutover_percent = :percent WHERE id = 1', {
    percent,
  });
  return `${before} to ${percent} percent`;
}

async function setUser(
  transaction: Queryable,
  { userId, isOn }: { userId: string; isOn: boolean },
  now: string,
): Promise<string> {
  await transaction.run(
    isOn
      ? `INSERT INTO cutover_users (user_id, since) VALUES (CAST(:userId AS bigint), ${now}) ON CONFLICT DO NOTHING`
      : 'DELETE FROM cutover_users WHERE user_id = CAST(:userId AS bigint)',
    { userId },
  );
  return isOn ? `user ${userId}` : `user ${userId} no more`;
}

function stageOf(percent: number, users: number, isVerified: boolean): Stage {
  if (percent === 100) return 'COMPLETE';
  if (percent > 0 || users > 0) return 'CUTTING_OVER';
  return isVerified ? 'VERIFIED' : 'BACKFILLED';
}

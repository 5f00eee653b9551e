import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database, Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';
import { Mirror } from '../legacy/mirror.js';
import type { OldSide, ServedSides, Sides } from '../messages/old-side.js';
import { retiredMapping } from './retired.js';
import { Settler } from './settle.js';
import type { OldTrigger } from './shape.js';
import { type ChangeoverState, getState, hasReached, type Stage } from './stage.js';

/** What the changeover's stage says of the sides that writes go to. */
export class StagedSides implements Sides {
  private readonly mirrors: Mirrors;
  /** Of the old table under the name that the contract step gives it. */
  private readonly retired: Mirrors;

  constructor(dialect: Dialect, mapping: LegacyMapping) {
    this.mirrors = mirrorsOf(dialect, mapping);
    this.retired = mirrorsOf(dialect, retiredMapping(mapping));
  }

  async open(transaction: Queryable): Promise<OldSide | null> {
    const state = await getState(transaction);
    const { stage, fillsLink, retiredAt } = state;
    checkServes(stage);
    if (servedSidesAt(state) === 'new') return null;
    return (retiredAt === null ? this.mirrors : this.retired)[fillsLink ? 'linking' : 'plain'];
  }
}

type Mirrors = Readonly<Record<'linking' | 'plain', OldSide>>;

function mirrorsOf(dialect: Dialect, mapping: LegacyMapping): Mirrors {
  const settler = new Settler(dialect, mapping);
  // Nobody else settles them meanwhile: where numbers are given out again, whoever writes has the only lock.
  const makeWay: OldSide['makeWay'] = async (transaction, legacyIds) => {
    await settler.settle(transaction, await getState(transaction), legacyIds, 'changed');
  };
  return {
    linking: new Mirror(dialect, mapping, true, makeWay),
    plain: new Mirror(dialect, mapping, false, makeWay),
  };
}

/**
 * Whether the old table of accounts takes when somebody was last seen: it has our columns, and no trigger of the old app
 * would change a column of its own when they are written.
 */
export async function keepsLastSeen(
  { reader, dialect }: Database,
  { users }: LegacyMapping,
): Promise<boolean> {
  if (!(await getState(reader)).addsColumns) return false;
  const triggers = await reader.all<OldTrigger>(dialect.triggersOn, { table: users.table });
  return !triggers.some(({ acts }) => Boolean(acts));
}

/** Which sides are written to where the changeover stands. */
export function servedSidesAt({
  stage,
  retiredAt,
  sealedAt,
}: Pick<ChangeoverState, 'stage' | 'retiredAt' | 'sealedAt'>): ServedSides {
  // An old table that was only put away is written to on, under its other name.
  if (stage === 'CONTRACTED' && (retiredAt === null || sealedAt !== null)) return 'new';
  return hasReached(stage, 'BACKFILLED') ? 'both' : 'old';
}

/**
 * New clients are served as soon as every old row was copied: before, a conversation would have holes that nobody sees.
 * @throws SegueError NOT_EXPANDED.
 */
export function checkServes(stage: Stage): void {
  if (!hasReached(stage, 'BACKFILLED'))
    throw new SegueError(
      'NOT_EXPANDED',
      `The changeover is at ${stage}: new clients are served from BACKFILLED on. 'segue migrate' leads there; the old API answers meanwhile.`,
    );
}

import { CutoverSides, type OldOrNew } from './changeover/cutover-sides.js';
import { fallingBack } from './changeover/falling-back.js';
import { Shadow } from './changeover/shadow.js';
import { checkShape, hasTable } from './changeover/shape.js';
import { presentMapping } from './changeover/retired.js';
import { hasReached, readState, type Stage } from './changeover/stage.js';
import type { Config } from './config/config.js';
import type { Database } from './database/database.js';
import { SegueError } from './errors/segue-error.js';
import { LegacyService } from './legacy/legacy.service.js';
import type { LegacySql } from './legacy/legacy-sql.js';
import { newSideSql } from './legacy/new-side.js';
import { oldSideSql } from './legacy/old-side.js';

/** The old API's queries, as a server answers them. */
export interface OldQueries {
  readonly service: LegacyService;
  /** How many were answered so far, by the side that answers. */
  readonly answered: Readonly<Record<OldOrNew, number>>;
  /** Resolves when no answer is compared with the other side any more. */
  stop(): Promise<void>;
}

/**
 * The old queries on the side that LEGACY_READS names, or for each person on the one that the cutover says; a share of
 * the answers is compared with the other side.
 * @throws SegueError WRONG_STAGE when LEGACY_READS is `new` before VERIFIED; when the old tables have not the shape of the mapping.
 */
export async function oldQueriesOn(
  { legacyReads, mapping }: Pick<Config, 'legacyReads' | 'mapping'>,
  database: Database,
  stage: Stage,
  warn: (message: string) => void,
): Promise<OldQueries> {
  const { dialect } = database;
  const answered = { old: 0, new: 0 };
  const on =
    (sides: Readonly<Record<OldOrNew, LegacySql>>) =>
    (side: OldOrNew): LegacySql => {
      answered[side] += 1;
      return sides[side];
    };
  const state = await readState(database);
  if (stage === 'CONTRACTED' && state.retiredAt === null) {
    const hasMessages = await hasTable(database, mapping.messages.table);
    const only = newSideSql(dialect, mapping, hasMessages);
    const use = on({ old: only, new: only });
    const service = new LegacyService(database, () => use('new'));
    return { service, answered, stop: () => Promise.resolve() };
  }
  await checkShape(database, presentMapping(mapping, state));
  if (legacyReads === 'new' && !hasReached(stage, 'VERIFIED'))
    throw new SegueError(
      'WRONG_STAGE',
      `LEGACY_READS is "new" and the stage is ${stage}: the new side answers once it is VERIFIED. Run 'segue migrate', or leave LEGACY_READS out, and have 'segue cutover' say who is answered by which side.`,
    );
  const sides = {
    old: oldSideSql(dialect, mapping),
    new: newSideSql(dialect, mapping, true),
    alone: newSideSql(dialect, mapping, false),
  };
  const use = on(sides);
  const cutover = new CutoverSides(database);
  const shadow = new Shadow(database, sides, warn);
  const service = new LegacyService(
    fallingBack(database, sides),
    async (userId) => use(legacyReads === 'cutover' ? await cutover.sideFor(userId) : legacyReads),
    (asked) => {
      shadow.note(asked);
    },
  );
  return { service, answered, stop: () => shadow.stop() };
}

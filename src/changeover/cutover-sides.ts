import { believed } from '../database/believed.js';
import type { Database } from '../database/database.js';
import { hundredthOf } from './cutover.js';
import { readState } from './stage.js';

/** For how long what was read of the cutover is believed, in ms: a change is to be heeded within a second. */
const BELIEVED_MS = 500;

export type OldOrNew = 'old' | 'new';

interface Cutover {
  readonly percent: number;
  readonly users: ReadonlySet<string>;
}

const NOBODY: Cutover = { percent: 0, users: new Set() };

/** Which side answers somebody's old queries, as the cutover has come so far. */
export class CutoverSides {
  private readonly cutover = believed(BELIEVED_MS, () => this.read());

  constructor(private readonly database: Database) {}

  /** @param userId as the database names him */
  async sideFor(userId: string): Promise<OldOrNew> {
    const { percent, users } = await this.cutover();
    return users.has(userId) || hundredthOf(userId) < percent ? 'new' : 'old';
  }

  private async read(): Promise<Cutover> {
    const { stage, cutoverPercent } = await readState(this.database);
    if (stage !== 'CUTTING_OVER' && stage !== 'COMPLETE')
      return stage === 'CONTRACTED' ? { percent: 100, users: NOBODY.users } : NOBODY;
    const users = await this.database.reader.all<{ id: string }>(
      'SELECT CAST(user_id AS text) AS id FROM cutover_users',
    );
    return { percent: cutoverPercent, users: new Set(users.map(({ id }) => id)) };
  }
}

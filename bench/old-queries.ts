import { backfill } from '../src/changeover/backfill.js';
import { expand } from '../src/changeover/expand.js';
import { DEFAULT_MAPPING } from '../src/config/legacy-mapping.js';
import { LegacyService } from '../src/legacy/legacy.service.js';
import { newSideSql } from '../src/legacy/new-side.js';
import { oldSideSql } from '../src/legacy/old-side.js';
import { median, onBothEngines, say } from './databases.js';

const VIEWER = { id: '1', phone: '' };
const CALLS = { old: 5, new: 200 } as const;

/** Each old query from either side, the median of some calls, on a table of `rows` and on one a tenth of it. */
export async function oldQueriesBench(rows: number): Promise<void> {
  for (const size of [Math.round(rows / 10), rows])
    await onBothEngines(size, async (database) => {
      const context = {
        database,
        mapping: DEFAULT_MAPPING,
        report: (): void => undefined,
        who: 'a benchmark',
      };
      await expand(context, { backup: null, migrationsTable: 'segue_migrations' });
      await backfill(context);
      for (const [side, sql] of [
        ['old', oldSideSql(database.dialect, DEFAULT_MAPPING)],
        ['new', newSideSql(database.dialect, DEFAULT_MAPPING, true)],
      ] as const) {
        const service = new LegacyService(database, () => sql);
        const queries: Record<string, () => Promise<unknown>> = {
          messages: () => service.messages(VIEWER, 1, 2, 50, 0),
          groupMessages: () => service.groupMessages(VIEWER, 1, 50, 0),
          message: () => service.message(VIEWER, 1),
          recentMessages: () => service.recentMessages(VIEWER, 1),
          unreadCount: () => service.unreadCount(VIEWER, 1),
        };
        const figures: string[] = [];
        for (const [name, query] of Object.entries(queries))
          figures.push(`${name} ${(await median(CALLS[side], query)).toFixed(2)}`);
        say(
          `${database.dialect.engine}, ${size.toLocaleString('en-US')} rows, ${side} side, ms: ${figures.join(', ')}`,
        );
      }
    });
}

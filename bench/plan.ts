import { backfill } from '../src/changeover/backfill.js';
import { expand } from '../src/changeover/expand.js';
import { plan } from '../src/changeover/plan.js';
import { verify } from '../src/changeover/verify.js';
import { DEFAULT_MAPPING } from '../src/config/legacy-mapping.js';
import type { EngineName } from '../src/database/dialect.js';
import { onBothEngines, say, timed } from './databases.js';

const MIGRATIONS_TABLE = 'segue_migrations';

/** Texts of so many bytes that no engine makes shorter. */
const TEXTS: Readonly<Record<EngineName, (bytes: number) => string>> = {
  sqlite: (bytes) => `hex(randomblob(${bytes / 2}))`,
  postgres: (bytes) =>
    // Of each row another one: a subquery that names it is run for it.
    `(SELECT left(string_agg(md5(random()::text || i), ''), ${bytes}) FROM generate_series(1, ${Math.ceil(bytes / 32)}) i WHERE messages.id > -i)`,
};

/**
 * What `plan` says beforehand, beside what it then was. The constants in `estimate.ts` are tuned by it.
 * @param bytes of each text; 0: as they are generated
 */
export async function planBench(rows: number, bytes: number): Promise<void> {
  await onBothEngines(rows, async (database) => {
    if (bytes > 0)
      await database.transaction((transaction) =>
        transaction.run(`UPDATE messages SET content = ${TEXTS[database.dialect.engine](bytes)}`),
      );
    const context = {
      database,
      mapping: DEFAULT_MAPPING,
      report: (): void => undefined,
      who: 'a benchmark',
    };
    const { estimateSeconds, bytesToWrite } = await plan(context, {
      migrationsTable: MIGRATIONS_TABLE,
    });
    await expand(context, { backup: null, migrationsTable: MIGRATIONS_TABLE });
    const copied = (await timed(() => backfill(context))) / 1000;
    const compared = (await timed(() => verify(context))) / 1000;
    const beside = (estimate: number | undefined, truth: number): string =>
      `${estimate ?? '?'} s said, ${truth.toFixed(1)} s were (${((estimate ?? NaN) / truth).toFixed(2)})`;
    say(
      `${database.dialect.engine}, ${rows.toLocaleString('en-US')} rows${bytes > 0 ? ` of ${bytes.toLocaleString('en-US')} bytes` : ''}: backfill ${beside(estimateSeconds?.backfill, copied)}, ` +
        `verify ${beside(estimateSeconds?.verify, compared)}; ${((bytesToWrite ?? NaN) / 1e6).toFixed(0)} MB said`,
    );
  });
}

import { expect } from '@jest/globals';
import type { DatabaseLocation } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { backfill } from '../../src/changeover/backfill.js';
import type { ChangeoverContext } from '../../src/changeover/context.js';
import { expand } from '../../src/changeover/expand.js';
import type { Progress } from '../../src/changeover/progress.js';
import { verify } from '../../src/changeover/verify.js';
import type { Verification } from '../../src/changeover/verify.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import type { IrregularRows, Planted } from '../../src/demo/irregular-rows.js';
import { generateLegacy } from '../../src/demo/legacy-generator.js';
import { emptyDatabase, open } from './databases.js';

/** An old database of the test's own, with regular rows unless others are asked for. */
export async function legacyDatabase(
  engine: EngineName,
  {
    messages = 2_000,
    seed = 1,
    irregular = { share: 0 },
  }: { messages?: number; seed?: number; irregular?: IrregularRows } = {},
): Promise<{ location: DatabaseLocation; database: Database; planted: readonly Planted[] }> {
  const location = await emptyDatabase(engine);
  const database = await open(location);
  const planted = await generateLegacy(database, DEFAULT_MAPPING, { messages, seed, irregular });
  return { location, database, planted };
}

/** What the changeover's verbs work with, silently. */
export function contextOf(database: Database): ChangeoverContext {
  return { database, mapping: DEFAULT_MAPPING, report: () => undefined, who: 'a test' };
}

export const EXPAND = { backup: null, migrationsTable: 'segue_migrations' };

/** expand, backfill, verify. */
export async function migrate(database: Database): Promise<Verification> {
  const context = contextOf(database);
  await expand(context, EXPAND);
  await backfill(context);
  return verify(context);
}

/** Begins a backfill, and ends it as a crash does when it has made all threads and copied no row. */
export async function makeOnlyThreads(database: Database): Promise<void> {
  const cutOff = {
    ...contextOf(database),
    report: ({ step }: Progress): void => {
      if (step === 'messages') throw new Error('planted crash');
    },
  };
  await expect(backfill(cutOff)).rejects.toThrow('planted crash');
}

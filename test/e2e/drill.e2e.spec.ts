import { describe, expect, it } from '@jest/globals';
import type { FaultName, DrillReport } from '../drills/drill.js';
import { ENGINES } from '../helpers/databases.js';
import { DRILLS, finished, start } from '../helpers/programs.js';

/** The same seed gives the same writes and kills, as far as the machine is as fast. */
const SEED = process.env.SEGUE_TEST_SEED ?? String(Date.now() % 1_000_000);

async function drill(...args: string[]): Promise<{ code: number | null; report: DrillReport }> {
  const environment = { TEST_POSTGRES_URL: process.env.TEST_POSTGRES_URL ?? '' };
  const { code, stdout, stderr } = await finished(
    start(
      environment.TEST_POSTGRES_URL === '' ? {} : environment,
      `${DRILLS}run.js`,
      '--json',
      '--seed',
      SEED,
      ...args,
    ),
  );
  expect(stderr).toBe('');
  return { code, report: JSON.parse(stdout) as DrillReport };
}

describe.each(ENGINES)('the drill on %s', (engine) => {
  it('loses nothing and doubles nothing, though old apps write and processes are killed', async () => {
    const { code, report } = await drill('--engine', engine, '--minutes', '0.3', '--kills', '13');
    expect({ seed: SEED, failures: report.failures }).toEqual({ seed: SEED, failures: [] });
    expect(code).toBe(0);
    expect(report.oldApps.flatMap(({ errors }) => errors)).toEqual([]);
    expect(report.killsInBatch).toBeGreaterThanOrEqual(10);
    expect(report.writes).toBeGreaterThan(1_000);
  }, 180_000);

  // On SQLite a batch has the only write lock: nothing can come in between.
  it.each<FaultName>(
    engine === 'sqlite'
      ? ['lost-entry', 'checkpoint-ahead', 'trigger-gone']
      : ['checkpoint-ahead', 'no-exclusion'],
  )(
    'notices a planted fault: %s',
    async (fault) => {
      const { code, report } = await drill(
        ...['--engine', engine, '--minutes', '0.15', '--kills', '10', '--plant', fault],
      );
      expect(report.failures).not.toEqual([]);
      expect(code).toBe(1);
    },
    180_000,
  );
});

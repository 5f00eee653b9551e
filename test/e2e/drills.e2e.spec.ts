import { describe, expect, it } from '@jest/globals';
import type { EngineName } from '../../src/database/dialect.js';
import type { ChaosFault } from '../drills/chaos-faults.js';
import type { ChaosReport } from '../drills/chaos.js';
import type { FaultName } from '../drills/drill.js';
import { ENGINES } from '../helpers/databases.js';
import { TAKES_ALL } from '../helpers/moments.js';
import { drill, SEED } from '../helpers/programs.js';

/** Only what hangs takes as long, in ms. In one file, since each needs the machine for itself. */
const LONG_MS = 600_000;

/** By what a fault has to be noticed, whatever else it brings about. */
const BY_THE_DRILL: Readonly<Record<FaultName, RegExp>> = {
  'lost-entry': /not on the new side, once, as written|found by the rolling compare/,
  'checkpoint-ahead': /segue verify ended with 1: .*NOT_VERIFIED/s,
  'trigger-gone': /certificates were void/,
  'no-exclusion': /not on the new side, once, as written/,
  'sent-lost': /messages of new clients are not there under their clients' ids/,
};

const BY_THE_CHAOS: Readonly<Record<ChaosFault, (report: ChaosReport) => number>> = {
  'announce-before-commit': ({ wronglyTold }) => wronglyTold,
  'acknowledge-before-commit': ({ lost }) => lost,
  'cursor-by-id-only': ({ lost }) => lost,
};

/** The faults of the short form; SEGUE_TEST_KILLS=all plants each of them on both engines. */
const SHORT: Readonly<
  Record<
    EngineName,
    { readonly drill: readonly FaultName[]; readonly chaos: readonly ChaosFault[] }
  >
> = {
  sqlite: {
    drill: ['lost-entry', 'checkpoint-ahead', 'sent-lost'],
    chaos: ['announce-before-commit'],
  },
  postgres: {
    drill: ['trigger-gone', 'no-exclusion'],
    chaos: ['acknowledge-before-commit', 'cursor-by-id-only'],
  },
};

describe.each(ENGINES)('the drill on %s', (engine) => {
  it(
    'loses nothing and doubles nothing from before expand until the old table is gone, though all write and processes are killed',
    async () => {
      const { code, report } = await drill(
        'run',
        ...['--engine', engine, '--minutes', '0.3', '--kills', '13', '--rows', '8000', '--full'],
      );
      expect({ seed: SEED, failures: report.failures }).toEqual({ seed: SEED, failures: [] });
      expect(code).toBe(0);
      expect(report.oldApps.flatMap(({ errors }) => errors)).toEqual([]);
      expect(report.killsInBatch).toBeGreaterThanOrEqual(10);
      expect(report.writes).toBeGreaterThan(1_000);
      expect(report.clients?.newClients.acknowledged).toBeGreaterThan(10);
      expect(report.clients?.oldClients.acknowledged).toBeGreaterThan(5);
    },
    LONG_MS,
  );

  // On SQLite a batch has the only write lock: nothing can come in between.
  const possible = (Object.keys(BY_THE_DRILL) as FaultName[]).filter(
    (fault) => engine === 'postgres' || fault !== 'no-exclusion',
  );
  it.each(TAKES_ALL ? possible : SHORT[engine].drill)(
    'notices a planted fault: %s',
    async (fault) => {
      const { code, report } = await drill(
        'run',
        ...[
          '--engine',
          engine,
          '--minutes',
          '0.1',
          '--kills',
          '2',
          '--rows',
          '5000',
          '--plant',
          fault,
          ...(fault === 'sent-lost' ? ['--full'] : []),
        ],
      );
      const isNoticed = report.failures.some((failure) => BY_THE_DRILL[fault].test(failure));
      expect({ ...report, isNoticed }).toMatchObject({ isNoticed: true });
      expect(code).toBe(1);
    },
    LONG_MS,
  );
});

describe.each(ENGINES)('the chaos on %s', (engine) => {
  it(
    'loses, doubles and disorders nothing, though the server is killed and its connections break',
    async () => {
      const { code, report } = await drill(
        'run-chaos',
        ...['--engine', engine, '--minutes', '0.2', '--kills', '2'],
      );
      expect({ seed: SEED, failures: report.failures }).toEqual({ seed: SEED, failures: [] });
      expect(code).toBe(0);
      expect(report).toMatchObject({
        lost: 0,
        doubled: 0,
        outOfOrder: 0,
        wronglyTold: 0,
        resyncs: 0,
      });
      expect(report.torments.kill).toBe(2);
      expect(report.acknowledged).toBeGreaterThan(10);
      expect(report.told).toBeGreaterThan(report.acknowledged);
      expect(report.resumes).toBeGreaterThan(3);
    },
    LONG_MS,
  );

  it.each(TAKES_ALL ? (Object.keys(BY_THE_CHAOS) as ChaosFault[]) : SHORT[engine].chaos)(
    'notices a planted fault: %s',
    async (fault) => {
      const { code, report } = await drill(
        'run-chaos',
        // Enough of them for one to come at the wrong moment, on a slow machine too.
        ...['--engine', engine, '--minutes', '0.2', '--kills', '4', '--plant', fault],
      );
      expect({ ...report, isNoticed: BY_THE_CHAOS[fault](report) > 0 }).toMatchObject({
        isNoticed: true,
      });
      expect(code).toBe(1);
    },
    LONG_MS,
  );
});

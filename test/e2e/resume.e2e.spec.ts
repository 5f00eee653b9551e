import type { ChildProcess } from 'node:child_process';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { DatabaseLocation } from '../../src/config/config.js';
import { randomFrom } from '../../src/demo/legacy-generator.js';
import { type Contents, contentsOf, differences, oldSideOf } from '../helpers/comparison.js';
import { copyOf, ENGINES, onServer, urlOf, using } from '../helpers/databases.js';
import { irregularDatabase } from '../helpers/irregular.js';
import { TAKES_ALL } from '../helpers/moments.js';
import { finished, outputOf, segue, startCli } from '../helpers/programs.js';

const ROWS = 20_000;

/** Of each of two engines. */
const KILLS = TAKES_ALL ? 30 : 5;

/** The same seed gives the same moments, as far as the machine is as fast. */
const SEED = Number(process.env.SEGUE_TEST_SEED ?? Date.now() % 1_000_000);

const environmentOf = (location: DatabaseLocation): { DATABASE_URL: string } => ({
  DATABASE_URL: urlOf(location),
});

const startMigrate = (location: DatabaseLocation): ChildProcess =>
  startCli(environmentOf(location), 'migrate', '--no-backup');

describe.each(ENGINES)('a move that is disturbed on %s', (engine) => {
  let original: DatabaseLocation;
  let expected: Contents;
  let tookMs: number;
  let startsInMs: number;

  beforeAll(async () => {
    original = await irregularDatabase(engine, { messages: ROWS, seed: 9, share: 0.05 });
    const { location, drop } = await copyOf(original);
    const started = performance.now();
    await segue(environmentOf(location), 'status');
    startsInMs = performance.now() - started;
    expect(await finished(startMigrate(location))).toMatchObject({ code: 0 });
    tookMs = performance.now() - started - startsInMs;
    expected = await using(location, contentsOf);
    expect(await using(location, oldSideOf)).toEqual(await using(original, oldSideOf));
    await drop();
  }, 120_000);

  /** Compares with the undisturbed move, and takes the database away. */
  async function expectTheSame(
    { location, drop }: Awaited<ReturnType<typeof copyOf>>,
    circumstances: object,
  ): Promise<void> {
    const found = differences(expected, await using(location, contentsOf));
    expect({ ...circumstances, found }).toEqual({ ...circumstances, found: [] });
    await drop();
  }

  it(`ends the same after SIGKILL at ${KILLS} random moments`, async () => {
    const random = randomFrom(SEED);
    const moments: number[] = [];
    while (moments.length < KILLS) {
      const copy = await copyOf(original);
      for (;;) {
        const child = startMigrate(copy.location);
        const ending = finished(child);
        // Sooner rather than later: what one run has done, the next one need not do again.
        const moment = startsInMs * 0.7 + (tookMs - startsInMs * 0.7) * random() ** 2;
        const timer = setTimeout(() => child.kill('SIGKILL'), moment);
        const { code, stderr } = await ending;
        clearTimeout(timer);
        if (code === 0) break;
        // Nothing but progress was printed: it was the signal that ended it.
        expect(stderr.replaceAll(/^\w+: [\d,]+ of .*\n?/gm, '')).toBe('');
        moments.push(Math.round(moment));
      }
      await expectTheSame(copy, { seed: SEED, moments });
    }
  }, 300_000);

  it('is done once when two start it together; the other one is told so, or finds it done', async () => {
    let told = 0;
    for (let pair = 0; pair < 3; pair += 1) {
      const copy = await copyOf(original);
      const both = [startMigrate(copy.location), startMigrate(copy.location)];
      const ended = await Promise.all(both.map(finished));
      for (const { code, stderr } of ended)
        if (code !== 0) {
          expect(stderr).toMatch(/^RUNNER_ACTIVE: /m);
          told += 1;
        }
      expect(ended.map(({ code }) => code)).toContain(0);
      await expectTheSame(copy, { pair });
    }
    expect(told).toBeGreaterThan(0);
  }, 120_000);

  if (engine === 'postgres')
    it.each(['threads', 'messages', 'comparison'])(
      'says so when the server ends its connections at its %s, and goes on when run again',
      async (step) => {
        const copy = await copyOf(original);
        const child = startMigrate(copy.location);
        const { until } = outputOf(child);
        const ending = finished(child);
        await until(`${step}: `);
        const name = new URL(urlOf(copy.location)).pathname.slice(1);
        // Again and again: between two statements of the comparison there may be no connection to end.
        while (child.exitCode === null)
          await onServer(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '${name}' AND application_name = 'segue' AND state <> 'idle'`,
          );
        const { code, stderr } = await ending;
        expect(code).toBe(1);
        expect(stderr).toMatch(
          /^UNAVAILABLE: The database does not answer, or ended the connection/m,
        );
        expect(stderr).not.toMatch(/^ {4}at /m);
        expect((await finished(startMigrate(copy.location))).code).toBe(0);
        await expectTheSame(copy, { step });
      },
      60_000,
    );
});

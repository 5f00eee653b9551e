import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_MAPPING } from '../src/config/legacy-mapping.js';
import type { EngineName } from '../src/database/dialect.js';
import { generateLegacy } from '../src/demo/legacy-generator.js';
import { type Place, withDatabase } from '../test/drills/place.js';
import { environmentOf, runCli, startOldApps } from '../test/drills/processes.js';
import { placeOn, say, timed } from './databases.js';

const OLD_APPS = 2;
const WRITES_PER_SECOND = 110;

/** How long the old apps write before we come, in ms. */
const ALONE_MS = 20_000;

/**
 * `segue expand` and `segue backfill`, each in a process of its own, beside two old apps that write: rows copied a second,
 * and the latencies of the old apps' writes before and meanwhile.
 */
export async function busyBench(rows: number): Promise<void> {
  for (const engine of ['sqlite', 'postgres'] as const) {
    const { place, folder, drop } = await placeOn(engine);
    try {
      await measure(engine, place, folder, rows);
    } finally {
      await drop();
    }
  }
}

async function measure(
  engine: EngineName,
  place: Place,
  folder: string,
  rows: number,
): Promise<void> {
  await withDatabase(place.url, (database) =>
    generateLegacy(database, DEFAULT_MAPPING, { messages: rows, seed: 1 }),
  );
  await place.letIn();
  const apps = await startOldApps(
    Array.from({ length: OLD_APPS }, (_, number) => ({
      url: place.oldAppUrl,
      journal: join(folder, `journal-${number}`),
      number,
      of: OLD_APPS,
      people: 10,
      seed: number,
      writesPerSecond: WRITES_PER_SECOND,
    })),
  );
  await sleep(ALONE_MS);
  for (const { child } of apps) child.send('beside');
  const run = async (...args: string[]): Promise<void> => {
    const failure = await runCli(environmentOf(place, folder), ...args);
    if (failure !== null) throw new Error(failure);
  };
  await run('expand', '--no-backup');
  const copied = await timed(() => run('backfill'));
  const reports = await Promise.all(
    apps.map(({ child, report }) => {
      child.send('stop');
      return report;
    }),
  );

  const latencies = (phase: 'alone' | 'beside'): string =>
    reports.map(({ [phase]: { p50, p99, max } }) => `${p50} / ${p99} / ${max}`).join(' and ');
  const seconds = (copied / 1_000).toFixed(1);
  const perSecond = Math.round((rows / copied) * 1_000).toLocaleString('en-US');
  say(
    `${engine}, ${rows.toLocaleString('en-US')} rows, old apps writing ${OLD_APPS * WRITES_PER_SECOND} times a second: backfill ${perSecond}/s (${seconds} s); ` +
      `their writes, p50 / p99 / max in ms, without us ${latencies('alone')}, beside us ${latencies('beside')}; ` +
      `${reports.reduce((sum, { errors }) => sum + errors.length, 0)} errors`,
  );
}

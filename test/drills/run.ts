import { parseArgs } from 'node:util';
import { type DrillReport, FAULTS, runDrill } from './drill.js';
import { commit, engineFlag, numberFlag, plantFlag, postgresUrl } from './flags.js';

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'sqlite' },
    minutes: { type: 'string', default: '0.5' },
    kills: { type: 'string', default: '15' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    rows: { type: 'string', default: '20000' },
    plant: { type: 'string' },
    full: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

/** A row of the table in docs/drills.md. */
function print(report: DrillReport): string {
  const of = (phase: 'alone' | 'beside'): string =>
    report.oldApps.map(({ [phase]: { p50, p99, max } }) => `${p50} / ${p99} / ${max}`).join(', ');
  return [
    `engine ${report.engine}, seed ${report.seed}, commit ${commit()}, ${report.rows} rows at first, ${report.seconds} s`,
    `${report.writes} writes acknowledged (${report.writesPerSecond}/s), ${report.touched} rows touched`,
    `${report.kills} kills, ${report.killsInBatch} of them inside an open batch`,
    `old apps, p50 / p99 / max in ms: alone ${of('alone')}; beside us ${of('beside')}`,
    `errors of the old apps: ${report.oldApps.reduce((sum, { errors }) => sum + errors.length, 0)}`,
    ...(report.clients === null
      ? []
      : Object.entries(report.clients).map(
          ([who, { acknowledged, again, notServed, errors }]) =>
            `${who}: ${acknowledged} messages acknowledged, ${again} attempts made again, ${notServed} of them NOT_EXPANDED, errors: ${errors.length}`,
        )),
    report.failures.length === 0
      ? 'nothing lost, nothing doubled, each write as written on both sides'
      : report.failures.map((failure) => `FAILED: ${failure}`).join('\n'),
  ].join('\n');
}

const report = await runDrill({
  engine: engineFlag(values),
  seconds: numberFlag(values, 'minutes') * 60,
  kills: numberFlag(values, 'kills'),
  seed: numberFlag(values, 'seed'),
  rows: numberFlag(values, 'rows'),
  fault: plantFlag(values, FAULTS),
  isFull: values.full,
  postgresUrl,
  say: (line) => {
    if (!values.json) process.stderr.write(`${line}\n`);
  },
});
process.stdout.write(`${values.json ? JSON.stringify(report) : print(report)}\n`);
process.exit(report.failures.length === 0 ? 0 : 1);

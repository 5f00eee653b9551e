import { parseArgs } from 'node:util';
import { CHAOS_FAULTS } from './chaos-faults.js';
import { type ChaosReport, runChaos } from './chaos.js';
import { commit, engineFlag, numberFlag, plantFlag, postgresUrl } from './flags.js';

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'sqlite' },
    minutes: { type: 'string', default: '0.5' },
    kills: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    rows: { type: 'string', default: '1000' },
    plant: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

function print(report: ChaosReport): string {
  const { torments, oldApp, failures } = report;
  return [
    `engine ${report.engine}, seed ${report.seed}, commit ${commit()}, ${report.seconds} s`,
    `${torments.kill} kills, ${torments.stop} stops, ${torments.cut} cuts, ${torments.stall} stalls, ${torments.halve} half-open, ${torments.terminate} times connections of the database ended`,
    `acknowledged ${report.acknowledged} (${report.retries} sent again), told ${report.told} (${report.resumes} resumes)`,
    `lost ${report.lost}, doubled ${report.doubled}, out of order ${report.outOfOrder}, wrongly told ${report.wronglyTold}, resyncs ${report.resyncs}`,
    `old app: ${oldApp.writes} writes, ${oldApp.errors} errors`,
    failures.length === 0
      ? 'each acknowledged message is there once, and each reader was told of it once and in order'
      : failures.map((failure) => `FAILED: ${failure}`).join('\n'),
  ].join('\n');
}

// By way of `exit`, so that no server is left behind.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(2));

const report = await runChaos({
  engine: engineFlag(values),
  seconds: numberFlag(values, 'minutes') * 60,
  kills: numberFlag(values, 'kills'),
  seed: numberFlag(values, 'seed'),
  rows: numberFlag(values, 'rows'),
  fault: plantFlag(values, CHAOS_FAULTS),
  postgresUrl,
  say: (line) => {
    if (!values.json) process.stderr.write(`${line}\n`);
  },
});
process.stdout.write(`${values.json ? JSON.stringify(report) : print(report)}\n`);
process.exit(report.failures.length === 0 ? 0 : 1);

import { backfillBench } from './backfill.js';
import { busyBench } from './busy.js';
import { historyBench } from './history.js';
import { oldQueriesBench } from './old-queries.js';
import { planBench } from './plan.js';
import {
  connectionsBench,
  fanoutBench,
  fewSendersBench,
  latencyBench,
  sendBench,
} from './serving.js';

/**
 * `npm run bench -- NAME [ROWS [BYTES]]`: figures to read, nothing asserted. Only ratios within one run mean something.
 * `backfill --busy` is a benchmark of its own.
 */
const BENCHES: Readonly<Record<string, (rows: number, bytes: number) => Promise<void>>> = {
  backfill: backfillBench,
  'backfill --busy': busyBench,
  history: historyBench,
  connections: connectionsBench,
  fanout: fanoutBench,
  latency: latencyBench,
  'old-queries': oldQueriesBench,
  plan: planBench,
  send: sendBench,
  'send --few': fewSendersBench,
};

const given = process.argv.slice(2);
const numbers = given.filter((argument) => /^\d/.test(argument));
const name = given.filter((argument) => !numbers.includes(argument)).join(' ');
const [rows = name === 'connections' ? '5000' : '1000000', bytes = '0'] = numbers;
const bench = BENCHES[name];
if (bench === undefined || !/^\d+$/.test(rows) || !/^\d+$/.test(bytes)) {
  process.stderr.write(
    `npm run bench -- ${Object.keys(BENCHES).join(' | ')} [ROWS [BYTES]]: ${JSON.stringify(given.join(' '))} is none of them\n`,
  );
  process.exitCode = 2;
} else {
  await bench(Number(rows), Number(bytes));
}

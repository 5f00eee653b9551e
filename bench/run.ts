import { backfillBench } from './backfill.js';
import { historyBench } from './history.js';
import { oldQueriesBench } from './old-queries.js';
import { planBench } from './plan.js';

/** `npm run bench -- NAME [ROWS [BYTES]]`: figures to read, nothing asserted. Only ratios within one run mean something. */
const BENCHES: Readonly<Record<string, (rows: number, bytes: number) => Promise<void>>> = {
  backfill: backfillBench,
  history: historyBench,
  'old-queries': oldQueriesBench,
  plan: planBench,
};

const [name = '', rows = '1000000', bytes = '0'] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined || !/^\d+$/.test(rows) || !/^\d+$/.test(bytes)) {
  process.stderr.write(
    `npm run bench -- ${Object.keys(BENCHES).join(' | ')} [ROWS [BYTES]]: ${JSON.stringify([name, rows, bytes].join(' '))} is none of them\n`,
  );
  process.exitCode = 1;
} else {
  await bench(Number(rows), Number(bytes));
}

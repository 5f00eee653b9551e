import { backfillBench } from './backfill.js';
import { oldQueriesBench } from './old-queries.js';

/** `npm run bench -- NAME [ROWS]`: figures to read, nothing asserted. Only ratios within one run mean something. */
const BENCHES: Readonly<Record<string, (rows: number) => Promise<void>>> = {
  backfill: backfillBench,
  'old-queries': oldQueriesBench,
};

const [name = '', rows = '100000'] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined || !/^\d+$/.test(rows)) {
  process.stderr.write(
    `npm run bench -- ${Object.keys(BENCHES).join(' | ')} [ROWS]: ${JSON.stringify([name, rows].join(' '))} is none of them\n`,
  );
  process.exitCode = 1;
} else {
  await bench(Number(rows));
}

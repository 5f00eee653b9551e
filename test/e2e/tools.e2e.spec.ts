import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { setUpIfEmpty } from '../../src/changeover/setup.js';
import { atTheEnd, emptyDatabase, ENGINES, open, urlOf } from '../helpers/databases.js';
import { EXPAND } from '../helpers/legacy.js';
import { addressIn, ask, type Ended, finished, start } from '../helpers/programs.js';

const TYPEORM = createRequire(import.meta.url).resolve('typeorm/cli.js');
const ORMCONFIG = fileURLToPath(new URL('../../dist/ormconfig.js', import.meta.url));
const DEMO = fileURLToPath(new URL('../../dist/src/demo/demo.js', import.meta.url));

describe.each(ENGINES)("TypeORM's command line on %s", (engine) => {
  const typeorm = (url: string, ...args: string[]): Promise<Ended> =>
    finished(start({ DATABASE_URL: url }, TYPEORM, ...args, '-d', ORMCONFIG));

  it('migrates an empty database, and then finds nothing to generate', async () => {
    const url = urlOf(await emptyDatabase(engine));
    const migrated = await typeorm(url, 'migration:run', '--transaction', 'each');
    expect(migrated).toMatchObject({ code: 0, stderr: '' });

    const check = ['migration:generate', 'src/database/migrations/drift', '--check'];
    const clean = await typeorm(url, ...check);
    expect(clean.stdout).toContain('No changes in database schema were found');
    expect(clean.code).toBe(0);

    // Drift is found, and so is a generator that cannot do its work.
    const location = await emptyDatabase(engine);
    const database = await open(location);
    await setUpIfEmpty(database, DEFAULT_MAPPING, EXPAND.migrationsTable);
    await database.transaction((transaction) =>
      transaction.run('ALTER TABLE conversations ADD COLUMN stray text'),
    );
    expect((await typeorm(urlOf(location), ...check)).code).toBe(1);
    const broken = await typeorm('postgres://nobody@127.0.0.1:1/nowhere', ...check);
    expect(broken.code).not.toBe(0);
    expect(broken.stdout).not.toContain('No changes');
  });

  it('takes migrations back', async () => {
    const location = await emptyDatabase(engine);
    const database = await open(location);
    await database.migrate();
    expect((await typeorm(urlOf(location), 'migration:revert')).code).toBe(0);
    const pending = await typeorm(urlOf(location), 'migration:show');
    expect(pending.stdout).toMatch(/\[X\].*KeptTables/);
  });
});

describe('the demo', () => {
  it('makes an old database, moves it, serves it, and prints a token that works', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'segue-demo-'));
    atTheEnd(() => rm(folder, { recursive: true, force: true }));
    const child = start({ CWD: folder, PORT: '0' }, DEMO);
    const ended = finished(child);
    let printed = '';
    child.stdout?.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    const url = await addressIn(child);
    while (!printed.includes('Ctrl-C')) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(printed).toContain('100000 legacy = 100000 migrated + 0 quarantined, 0 mismatches');

    const token = /Bearer ([\w.-]+)/.exec(printed)?.[1] ?? '';
    const queries = [...printed.matchAll(/^ {2}(\{ \w+\(.*\})$/gm)].map(([, query]) => query ?? '');
    expect(queries).toHaveLength(3);
    for (const query of queries) {
      const answer = await ask(url, token, query);
      expect(answer.errors).toBeUndefined();
      expect(JSON.stringify(answer.data).length).toBeGreaterThan(15);
    }
    child.kill('SIGTERM');
    expect((await ended).code).toBe(0);
  });
});

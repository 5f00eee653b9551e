import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { DatabaseLocation } from '../../src/config/config.js';
import type { Plan } from '../../src/changeover/plan.js';
import { asOldApp, ENGINES, leaveWalMode, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { ask, CLI, finished, segue, serve } from '../helpers/programs.js';

async function legacy(
  engine: (typeof ENGINES)[number],
  messages: number,
): Promise<{ location: DatabaseLocation; environment: { DATABASE_URL: string } }> {
  const { location, database } = await legacyDatabase(engine, { messages });
  await database.close();
  return { location, environment: { DATABASE_URL: urlOf(location) } };
}

describe.each(ENGINES)('segue plan on %s', (engine) => {
  it('tells people and machines the same, and ends with 0', async () => {
    const { environment } = await legacy(engine, 1_200);
    const machines = await segue(environment, 'plan', '--json');
    expect(machines).toMatchObject({ code: 0, stderr: '' });
    const found = JSON.parse(machines.stdout) as Plan;
    expect(found).toMatchObject({
      stage: 'LEGACY',
      tables: { messages: 1_200 },
      problems: [],
      preconditions: expect.arrayContaining([
        expect.objectContaining({ name: 'named-columns', holds: null }),
      ]),
    });
    const { code, stdout } = await segue(environment, 'plan');
    expect(code).toBe(0);
    for (const text of [
      ...found.preconditions.map(({ says }) => says),
      ...found.limits,
      ...found.ddl,
      '1,200  messages',
      'for the backfill',
    ])
      expect(stdout).toContain(text);

    const without = await segue(environment, 'plan', '--without-columns');
    expect(without.code).toBe(0);
    expect(without.stdout).not.toContain('ADD COLUMN');
    expect((await segue(environment, 'status')).stdout).toMatch(/stage +LEGACY/);
  });

  it('ends with 1 and the first problem, and still prints all of the plan', async () => {
    const { location, environment } = await legacy(engine, 30);
    await asOldApp(location, 'CREATE TABLE conversations (id INTEGER)');
    const { code, stdout, stderr } = await segue(environment, 'plan', '--json');
    expect(code).toBe(1);
    expect((JSON.parse(stdout) as Plan).problems).toMatchObject([{ code: 'NAME_TAKEN' }]);
    expect(JSON.parse(stderr.trim().split('\n').at(-1) ?? '')).toMatchObject({
      error: { code: 'NAME_TAKEN' },
    });
    const migrated = await segue(environment, 'migrate', '--no-backup');
    expect(migrated).toMatchObject({ code: 1, stderr: expect.stringMatching(/^NAME_TAKEN/) });
  });

  it('leads to a migration without columns that old clients do not notice', async () => {
    const { location, environment } = await legacy(engine, 400);
    const migrated = await segue(environment, 'migrate', '--no-backup', '--without-columns');
    expect(migrated).toMatchObject({ code: 0, stdout: expect.stringContaining('0 mismatches') });
    await asOldApp(
      location,
      `INSERT INTO messages VALUES (401, 1, 2, NULL, 'by position', 'text', 'sent', '2030-01-01 00:00:00')`,
      'DELETE FROM messages WHERE id = 401',
    );
    const { stdout } = await segue(environment, 'token', 'person1');
    const token = stdout.trim().split('\n').at(-1) ?? '';
    const answers: unknown[] = [];
    for (const side of ['old', 'new']) {
      const { url, child } = await serve({ ...environment, LEGACY_READS: side });
      answers.push(
        await ask(
          url,
          token,
          `{ recentMessages(userId: 1) { id sender_id recipient_id group_id content type status created_at }
             messages(userId: 1, peerId: 2) { id content } unreadCount(userId: 1) }`,
        ),
      );
      child.kill('SIGTERM');
      await finished(child);
    }
    expect(answers[0]).toMatchObject({ status: 200, data: { unreadCount: expect.any(Number) } });
    expect(answers[1]).toEqual(answers[0]);
  });

  it('is refused, as every verb is, when another version wrote the database', async () => {
    const { location, environment } = await legacy(engine, 30);
    await segue(environment, 'migrate', '--no-backup');
    await asOldApp(
      location,
      `INSERT INTO segue_migrations (timestamp, name) VALUES (1890000000001, 'Reactions1890000000001')`,
    );
    for (const verb of [
      ['inspect'],
      ['plan'],
      ['expand', '--no-backup'],
      ['backfill'],
      ['verify'],
      ['migrate', '--no-backup'],
      ['status'],
      ['quarantine', 'list'],
      ['serve'],
      ['token', 'person1'],
    ])
      expect(await segue({ ...environment, PORT: '0' }, ...verb)).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(/^NEWER_DATABASE: .*Reactions1890000000001/),
      });
  });
});

describe('segue plan on an SQLite file', () => {
  it('does not switch the journal mode, and migrate --wal does not when it refuses', async () => {
    const { location, environment } = await legacy('sqlite', 30);
    await leaveWalMode(location);
    const plain = await segue(environment, 'plan');
    expect(plain.code).toBe(1);
    expect(plain.stderr).toMatch(/UNSUPPORTED_DATABASE: .* has journal mode delete/);
    expect((await segue(environment, 'plan', '--wal')).code).toBe(0);

    expect((await segue(environment, 'plan')).stderr).toMatch(/UNSUPPORTED_DATABASE/);

    const taken = await legacy('sqlite', 30);
    await asOldApp(taken.location, 'CREATE TABLE conversations (id INTEGER)');
    await leaveWalMode(taken.location);
    const refused = await segue(taken.environment, 'migrate', '--wal', '--no-backup');
    expect(refused.stderr).toMatch(/^NAME_TAKEN/);
    const { stdout } = await segue(taken.environment, 'plan', '--json');
    expect((JSON.parse(stdout) as Plan).problems.map(({ code }) => code)).toEqual([
      'NAME_TAKEN',
      'UNSUPPORTED_DATABASE',
    ]);

    expect(await segue(environment, 'migrate', '--wal', '--no-backup')).toMatchObject({ code: 0 });
    expect(await segue(environment, 'plan')).toMatchObject({ code: 0 });
  });

  /** Rights do not bind root: the program then runs as another user, who must be able to reach it. */
  const isRoot = process.getuid?.() === 0;
  const someone = isRoot ? { uid: 65_534, gid: 65_534 } : {};
  const reach = spawnSync(process.execPath, [CLI, '--version'], { ...someone, cwd: '/' });

  (reach.status === 0 ? describe : describe.skip)('whose rights are missing', () => {
    let folder: string;
    let file: string;

    beforeAll(async () => {
      const { location } = await legacy('sqlite', 30);
      if (location.engine !== 'sqlite') throw new Error('not SQLite');
      const top = dirname(location.path);
      folder = join(top, 'inner');
      file = join(folder, 'chat.sqlite');
      await mkdir(folder);
      await rename(location.path, file);
      await chmod(top, 0o755);
      if (isRoot) for (const path of [folder, file]) await chown(path, 65_534, 65_534);
    });

    const refusal = (verb: string): string => {
      const flags = verb === 'plan' ? [] : ['--no-backup'];
      const { status, stderr } = spawnSync(process.execPath, [CLI, verb, ...flags], {
        ...someone,
        cwd: '/',
        env: { PATH: process.env.PATH, DATABASE_URL: `sqlite:${file}` },
        encoding: 'utf8',
      });
      if (status === 0) return 'none';
      return stderr.trim().split('\n').at(-1) ?? '';
    };

    it('names the user, and the file or folder that he may not write', async () => {
      expect(refusal('plan')).toBe('none');
      await chmod(file, 0o444);
      for (const verb of ['plan', 'expand', 'migrate'])
        expect(refusal(verb)).toMatch(
          /^NOT_PERMITTED: The user with the id \d+ lacks the right to write \S+inner\/chat\.sqlite(:| and )/,
        );
      await chmod(file, 0o644);
      // A reader made them with the rights of the file.
      for (const beside of ['-wal', '-shm']) await rm(file + beside, { force: true });
      await chmod(folder, 0o555);
      for (const verb of ['plan', 'expand', 'migrate'])
        expect(refusal(verb)).toMatch(
          /^NOT_PERMITTED: The user with the id \d+ lacks the right to write \S+inner:/,
        );
      await chmod(folder, 0o755);
      expect(refusal('migrate')).toBe('none');
    });
  });
});

import { beforeAll, describe, expect, it } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabaseLocation } from '../../src/config/config.js';
import { asOldApp, emptyDatabase, ENGINES, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { ask, finished, segue, serve, startCli } from '../helpers/programs.js';

const MESSAGES = 2_500;

describe.each(ENGINES)('a changeover at the command line on %s', (engine) => {
  let environment: { DATABASE_URL: string };

  beforeAll(async () => {
    const { location, database } = await legacyDatabase(engine, { messages: MESSAGES });
    await database.close();
    environment = { DATABASE_URL: urlOf(location) };
  });

  it('inspects and changes nothing', async () => {
    const { code, stdout } = await segue(environment, 'inspect', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      stage: 'LEGACY',
      empty: false,
      tables: { messages: MESSAGES },
      irregular: {},
      lowId: '1',
      highId: String(MESSAGES),
    });
    expect(JSON.parse((await segue(environment, 'status', '--json')).stdout)).toMatchObject({
      stage: 'LEGACY',
      legacyMessages: MESSAGES,
      migratedMessages: 0,
    });
  });

  it('asks for a backup before it changes anything', async () => {
    const { code, stderr } = await segue(environment, 'migrate');
    expect(code).toBe(1);
    expect(stderr).toMatch(/BAD_USER_INPUT: Say --backup NAME/);
    expect((await segue(environment, 'status')).stdout).toMatch(/stage +LEGACY/);
  });

  it('answers the same to old clients before and after, from either side', async () => {
    const token = async (): Promise<string> =>
      (await segue(environment, 'token', 'person1')).stdout.trim().split('\n').at(-1) ?? '';
    const question = `{
      recentMessages(userId: 1) { id sender_id recipient_id group_id content type status created_at }
      messages(userId: 1, peerId: 2, limit: 200) { id sender_id recipient_id group_id content type status created_at }
      groupMessages(groupId: 1) { id content }
      unreadCount(userId: 1)
    }`;
    const answerFrom = async (side: string): Promise<unknown> => {
      const { url, child } = await serve({ ...environment, LEGACY_READS: side });
      const { status, data, errors } = await ask(url, await token(), question);
      child.kill('SIGTERM');
      expect((await finished(child)).code).toBe(0);
      // But for what it says of deprecated fields, where there is something to call instead.
      return { status, data, errors };
    };

    const before = await answerFrom('old');
    expect(before).toMatchObject({ status: 200, data: { unreadCount: expect.any(Number) } });

    const refused = await finished(startCli({ ...environment, LEGACY_READS: 'new' }, 'serve'));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/WRONG_STAGE: LEGACY_READS is "new" and the stage is LEGACY/);

    const { code, stdout, stderr } = await segue(environment, 'migrate', '--backup', 'friday.dump');
    expect(code).toBe(0);
    expect(stderr).toMatch(/messages: 2,500 of 2,500, [\d,]+\/s, 0 s left/);
    expect(stdout).toMatch(/2,500 legacy = 2,500 migrated \+ 0 quarantined, 0 mismatches/);

    expect(await answerFrom('old')).toEqual(before);
    expect(await answerFrom('new')).toEqual(before);
  });

  it('verifies again, for machines too', async () => {
    const { code, stdout } = await segue(environment, 'verify', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      legacyMessages: MESSAGES,
      migratedMessages: MESSAGES,
      quarantinedMessages: 0,
      mismatches: 0,
      certificate: expect.stringContaining('0 mismatches'),
    });
  });

  it('ends with 1 when the sides differ, and names the row', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 50 });
    await database.close();
    const other = { DATABASE_URL: urlOf(location) };
    await segue(other, 'migrate', '--no-backup');
    await asOldApp(location, `UPDATE enhanced_messages SET text = 'changed' WHERE id = 33`);
    const { code, stdout, stderr } = await segue(other, 'verify');
    expect(code).toBe(1);
    expect(stdout).toContain('message 33: differs: content');
    expect(stderr).toContain('NOT_VERIFIED: 1 rows differ');
    expect((await segue(other, 'status')).stdout).toMatch(/stage +BACKFILLED/);
  });

  it('reads old times in their zone, answers with their own text, and refuses another zone', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    await database.close();
    const time = '2019-07-01 08:00:00';
    await asOldApp(
      location,
      `INSERT INTO messages (id, sender_id, recipient_id, content, created_at) VALUES (100, 1, 2, 'in summer', '${time}')`,
    );
    const there = { DATABASE_URL: urlOf(location), LEGACY_TIMEZONE: 'Europe/Berlin' };
    const migrated = await segue(there, 'migrate', '--no-backup');
    expect(migrated).toMatchObject({ code: 0 });
    expect(migrated.stdout).toContain('old times in Europe/Berlin');

    const token = (await segue(there, 'token', '1')).stdout.trim().split('\n').at(-1) ?? '';
    const { url, child } = await serve({ ...there, LEGACY_READS: 'new' });
    expect(await ask(url, token, '{ message(id: 100) { created_at } }')).toMatchObject({
      data: { message: { created_at: time } },
    });
    child.kill('SIGTERM');
    await finished(child);

    for (const verb of ['verify', 'serve', 'status'])
      expect(await segue({ ...there, LEGACY_TIMEZONE: 'UTC' }, verb)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^BAD_CONFIG: LEGACY_TIMEZONE is "UTC".*"Europe\/Berlin"/),
      });
    expect(await segue({ ...there, LEGACY_TIMEZONE: 'Berlin' }, 'status')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^BAD_CONFIG: LEGACY_TIMEZONE is "Berlin": it takes the name/),
    });
  });

  it('lists what went to quarantine, all of it', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    await database.close();
    const other = { DATABASE_URL: urlOf(location) };
    const list = (...flags: string[]): ReturnType<typeof segue> =>
      segue(other, 'quarantine', 'list', ...flags);
    expect(await list()).toMatchObject({ code: 1, stderr: expect.stringMatching(/^WRONG_STAGE/) });

    // More than two pages.
    const numbers = Array.from({ length: 2_345 }, (_, i) => `(1, ${String(i)})`).join(', ');
    await asOldApp(location, `INSERT INTO messages (sender_id, content) VALUES ${numbers}`);
    await segue(other, 'migrate', '--no-backup');
    const { code, stdout } = await list('--json');
    expect(code).toBe(0);
    const rows = JSON.parse(stdout) as { legacyId: string }[];
    expect(rows).toHaveLength(2_345);
    expect(new Set(rows.map(({ legacyId }) => legacyId)).size).toBe(2_345);
    expect(rows[0]).toEqual({
      legacyId: '21',
      reason: 'no-thread',
      detail: 'neither a recipient nor a group is set',
    });
    expect((await list()).stdout.split('\n')).toHaveLength(2_346);
  });

  it('is watched from another process, from the first row to the certificate', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20_000 });
    await database.close();
    const other = { DATABASE_URL: urlOf(location) };
    const watching = startCli(other, 'status', '--watch', '--json');
    const watched = finished(watching);
    const forPeople = startCli(other, 'status', '--watch');
    const read = finished(forPeople);
    let seen = '';
    const verified = new Promise<void>((resolve) => {
      watching.stdout?.on('data', (chunk: Buffer) => {
        seen += chunk.toString();
        if (seen.includes('"VERIFIED"')) resolve();
      });
    });
    while (!seen.includes('"LEGACY"')) await sleep(20);
    expect((await segue(other, 'migrate', '--no-backup')).code).toBe(0);
    await verified;
    // A little longer than a second, so that the other one has seen it too.
    await sleep(1_500);
    for (const child of [watching, forPeople]) child.kill('SIGINT');
    const { code, stdout } = await watched;
    expect(code).toBe(0);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { stage: string; migratedMessages: number });
    expect(lines[0]).toMatchObject({ stage: 'LEGACY', migratedMessages: 0 });
    expect(lines.at(-1)).toMatchObject({
      stage: 'VERIFIED',
      legacyMessages: 20_000,
      migratedMessages: 20_000,
      rowsPerSecond: 0,
      mismatches: 0,
    });
    expect((await read).stdout).toMatch(
      /\[={40}\] 100 % {2}20,000 of 20,000\nstage +VERIFIED\n[^]*0 mismatches/,
    );
  });
});

describe('the command line', () => {
  const failing = async (
    environment: Record<string, string>,
    ...args: string[]
  ): Promise<string> => {
    const { code, stdout, stderr } = await segue(environment, ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    return stderr;
  };

  it('says what is wrong with a database, and makes none', async () => {
    expect(await failing({ DATABASE_URL: 'sqlite:/nowhere/chat.sqlite' }, 'inspect')).toBe(
      'DATABASE_NOT_FOUND: There is no file /nowhere/chat.sqlite: DATABASE_URL says sqlite:/nowhere/chat.sqlite. Nothing was made.\n',
    );
    expect(await failing({ DATABASE_URL: 'sqlite:/tmp' }, 'inspect')).toMatch(
      /^DATABASE_NOT_FOUND: \/tmp is not a file/,
    );
    const unreachable = await failing(
      { DATABASE_URL: 'postgres://me:hush@127.0.0.1:1/chat' },
      'inspect',
    );
    expect(unreachable).toMatch(
      /^DATABASE_UNREACHABLE: postgres:\/\/127\.0\.0\.1:1\/chat cannot be reached \(ECONNREFUSED\)/,
    );
    expect(unreachable).not.toContain('hush');
    const text = await emptyDatabase('sqlite');
    if (text.engine === 'sqlite') await writeFile(text.path, 'not a database at all'.repeat(100));
    expect(await failing({ DATABASE_URL: urlOf(text) }, 'inspect')).toMatch(
      /^UNSUPPORTED_DATABASE: .* is not an SQLite database/,
    );
  });

  it.each(ENGINES)('says which table or column is missing on %s', async (engine) => {
    const rename = async (statement: string): Promise<DatabaseLocation> => {
      const { location, database } = await legacyDatabase(engine, { messages: 3 });
      await database.close();
      await asOldApp(location, statement);
      return location;
    };
    const table = await rename('ALTER TABLE messages RENAME TO chats');
    expect(await failing({ DATABASE_URL: urlOf(table) }, 'inspect')).toMatch(
      /^NO_SUCH_TABLE: .* has no table messages/,
    );
    const column = await rename('ALTER TABLE messages RENAME COLUMN content TO body');
    for (const verb of ['inspect', 'serve'])
      expect(await failing({ DATABASE_URL: urlOf(column) }, verb)).toMatch(
        /NO_SUCH_COLUMN: The table messages has no column content; it has id, sender_id, .*body/,
      );
  });

  it('gives errors to machines as JSON', async () => {
    const { code, stderr } = await segue({ DATABASE_URL: 'sqlite:/nowhere/x' }, 'status', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'DATABASE_NOT_FOUND' } });
  });

  it('explains itself', async () => {
    const { code, stdout } = await segue({}, '--help');
    expect(code).toBe(0);
    for (const verb of [
      'serve',
      'inspect',
      'expand',
      'backfill',
      'verify',
      'migrate',
      'status',
      'token',
    ])
      expect(stdout).toContain(verb);
  });

  it('refuses what it does not understand, for people and machines', async () => {
    for (const args of [
      ['migrat'],
      ['inspect', '--foo'],
      ['token'],
      ['inspect', 'extra'],
      ['quarantine', 'lst'],
    ]) {
      expect(await failing({}, ...args)).toMatch(/^BAD_USER_INPUT: .*'segue --help'/);
      const { stderr } = await segue({}, ...args, '--json');
      expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'BAD_USER_INPUT' } });
    }
  });

  it('takes no flag for the name of a backup', async () => {
    const { location, database } = await legacyDatabase('sqlite', { messages: 3 });
    await database.close();
    const environment = { DATABASE_URL: urlOf(location) };
    for (const flags of [
      ['--backup', '--json'],
      ['--backup', ''],
      ['--backup', 'x', '--no-backup'],
      ['--no-backup', '--backup=x'],
    ])
      expect(await failing(environment, 'migrate', ...flags)).toContain('BAD_USER_INPUT');
    expect((await segue(environment, 'status')).stdout).toMatch(/stage +LEGACY/);
  });
});

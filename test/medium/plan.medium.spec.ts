import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { bytesToWrite } from '../../src/changeover/estimate.js';
import { expand } from '../../src/changeover/expand.js';
import { inspect } from '../../src/changeover/inspect.js';
import { type Plan, plan } from '../../src/changeover/plan.js';
import { setUpIfEmpty } from '../../src/changeover/setup.js';
import { readState } from '../../src/changeover/stage.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import {
  asOldApp,
  emptyDatabase,
  ENGINES,
  leaveWalMode,
  loginRole,
  open,
  withParts,
} from '../helpers/databases.js';
import { definitionsOf } from '../helpers/definitions.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

const OPTIONS = { migrationsTable: EXPAND.migrationsTable };

const planOf = (database: Database, withoutColumns = false): Promise<Plan> =>
  plan(contextOf(database), { ...OPTIONS, withoutColumns });

const codesOf = (findings: Plan['warnings']): string[] => findings.map(({ code }) => code);

/** The file, or the database on the server, without what a log would still hold. */
const SIZE: Record<EngineName, string> = {
  sqlite: 'SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()',
  postgres: 'SELECT pg_database_size(current_database()) AS bytes',
};

async function sizeOf(database: Database): Promise<number> {
  const [size] = await database.reader.all<{ bytes: number | string }>(
    SIZE[database.dialect.engine],
  );
  return Number(size?.bytes);
}

describe.each(ENGINES)('plan on %s', (engine) => {
  it('finds nothing wrong with a regular database, and changes nothing', async () => {
    const { database } = await legacyDatabase(engine, { messages: 500 });
    const before = await definitionsOf(database);
    const found = await planOf(database);
    expect(found).toMatchObject({
      ...(await inspect(contextOf(database))),
      problems: [],
      oldTriggers: [],
      bytesToWrite: expect.any(Number),
      bytesNeeded: 2 * (found.bytesToWrite ?? NaN),
      estimateSeconds: { backfill: expect.any(Number), verify: expect.any(Number) },
    });
    expect(found.checks.filter(({ holds }) => holds === false)).toEqual([]);
    expect(found.limits.join('\n')).toContain('no members');
    expect(found.limits.join('\n')).toContain('are taken as UTC');
    expect(await definitionsOf(database)).toEqual(before);
  });

  it.each([false, true])(
    'shows the statements that expand runs, without columns: %s',
    async (withoutColumns) => {
      const ours = async (database: Database): Promise<unknown> =>
        // TypeORM notes what it has run, and only expand runs it.
        (await definitionsOf(database)).map((rows) =>
          (rows as object[]).filter((row) => !JSON.stringify(row).includes('migrations_id_seq"')),
        );
      const expanded = await legacyDatabase(engine, { messages: 5 });
      await expand(contextOf(expanded.database), { ...EXPAND, withoutColumns });
      const planned = await legacyDatabase(engine, { messages: 5 });
      const { ddl } = await planOf(planned.database, withoutColumns);
      expect(ddl.some((statement) => statement.includes('ADD COLUMN'))).toBe(!withoutColumns);
      await asOldApp(planned.location, ...ddl);
      expect(await ours(planned.database)).toEqual(await ours(expanded.database));
      const choice = 'SELECT adds_columns, fills_link FROM changeover_state';
      expect(await planned.database.reader.all(choice)).toEqual(
        await expanded.database.reader.all(choice),
      );
    },
  );

  it('asks for more space than the changeover takes, and not for much more', async () => {
    const { database } = await legacyDatabase(engine, { messages: 20_000 });
    const { bytesToWrite: written } = await planOf(database);
    const before = await sizeOf(database);
    await migrate(database);
    const grown = (await sizeOf(database)) - before;
    expect(grown).toBeLessThan(written ?? 0);
    expect(grown).toBeGreaterThan((written ?? 0) / 5);
  });

  it('counts what is left to write by rows, texts, and what is filled', () => {
    const bytes = (rows: number, textBytes: number, fillsLink: boolean): number =>
      bytesToWrite(engine, { rows, textBytes }, { fillsLink, largestLog: 0 });
    expect(bytes(1_000, 10_000, true)).toBeGreaterThan(bytes(1_000, 10_000, false));
    expect(bytes(1_000, 10_000, false)).toBeGreaterThan(bytes(1_000, 0, false));
    expect(bytes(1_000, 0, false)).toBeGreaterThan(bytes(10, 0, false));
  });

  it('shows each problem, and expand refuses for it and changes nothing', async () => {
    const faults: [string[], Partial<Database>, string, string][] = [
      [['ALTER TABLE messages RENAME COLUMN content TO body'], {}, 'NO_SUCH_COLUMN', 'content'],
      [['CREATE TABLE conversations (id INTEGER)'], {}, 'NAME_TAKEN', 'conversations'],
      [['ALTER TABLE users ADD COLUMN last_seen TEXT'], {}, 'NAME_TAKEN', '--without-columns'],
      [[], { freeBytes: () => Promise.resolve(1_500_000) }, 'NO_SPACE', '1500000 free'],
    ];
    for (const [statements, parts, code, said] of faults) {
      const legacy = await legacyDatabase(engine, { messages: 30 });
      await asOldApp(legacy.location, ...statements);
      const database = withParts(legacy.database, parts);
      const before = await definitionsOf(database);
      const { problems } = await planOf(database);
      expect(problems).toEqual([{ code, message: expect.stringContaining(said) }]);
      await expect(expand(contextOf(database), EXPAND)).rejects.toMatchObject(problems[0] ?? {});
      expect(await definitionsOf(database)).toEqual(before);
    }
    expect((await planOf(await open(await emptyDatabase(engine)))).problems).toMatchObject([
      { code: 'NO_SUCH_TABLE' },
    ]);
  });

  it('shows all problems at once, where one does not hide the other', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 30 });
    await asOldApp(location, 'CREATE TABLE conversations (id INTEGER)');
    const full = withParts(database, { freeBytes: () => Promise.resolve(0) });
    const { problems, checks, tables } = await planOf(full);
    expect(codesOf(problems)).toEqual(['NAME_TAKEN', 'NO_SPACE']);
    expect(checks.filter(({ holds }) => holds === false).map(({ name }) => name)).toEqual([
      'names',
      'space',
    ]);
    expect(tables.messages).toBe(30);
  });

  it('takes twice what is written for enough, and says when nobody knows', async () => {
    const { database } = await legacyDatabase(engine, { messages: 30 });
    const withFree = (free: number | null): Database =>
      withParts(database, { freeBytes: () => Promise.resolve(free) });
    const { bytesNeeded } = await planOf(database);
    expect((await planOf(withFree(bytesNeeded))).problems).toEqual([]);
    expect(codesOf((await planOf(withFree((bytesNeeded ?? 0) - 1))).problems)).toEqual([
      'NO_SPACE',
    ]);
    const unknown = await planOf(withFree(null));
    expect(unknown).toMatchObject({
      problems: [],
      warnings: [
        { code: 'FREE_SPACE_UNKNOWN', message: expect.stringContaining(String(bytesNeeded)) },
      ],
    });
    expect(unknown.checks).toContainEqual({ name: 'space', holds: null });
    expect(await expand(contextOf(withFree(null)), EXPAND)).toBe('EXPANDED');
  });

  it('names the old triggers that filling our column would set off', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 5 });
    const statements = {
      sqlite: [
        'CREATE TABLE log (id INTEGER)',
        'CREATE TRIGGER on_text AFTER UPDATE OF content ON messages BEGIN INSERT INTO log VALUES (NEW.id); END',
        'CREATE TRIGGER on_any AFTER UPDATE ON messages BEGIN INSERT INTO log VALUES (NEW.id); END',
      ],
      postgres: [
        'CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$',
        'CREATE TRIGGER on_text AFTER UPDATE OF content ON messages FOR EACH ROW EXECUTE FUNCTION nothing()',
        'CREATE TRIGGER on_any AFTER UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION nothing()',
      ],
    }[engine];
    await asOldApp(location, ...statements);
    const found = await planOf(database);
    expect(found.oldTriggers).toEqual([
      { name: 'on_any', fires: true },
      { name: 'on_text', fires: false },
    ]);
    expect(found.warnings).toMatchObject([
      { code: 'TRIGGER_WOULD_FIRE', message: expect.stringContaining('on_any') },
    ]);
    const without = await planOf(database, true);
    expect(without.warnings).toEqual([]);
    expect(without.oldTriggers).toContainEqual({ name: 'on_any', fires: false });
  });

  it('says what is left in the middle of a changeover, and who is at it', async () => {
    const { database } = await legacyDatabase(engine, { messages: 300 });
    const begun = await planOf(database);
    await expand(contextOf(database), EXPAND);
    await database.transaction((transaction) =>
      transaction.run(
        `INSERT INTO changeover_lease (name, holder, expires_at) VALUES ('runner', 'elsewhere/1/x', ${database.dialect.now} + 60000000)`,
      ),
    );
    const expanded = await planOf(
      withParts(database, { freeBytes: () => Promise.resolve(1_500_000) }),
    );
    expect(expanded).toMatchObject({ stage: 'EXPANDED', problems: [], ddl: [] });
    expect(expanded.bytesToWrite).toBe(begun.bytesToWrite);
    expect(codesOf(expanded.warnings)).toEqual(['RUNNER_ACTIVE', 'NO_SPACE']);
    expect(expanded.warnings[0]?.message).toContain('elsewhere/1/x');
    await expect(backfill(contextOf(database))).rejects.toMatchObject({ code: 'RUNNER_ACTIVE' });

    await database.transaction((transaction) => transaction.run('DELETE FROM changeover_lease'));
    await backfill(contextOf(database));
    const copied = await planOf(database);
    expect(copied).toMatchObject({
      stage: 'BACKFILLED',
      warnings: [],
      estimateSeconds: { backfill: 0 },
    });
    expect(copied.bytesToWrite).toBeLessThan(begun.bytesToWrite ?? 0);
  });

  it('has nothing to say of a database without an old side', async () => {
    const database = await open(await emptyDatabase(engine));
    await setUpIfEmpty(database, DEFAULT_MAPPING, EXPAND.migrationsTable);
    await expect(planOf(database)).rejects.toMatchObject({ code: 'WRONG_STAGE' });
  });
});

describe('plan on SQLite', () => {
  it('finds the journal mode in the way, in the words of whoever writes', async () => {
    const { location, database } = await legacyDatabase('sqlite', { messages: 5 });
    await database.close();
    await leaveWalMode(location);
    const strict = await open(location, {});
    const { problems, preconditions } = await planOf(strict);
    const refusal = await strict
      .transaction(() => Promise.resolve())
      .catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'UNSUPPORTED_DATABASE', message: problems[0]?.message });
    expect(problems).toHaveLength(1);
    expect(preconditions).toContainEqual(expect.objectContaining({ name: 'wal', holds: false }));
    await expect(expand(contextOf(strict), EXPAND)).rejects.toMatchObject(problems[0] ?? {});

    const switching = await open(location, { switchToWal: true });
    const allowed = await planOf(switching);
    expect(allowed).toMatchObject({ problems: [] });
    expect(allowed.ddl[0]).toBe('PRAGMA journal_mode = WAL');
    expect(await switching.reader.all('PRAGMA journal_mode')).toEqual([{ journal_mode: 'delete' }]);
  });

  it('finds old triggers that count columns', async () => {
    const { location, database } = await legacyDatabase('sqlite', { messages: 5 });
    await asOldApp(
      location,
      'CREATE TABLE messages_bin (a, b, c, d, e, f, g, h)',
      'CREATE TRIGGER keeps AFTER DELETE ON messages BEGIN INSERT INTO messages_bin (a) VALUES (OLD.id); END',
      'CREATE TRIGGER copies AFTER DELETE ON users BEGIN INSERT INTO messages_bin SELECT * FROM "messages" WHERE sender_id = OLD.id; END',
      "CREATE TRIGGER greets AFTER INSERT ON users BEGIN INSERT INTO messages VALUES (NULL, 1, NEW.id, NULL, 'hi', 'text', 'sent', NULL); END",
    );
    const found = await planOf(database);
    expect(found.warnings).toMatchObject([
      { code: 'COUNTS_COLUMNS', message: expect.stringMatching(/^copies, greets of/) },
    ]);
    expect(found.preconditions).toContainEqual(
      expect.objectContaining({ name: 'named-columns', holds: false }),
    );
    const without = await planOf(database, true);
    expect(without.warnings).toEqual([]);
    expect(without.preconditions.map(({ name }) => name)).not.toContain('named-columns');
  });
});

describe.each(ENGINES.filter((engine) => engine === 'postgres'))('rights on %s', (engine) => {
  it('names role, object and right, and asks for no more than the changeover needs', async () => {
    const { role, as } = await loginRole();
    const { location, database } = await legacyDatabase(engine, { messages: 50 });
    await asOldApp(
      location,
      `REVOKE TEMPORARY ON DATABASE ${new URL(location.shown).pathname.slice(1)} FROM PUBLIC`,
      'REVOKE CREATE ON SCHEMA public FROM PUBLIC',
    );
    const before = await definitionsOf(database);
    const theirs = await open(as(location));
    const refused = async (
      withoutColumns: boolean,
      ...said: (string | RegExp)[]
    ): Promise<string> => {
      const { problems, tables } = await planOf(theirs, withoutColumns);
      expect(codesOf(problems)).toEqual(['NOT_PERMITTED']);
      expect(tables).toEqual({});
      const { message } = problems[0] ?? { message: '' };
      for (const words of said) expect(message).toMatch(words);
      await expect(expand(contextOf(theirs), { ...EXPAND, withoutColumns })).rejects.toMatchObject({
        code: 'NOT_PERMITTED',
        message,
      });
      return message;
    };
    const all = await refused(
      false,
      new RegExp(`^The role ${role} lacks`),
      /ownership of the table users \(its owner is \w+\)/,
      /ownership of the table messages/,
      /SELECT on the table settings/,
      /CREATE on the schema public/,
      /TEMPORARY on the database segue_test/,
    );
    expect(await refused(true, /SELECT on the table messages/)).not.toContain('ownership');
    expect(await definitionsOf(database)).toEqual(before);

    // What it says to grant is enough, and each grant is noticed.
    const grants = /grant it: (.*)\. Nothing/.exec(all)?.[1]?.split('; ') ?? [];
    const ownership = grants.filter((grant) => /^GRANT \w+ TO/.test(grant));
    expect(ownership).toHaveLength(1);
    const name = new URL(location.shown).pathname.slice(1);
    await asOldApp(
      location,
      ...grants.filter((grant) => !ownership.includes(grant)),
      `ALTER TABLE users OWNER TO ${role}`,
      `ALTER TABLE messages OWNER TO ${role}`,
    );
    expect((await planOf(theirs)).problems).toEqual([]);
    for (const right of [`CREATE ON SCHEMA public`, `TEMPORARY ON DATABASE ${name}`]) {
      await asOldApp(location, `REVOKE ${right} FROM ${role}`);
      expect(codesOf((await planOf(theirs)).problems)).toEqual(['NOT_PERMITTED']);
      await asOldApp(location, `GRANT ${right} TO ${role}`);
    }
    expect(await migrate(theirs)).toMatchObject({ migratedMessages: 50, mismatches: 0 });
  });

  it('takes a member of the owner for the owner', async () => {
    const owner = await loginRole();
    const { role, as } = await loginRole();
    const { location } = await legacyDatabase(engine, { messages: 5 });
    const name = new URL(location.shown).pathname.slice(1);
    await asOldApp(
      location,
      ...[
        'users',
        'settings',
        'devices',
        'contacts',
        'messages',
        'call_logs',
        'verification_codes',
      ].map((table) => `ALTER TABLE ${table} OWNER TO ${owner.role}`),
      `GRANT CREATE ON SCHEMA public TO ${role}`,
      `GRANT TEMPORARY ON DATABASE ${name} TO ${role}`,
    );
    const theirs = await open(as(location));
    expect(codesOf((await planOf(theirs)).problems)).toEqual(['NOT_PERMITTED']);
    await asOldApp(location, `GRANT ${owner.role} TO ${role}`);
    expect((await planOf(theirs)).problems).toEqual([]);
    expect(await expand(contextOf(theirs), EXPAND)).toBe('EXPANDED');
    expect((await readState(theirs)).stage).toBe('EXPANDED');
  });
});

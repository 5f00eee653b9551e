import { setTimeout } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import type { DatabaseLocation } from '../../src/config/config.js';
import type { Database } from '../../src/database/database.js';
import { explainDatabaseError } from '../../src/database/database-errors.js';
import { atTheEnd, emptyDatabase, ENGINES, open } from '../helpers/databases.js';

describe.each(ENGINES)('transactions on %s', (engine) => {
  let location: DatabaseLocation;
  let database: Database;

  beforeEach(async () => {
    location = await emptyDatabase(engine);
    database = await open(location);
    await database.transaction((transaction) =>
      transaction.run('CREATE TABLE notes (id integer PRIMARY KEY, text text)'),
    );
  });

  const add = (id: number): string => `INSERT INTO notes (id, text) VALUES (${id}, 'note ${id}')`;
  const ids = async (): Promise<number[]> =>
    (await database.reader.all<{ id: number }>('SELECT id FROM notes ORDER BY id')).map(
      ({ id }) => id,
    );

  it('keeps every acknowledged row while others fail beside it', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, (_, id) =>
        database.transaction(async (transaction) => {
          await transaction.run(add(id));
          await setTimeout(id % 3);
          if (id % 4 === 0) throw new Error(`${id} gives up`);
        }),
      ),
    );
    const acknowledged = outcomes.flatMap(({ status }, id) => (status === 'fulfilled' ? [id] : []));
    expect(acknowledged).toHaveLength(45);
    expect(await ids()).toEqual(acknowledged);
  });

  it('rolls back when a statement failed, even if the caller caught it', async () => {
    await expect(
      database.transaction(async (transaction) => {
        await transaction.run(add(1));
        await transaction.run('INSERT INTO nowhere VALUES (1)').catch(() => 'swallowed');
      }),
    ).rejects.toThrow(/nowhere/);
    expect(await ids()).toEqual([]);
  });

  it('refuses another one inside of it, and fails with it', async () => {
    await expect(
      database.transaction(async (outer) => {
        await outer.run(add(1));
        await database.transaction((inner) => inner.run(add(2))).catch(() => 'swallowed');
      }),
    ).rejects.toThrow('inside of another one');
    expect(await ids()).toEqual([]);
    // Not one that comes after it.
    await database.transaction((transaction) => transaction.run(add(3)));
    await database.transaction((transaction) => transaction.run(add(4)));
    expect(await ids()).toEqual([3, 4]);
  });

  if (engine === 'postgres')
    it('is said to have lost its connection when the server ends that between two statements', async () => {
      const work = database.transaction(async (transaction) => {
        await transaction.run(add(1));
        const [own] = await transaction.all<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        await database.reader.all('SELECT pg_terminate_backend(:pid)', { pid: own?.pid ?? 0 });
        // Long enough for the client to hear of it before it asks for more.
        await setTimeout(200);
        await transaction.run(add(2));
      });
      const error: unknown = await work.catch((thrown: unknown) => thrown);
      expect(explainDatabaseError(error)).toMatchObject({ code: 'UNAVAILABLE' });
      expect(String(error)).toMatch(/connection had ended/);
      expect(await ids()).toEqual([]);
      await database.transaction((transaction) => transaction.run(add(3)));
      expect(await ids()).toEqual([3]);
    });

  it('refuses statements of work that nobody waited for', async () => {
    let late: Promise<unknown> = Promise.resolve();
    await database.transaction(async (transaction) => {
      await transaction.run(add(1));
      late = setTimeout(20).then(() => transaction.run(add(2)));
      late.catch(() => undefined);
    });
    await expect(late).rejects.toThrow('ended');
    expect(await ids()).toEqual([1]);
  });

  it('cannot write through the reader', async () => {
    await expect(database.reader.run(add(1))).rejects.toThrow(/readonly|read-only/);
    await expect(database.snapshot((reader) => reader.run(add(1)))).rejects.toThrow(
      /readonly|read-only/,
    );
    expect(await ids()).toEqual([]);
  });

  it('sees one state of the database through a snapshot', async () => {
    await database.transaction((transaction) => transaction.run(add(1)));
    const seen = await database.snapshot(async (reader) => {
      const before = await reader.all('SELECT id FROM notes');
      await database.transaction((transaction) => transaction.run(add(2)));
      return [before.length, (await reader.all('SELECT id FROM notes')).length];
    });
    expect(seen).toEqual([1, 1]);
    expect(await ids()).toEqual([1, 2]);
  });

  it('counts the rows that a statement touched, whatever its first word', async () => {
    await database.transaction(async (transaction) => {
      expect(await transaction.run(`${add(1)}, (2, 'b'), (3, 'c')`)).toBe(3);
      expect(await transaction.run(`UPDATE notes SET text = 'x' WHERE id > 1`)).toBe(2);
      expect(
        await transaction.run(
          `WITH more AS (SELECT 4 AS id UNION SELECT 5) INSERT INTO notes SELECT id, 'y' FROM more`,
        ),
      ).toBe(2);
      expect(await transaction.run(`${add(1)} ON CONFLICT DO NOTHING`)).toBe(0);
      expect(await transaction.run('DELETE FROM notes WHERE id = 4')).toBe(1);
    });
  });
});

describe('SQLite without the write queue', () => {
  it('loses acknowledged rows: what the queue is for', async () => {
    const location = await emptyDatabase('sqlite');
    await (
      await open(location)
    ).transaction((transaction) => transaction.run('CREATE TABLE notes (id integer PRIMARY KEY)'));
    if (location.engine !== 'sqlite') throw new Error('not SQLite');
    const shared = await new DataSource({ type: 'sqlite', database: location.path }).initialize();
    atTheEnd(() => shared.destroy());

    const runner = shared.createQueryRunner();
    await runner.startTransaction();
    await shared.query('INSERT INTO notes (id) VALUES (1)'); // another request's, acknowledged
    await runner.rollbackTransaction();

    expect(await shared.query('SELECT id FROM notes')).toEqual([]);
  });
});

describe('the writing connection to SQLite', () => {
  it('has the settings that durability rests on, after migrations too', async () => {
    const database = await open(await emptyDatabase('sqlite'));
    await database.migrate();
    const settings = await database.session(async (session) => {
      const found: unknown[] = [];
      for (const name of ['journal_mode', 'synchronous', 'foreign_keys', 'wal_autocheckpoint'])
        found.push(Object.values((await session.all(`PRAGMA ${name}`))[0] ?? {})[0]);
      return found;
    });
    expect(settings).toEqual(['wal', 2, 1, 10_000]);
  });

  it('is refused on a file that is not in WAL mode, unless it may switch it', async () => {
    const location = await emptyDatabase('sqlite');
    if (location.engine !== 'sqlite') throw new Error('not SQLite');
    const old = await new DataSource({ type: 'sqlite', database: location.path }).initialize();
    await old.query('CREATE TABLE notes (id integer PRIMARY KEY)');
    await old.destroy();

    const strict = await open(location, {});
    const write = 'INSERT INTO notes (id) VALUES (1)';
    expect(await strict.reader.all('SELECT id FROM notes')).toEqual([]);
    await expect(strict.transaction((transaction) => transaction.run(write))).rejects.toMatchObject(
      {
        code: 'UNSUPPORTED_DATABASE',
        message: expect.stringContaining('--wal'),
      },
    );
    const switching = await open(location, { switchToWal: true });
    await switching.transaction((transaction) => transaction.run(write));
    expect(await strict.reader.all('SELECT id FROM notes')).toEqual([{ id: 1 }]);
    expect(await strict.reader.all('PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
  });
});

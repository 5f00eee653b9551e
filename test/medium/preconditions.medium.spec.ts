import { describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { expand } from '../../src/changeover/expand.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { asOldApp, atTheEnd, ENGINES, urlOf } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase } from '../helpers/legacy.js';

/** The symptoms that docs/preconditions.md names: what an old app meets that is not as it has to be. */
describe.each(ENGINES)('an old app that counts columns, on %s', (engine) => {
  const COUNTING = [
    'INSERT INTO archive SELECT * FROM messages',
    'SELECT * FROM messages UNION ALL SELECT * FROM archive',
  ];
  const SYMPTOMS = {
    sqlite: [
      /table archive has 8 columns but 9 values were supplied/,
      /do not have the same number of result columns/,
    ],
    postgres: [
      /INSERT has more expressions than target columns/,
      /each UNION query must have the same number of columns/,
    ],
  }[engine];

  it.each([true, false])(
    'fails where it copies SELECT *, without columns: %s',
    async (withoutColumns) => {
      const { location, database } = await legacyDatabase(engine, { messages: 5 });
      await asOldApp(location, 'CREATE TABLE archive AS SELECT * FROM messages WHERE id < 0');
      await asOldApp(location, ...COUNTING);
      await expand(contextOf(database), { ...EXPAND, withoutColumns });
      for (const [index, statement] of COUNTING.entries()) {
        const outcome = await asOldApp(location, statement).then(() => 'works', String);
        expect(outcome).toMatch(withoutColumns ? /^works$/ : (SYMPTOMS[index] ?? /./));
      }
    },
  );
});

describe.each(ENGINES.filter((engine) => engine === 'postgres'))(
  'an old app with prepared statements, on %s',
  (engine) => {
    it.each([true, false])(
      'has to prepare them anew, without columns: %s',
      async (withoutColumns) => {
        const { location, database } = await legacyDatabase(engine, { messages: 5 });
        const old = new pg.Client({ connectionString: urlOf(location) });
        await old.connect();
        try {
          const all = { name: 'all', text: 'SELECT * FROM messages' };
          const named = { name: 'named', text: 'SELECT id, content FROM messages' };
          for (const statement of [all, named])
            expect((await old.query(statement)).rowCount).toBe(5);
          await expand(contextOf(database), { ...EXPAND, withoutColumns });
          expect((await old.query(named)).rowCount).toBe(5);
          for (let attempt = 1; attempt <= 2; attempt += 1) {
            const outcome = await old.query(all).then(() => 'works', String);
            expect(outcome).toMatch(
              withoutColumns ? /^works$/ : /cached plan must not change result type/,
            );
          }
          await old.query('DEALLOCATE "all"');
          expect((await old.query('SELECT * FROM messages')).rowCount).toBe(5);
        } finally {
          await old.end();
        }
      },
    );
  },
);

describe('an old app on SQLite, beside a batch', () => {
  const oldApp = async (location: DatabaseLocation, busyTimeout: number): Promise<DataSource> => {
    if (location.engine !== 'sqlite') throw new Error('not SQLite');
    const app = await new DataSource({
      type: 'sqlite',
      database: location.path,
      busyTimeout,
    }).initialize();
    atTheEnd(() => app.destroy());
    return app;
  };
  const WRITE = `INSERT INTO messages (sender_id, recipient_id, content) VALUES (1, 2, 'beside')`;

  it('is refused at once without a busy timeout, and waits with one', async () => {
    const { location, database } = await legacyDatabase('sqlite', { messages: 5 });
    await expand(contextOf(database), EXPAND);
    const [hasty, patient] = [await oldApp(location, 1), await oldApp(location, 20_000)];
    let waiting: Promise<unknown> = Promise.resolve();
    await database.transaction(async (batch) => {
      await batch.run('UPDATE changeover_state SET migrated = migrated + 1');
      await expect(hasty.query(WRITE)).rejects.toThrow('SQLITE_BUSY');
      waiting = patient.query(WRITE);
    });
    await waiting;
    await hasty.query(WRITE);
  });

  it('is refused, whatever its timeout, where it read first and then writes', async () => {
    const { location, database } = await legacyDatabase('sqlite', { messages: 5 });
    await expand(contextOf(database), EXPAND);
    const app = await oldApp(location, 20_000);
    const commitABatch = (): Promise<number> =>
      database.transaction((batch) =>
        batch.run('UPDATE changeover_state SET migrated = migrated + 1'),
      );

    await app.query('BEGIN');
    await app.query('SELECT count(*) FROM messages');
    await commitABatch();
    await expect(app.query(WRITE)).rejects.toThrow('SQLITE_BUSY');
    await app.query('ROLLBACK');

    await app.query('BEGIN IMMEDIATE');
    await app.query('SELECT count(*) FROM messages');
    const batch = commitABatch();
    await app.query(WRITE);
    await app.query('COMMIT');
    await batch;
  });
});

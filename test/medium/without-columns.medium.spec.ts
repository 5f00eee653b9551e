import { describe, expect, it } from '@jest/globals';
import { backfill } from '../../src/changeover/backfill.js';
import { expand } from '../../src/changeover/expand.js';
import { readState } from '../../src/changeover/stage.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import type { Database } from '../../src/database/database.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { asOldApp, ENGINES } from '../helpers/databases.js';
import { definitionsOf } from '../helpers/definitions.js';
import { contextOf, EXPAND, legacyDatabase } from '../helpers/legacy.js';

const WITHOUT = { ...EXPAND, withoutColumns: true };

/** As an old app writes that does not name its columns. */
const insertByPosition = (location: DatabaseLocation, id: number): Promise<void> =>
  asOldApp(
    location,
    `INSERT INTO messages VALUES (${id}, 1, 2, NULL, 'by position', 'text', 'sent', '2030-01-01 00:00:00')`,
  );

async function columnsOf(database: Database, table: string): Promise<string[]> {
  const columns = await database.reader.all<{ name: string }>(database.dialect.describeTable, {
    table,
  });
  return columns.map(({ name }) => name);
}

describe.each(ENGINES)('expand without columns on %s', (engine) => {
  it('leaves an INSERT working that does not name its columns', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    const before = {
      users: await columnsOf(database, 'users'),
      messages: await columnsOf(database, 'messages'),
    };
    expect(await expand(contextOf(database), WITHOUT)).toBe('EXPANDED');
    expect(await columnsOf(database, 'users')).toEqual(before.users);
    expect(await columnsOf(database, 'messages')).toEqual(before.messages);
    expect(await readState(database)).toMatchObject({ addsColumns: false, fillsLink: false });
    await insertByPosition(location, 21);

    // With the columns it fails on SQLite; PostgreSQL takes fewer values than there are columns.
    const other = await legacyDatabase(engine, { messages: 20 });
    await expand(contextOf(other.database), EXPAND);
    const outcome = await insertByPosition(other.location, 21).then(
      () => 'works',
      (error: unknown) => String(error),
    );
    expect(outcome).toMatch(
      { sqlite: /has 9 columns but 8 values were supplied/, postgres: /^works$/ }[engine],
    );
  });

  it('lets the other verbs do their work, and both sides give the same answers', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 600 });
    const context = contextOf(database);
    await expand(context, WITHOUT);
    await insertByPosition(location, 601);
    await asOldApp(
      location,
      `UPDATE messages SET created_at = '2020-01-01 00:00:00' WHERE id = 601`,
    );
    expect(await backfill(context)).toEqual({ migrated: 601, quarantined: 0 });
    expect(await verify(context)).toMatchObject({ migratedMessages: 601, mismatches: 0 });
    expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
      stage: 'VERIFIED',
      legacyMessages: 601,
      migratedMessages: 601,
    });
    const old = new LegacyService(database, () => oldSideSql(database.dialect, DEFAULT_MAPPING));
    const copied = new LegacyService(database, () =>
      newSideSql(database.dialect, DEFAULT_MAPPING, true),
    );
    const viewer = { id: '1', phone: '' };
    const [answer, wanted] = [copied, old].map((side) => side.recentMessages(viewer, 1));
    expect(await answer).toEqual(await wanted);
    expect((await answer)?.length).toBeGreaterThan(0);
  });

  it('goes all the way back, and leaves a column that the old app made meanwhile', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    const before = await definitionsOf(database);
    await expand(contextOf(database), WITHOUT);
    await database.revertAll();
    expect(await definitionsOf(database)).toEqual(before);

    await expand(contextOf(database), WITHOUT);
    await asOldApp(
      location,
      'ALTER TABLE messages ADD COLUMN conversation_id TEXT',
      `UPDATE messages SET conversation_id = 'the old app''s own'`,
    );
    await database.revertAll();
    const [kept] = await database.reader.all<{ count: number | string }>(
      `SELECT count(*) AS count FROM messages WHERE conversation_id = 'the old app''s own'`,
    );
    expect(Number(kept?.count)).toBe(20);
  });

  it('is the way for an old app that has a column of one of our names', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    await asOldApp(location, 'ALTER TABLE users ADD COLUMN last_seen TEXT');
    const context = contextOf(database);
    await expect(expand(context, EXPAND)).rejects.toMatchObject({
      code: 'NAME_TAKEN',
      message: expect.stringContaining('--without-columns'),
    });
    await expand(context, WITHOUT);
    await backfill(context);
    expect(await verify(context)).toMatchObject({ migratedMessages: 20, mismatches: 0 });
    await database.revertAll();
    expect(await columnsOf(database, 'users')).toContain('last_seen');
  });

  it('comes back from a state in which the columns are gone already', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    const before = await columnsOf(database, 'users');
    await expand(contextOf(database), EXPAND);
    await asOldApp(location, 'ALTER TABLE users DROP COLUMN last_seen');
    await database.revertAll();
    expect(await columnsOf(database, 'users')).toEqual(before);
  });

  it('is ended as it was begun, when it was stopped in the middle', async () => {
    const { database } = await legacyDatabase(engine, { messages: 20 });
    const before = await columnsOf(database, 'messages');
    // All but the change of the stage.
    await database.migrate({ withoutColumns: true });
    await expand(contextOf(database), EXPAND);
    expect(await columnsOf(database, 'messages')).toEqual(before);
    expect(await readState(database)).toMatchObject({
      stage: 'EXPANDED',
      addsColumns: false,
      fillsLink: false,
    });

    const other = await legacyDatabase(engine, { messages: 20 });
    await other.database.migrate();
    await expect(expand(contextOf(other.database), WITHOUT)).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    await expand(contextOf(other.database), EXPAND);
    expect(await readState(other.database)).toMatchObject({ addsColumns: true, fillsLink: true });
  });
});

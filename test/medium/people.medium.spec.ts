import { beforeAll, describe, expect, it } from '@jest/globals';
import { contextOf as graphqlContextOf, type GraphQLContext } from '../../src/auth/viewer.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { Contacts } from '../../src/users/contacts.js';
import { PeopleService } from '../../src/users/people.service.js';
import { PhoneNumbers } from '../../src/users/phone-numbers.js';
import { UserLookup } from '../../src/users/user-lookup.js';
import { UsersService } from '../../src/users/users.service.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';

describe.each(ENGINES)('people on %s', (engine) => {
  let lookup: UserLookup;
  let statements: number;

  beforeAll(async () => {
    const { database } = await legacyDatabase(engine, { messages: 0 });
    const change = async (...changes: string[]): Promise<void> => {
      await database.transaction(async (transaction) => {
        for (const statement of changes) await transaction.run(statement);
      });
    };
    await change(
      'DELETE FROM contacts',
      'UPDATE users SET name = NULL, username = NULL WHERE id > 1',
      `UPDATE users SET name = ' ', username = '', avatar = ' ', bio = '' WHERE id = 2`,
      `UPDATE users SET username = 'third', created_at = NULL, is_verified = NULL WHERE id = 3`,
      `UPDATE users SET name = 'Eve', username = 'fourth', avatar = 'a.png', bio = 'Hi', is_verified = true, created_at = '2020-01-02 03:04:05' WHERE id = 4`,
      `UPDATE users SET phone = '+2348012345678' WHERE id = 5`,
      `UPDATE users SET phone = ' ' WHERE id = 6`,
      `INSERT INTO contacts (owner_id, contact_user_id, phone) VALUES (1, 3, NULL), (1, NULL, '0801-234 5678'), (2, 1, ''), (1, NULL, 'odd')`,
    );
    if (engine === 'sqlite')
      await change(
        `UPDATE users SET created_at = 'last week', is_verified = 'perhaps', bio = x'ff00' WHERE id = 7`,
      );
    const counted = counting(database);
    const phones = new PhoneNumbers('NG');
    const users = new UsersService(counted, DEFAULT_MAPPING, phones);
    const people = new PeopleService(
      counted,
      DEFAULT_MAPPING,
      new Contacts(counted, DEFAULT_MAPPING, phones),
    );
    lookup = new UserLookup(counted, users, people, phones);
  });

  const counting = (database: Database): Database =>
    withParts(database, {
      reader: {
        all: (sql, parameters) => {
          statements += 1;
          return database.reader.all(sql, parameters);
        },
        run: (sql, parameters) => database.reader.run(sql, parameters),
      },
    });
  const contextFor = (id: string): GraphQLContext => ({
    ...graphqlContextOf({}),
    viewer: Promise.resolve({ id, phone: '', sessionId: null, expiresAt: null }),
  });
  const shown = async (viewer: GraphQLContext, key: string): Promise<unknown[]> => {
    const user = await lookup.find(key, viewer.loaders);
    if (user === null) return [];
    return Promise.all([lookup.nameFor(user, viewer), lookup.phoneFor(user, viewer)]);
  };

  it('are called by name, username, number, or nothing at all, as far as the viewer may know', async () => {
    const viewer = contextFor('1');
    expect(await shown(viewer, '2')).toEqual(['Unknown', null]);
    expect(await shown(viewer, '3')).toEqual(['third', '08000000003']);
    expect(await shown(viewer, '4')).toEqual(['Eve', null]);
    expect(await shown(viewer, '5')).toEqual(['+2348012345678', '+2348012345678']);
    expect(await shown(viewer, '6')).toEqual(['Unknown', null]);
    expect(await shown(contextFor('2'), '2')).toEqual(['08000000002', '08000000002']);
    // To have somebody in one's contacts shows him nothing.
    expect(await shown(contextFor('3'), '1')).toEqual([expect.any(String), null]);
    expect(await shown(graphqlContextOf({}), '2')).toEqual(['Unknown', null]);
  });

  it('are shown whatever their old row holds', async () => {
    const { loaders } = contextFor('1');
    expect(await lookup.findById('usr_4', loaders)).toMatchObject({
      id: 'usr_4',
      username: 'fourth',
      avatarUrl: 'a.png',
      bio: 'Hi',
      isVerified: true,
      createdAt: new Date('2020-01-02T03:04:05Z'),
    });
    expect(await lookup.findById('usr_2', loaders)).toMatchObject({
      username: null,
      avatarUrl: null,
      bio: null,
    });
    expect(await lookup.findById('usr_3', loaders)).toMatchObject({
      isVerified: false,
      createdAt: new Date(0),
    });
    expect(await lookup.findById('usr_7', loaders)).toMatchObject({
      isVerified: engine === 'sqlite' ? false : expect.any(Boolean),
      createdAt: engine === 'sqlite' ? new Date(0) : expect.any(Date),
    });
  });

  it('are found by id and by number in any form; who does not exist is null', async () => {
    const { loaders } = contextFor('1');
    for (const phone of ['08012345678', '+234 801 234 5678', '2348012345678'])
      expect((await lookup.findByPhone(phone, loaders))?.id).toBe('usr_5');
    for (const phone of ['+498012345678', '', 'Eve', 'a\0b', '\ud800', "'"])
      expect(await lookup.findByPhone(phone, loaders)).toBeNull();
    for (const id of ['usr_999', 'usr_', 'usr_x', '4', 'dev_4', 'usr_99999999999999999999', ''])
      expect(await lookup.findById(id, loaders)).toBeNull();
    await expect(lookup.get('999', loaders)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('cost the same number of statements, one or all of them', async () => {
    const costOf = async (keys: string[]): Promise<number> => {
      statements = 0;
      const viewer = contextFor('1');
      await Promise.all(keys.map((key) => shown(viewer, key)));
      return statements;
    };
    const all = Array.from({ length: 12 }, (_, index) => String(index + 1));
    expect(await costOf(all)).toBe(await costOf(['5']));
  });
});

import { beforeEach, describe, expect, it } from '@jest/globals';
import { rollback } from '../../src/changeover/rollback.js';
import type { Database } from '../../src/database/database.js';
import { PresenceStatus } from '../../src/presence/presence.types.js';
import { type App, appOn, listening } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase, migrate } from '../helpers/legacy.js';

const [ADA, BOB, CY] = ['9001', '9002', '9003'] as const;
const FIELDS = 'status lastSeenAt customStatus user { id }';

type Shown = Record<string, unknown>;

describe.each(ENGINES)('presence, on %s', (engine) => {
  let database: Database;
  let app: App;

  const write = (...statements: string[]): Promise<void> =>
    database.transaction(async (transaction) => {
      for (const statement of statements) await transaction.run(statement);
    });

  beforeEach(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 0 }));
    for (const id of [ADA, BOB, CY])
      await write(`INSERT INTO users (id, phone) VALUES (${id}, '0700${id}')`);
    await write(
      `INSERT INTO messages (sender_id, recipient_id, content, created_at) VALUES (${ADA}, ${BOB}, 'x', '2020-01-01 00:00:00')`,
    );
    await migrate(database);
    app = await appOn(database);
  });

  const shownTo = async (viewer: string, of: string): Promise<Shown> => {
    const { presence, user } = await app.get<{ presence: Shown[]; user: { presence: Shown } }>(
      viewer,
      `{ presence(userIds: ["usr_${of}"]) { ${FIELDS} } user(id: "usr_${of}") { presence { ${FIELDS} } } }`,
    );
    // There are two ways to ask.
    expect(presence).toEqual([user.presence]);
    return user.presence;
  };
  const say = (who: string, status: string, custom = ''): ReturnType<App['ask']> =>
    app.ask(who, `mutation { setPresence(status: ${status}${custom}) { ${FIELDS} } }`);
  const stored = (): Promise<object[]> =>
    database.reader.all(
      'SELECT status, custom_status AS custom FROM user_presence ORDER BY user_id',
    );
  const inOldTable = async (who: string): Promise<string | null> => {
    const [row] = await database.reader.all<{ seen: string | null }>(
      `SELECT CAST(last_seen AS text) AS seen FROM users WHERE id = ${who}`,
    );
    return row?.seen ?? null;
  };

  it('is that of who has a connection, and afterwards when he was last seen', async () => {
    expect(await shownTo(BOB, ADA)).toEqual({
      status: 'OFFLINE',
      lastSeenAt: null,
      customStatus: null,
      user: { id: `usr_${ADA}` },
    });
    app.presences.roster.arrive(ADA);
    expect(await shownTo(BOB, ADA)).toMatchObject({ status: 'ONLINE', lastSeenAt: null });
    app.presences.roster.leaveAll();
    const gone = await shownTo(BOB, ADA);
    expect(gone).toMatchObject({ status: 'OFFLINE', lastSeenAt: expect.stringMatching(/^20/) });
    // Written down or not, the answer is the same.
    await app.presences.store.flush();
    expect(await shownTo(BOB, ADA)).toEqual(gone);
    expect(await stored()).toEqual([{ status: 'OFFLINE', custom: null }]);
    expect((await inOldTable(ADA))?.slice(0, 16)).toBe(
      String(gone.lastSeenAt).replace('T', ' ').slice(0, 16),
    );
    expect(await inOldTable(BOB)).toBeNull();
  });

  it('is what one says, with words of his own', async () => {
    expect(await say(ADA, 'BUSY', ', customStatus: "writing"')).toMatchObject({
      data: { setPresence: { status: 'BUSY', customStatus: 'writing' } },
    });
    expect(await shownTo(BOB, ADA)).toMatchObject({ status: 'BUSY', customStatus: 'writing' });
    await app.presences.store.flush();
    await say(ADA, 'AWAY');
    await app.presences.store.flush();
    expect(await stored()).toEqual([{ status: 'AWAY', custom: 'writing' }]);
    await say(ADA, 'AWAY', ', customStatus: null');
    await app.presences.store.flush();
    expect(await shownTo(BOB, ADA)).toMatchObject({ status: 'AWAY', customStatus: null });
    const long = 'x'.repeat(101);
    expect(await say(ADA, 'BUSY', `, customStatus: "${long}"`)).toMatchObject({
      code: 'BAD_USER_INPUT',
    });
  });

  it.each([
    ['everyone', [true, true, true]],
    ['contacts', [true, false, true]],
    ['nobody', [false, false, true]],
  ])('is hidden from whom one hides when he was last seen: %s', async (privacy, [bob, cy, ada]) => {
    await write(
      `INSERT INTO settings (user_id, privacy_last_seen) VALUES (${ADA}, '${privacy}')`,
      `INSERT INTO contacts (owner_id, contact_user_id) VALUES (${ADA}, ${BOB})`,
    );
    await say(ADA, 'BUSY', ', customStatus: "writing"');
    for (const [viewer, isShown] of [
      [BOB, bob],
      [CY, cy],
      [ADA, ada],
    ] as const)
      expect({ viewer, ...(await shownTo(viewer, ADA)) }).toMatchObject({
        viewer,
        ...(isShown
          ? { status: 'BUSY', customStatus: 'writing' }
          : { status: 'OFFLINE', customStatus: null, lastSeenAt: null }),
      });
  });

  it('is told to who has a conversation with one, and to who asks for it, as far as it is shown', async () => {
    await write(`INSERT INTO settings (user_id, privacy_last_seen) VALUES (${BOB}, 'nobody')`);
    const streams = new Map<string, AsyncGenerator>([
      [
        BOB,
        await app.follow(
          BOB,
          `subscription { events { __typename ... on PresenceUpdated { presence { ${FIELDS} } } } }`,
        ),
      ],
      [
        CY,
        await app.follow(
          CY,
          `subscription { presenceChanged(userIds: ["usr_${ADA}", "usr_${BOB}"]) { ${FIELDS} } }`,
        ),
      ],
      [
        'stranger',
        await app.follow(
          CY,
          'subscription { events { __typename ... on PresenceUpdated { presence { status user { id } } } } }',
        ),
      ],
    ]);
    const next = new Map([...streams].map(([who, stream]) => [who, stream.next()] as const));
    await listening(app, 3);
    await say(BOB, 'BUSY');
    await say(ADA, 'BUSY');
    expect(await next.get(CY)).toMatchObject({
      value: { data: { presenceChanged: { status: 'BUSY', user: { id: `usr_${ADA}` } } } },
    });
    // His own first: it is told to his other devices.
    const own = await next.get(BOB);
    expect(own).toMatchObject({
      value: {
        data: {
          events: { __typename: 'PresenceUpdated', presence: { user: { id: `usr_${BOB}` } } },
        },
      },
    });
    expect(await streams.get(BOB)?.next()).toMatchObject({
      value: { data: { events: { presence: { status: 'BUSY', user: { id: `usr_${ADA}` } } } } },
    });
    // Who has no conversation with them hears of his own alone.
    await say(CY, 'AWAY');
    expect(await next.get('stranger')).toMatchObject({
      value: { data: { events: { presence: { status: 'AWAY', user: { id: `usr_${CY}` } } } } },
    });
    for (const stream of streams.values()) await stream.return(undefined);
  });

  it('is nobody’s after a crash, and no way back is refused for it', async () => {
    await say(ADA, 'BUSY');
    await app.presences.store.flush();
    expect(await stored()).toEqual([{ status: 'BUSY', custom: null }]);
    // A new process, of which nobody said anything.
    const restarted = await appOn(database);
    await restarted.presences.begin();
    expect(await stored()).toEqual([{ status: 'OFFLINE', custom: null }]);
    expect(await inOldTable(ADA)).not.toBeNull();
    const { migrationsTable } = EXPAND;
    await rollback(contextOf(database), { to: 'LEGACY', migrationsTable });
    expect(await inOldTable(ADA)).toBeNull();
    // At LEGACY nothing is written any more, and nothing fails.
    app.presences.roster.arrive(BOB);
    await app.presences.store.flush();
    expect(await inOldTable(BOB)).toBeNull();
  });

  it('stays that of who is there in other processes, when one begins', async () => {
    const socketOf = async (who: string): Promise<string | null> => {
      const [row] = await database.reader.all<{ socket: string | null }>(
        `SELECT socket_id AS socket FROM users WHERE id = ${who}`,
      );
      return row?.socket ?? null;
    };
    const { store } = app.presences;
    for (const who of [ADA, BOB, CY])
      store.put(who, { status: PresenceStatus.ONLINE, socket: { came: `socket of ${who}` } });
    await store.flush();
    // Bob came a moment ago: nobody may have heard of him yet.
    await write(`UPDATE user_presence SET last_seen_at = 0 WHERE user_id <> ${BOB}`);
    const another = (await appOn(database)).presences.store;
    await another.begin([ADA]);
    const status = (): Promise<object[]> =>
      database.reader.all('SELECT status FROM user_presence ORDER BY user_id');
    expect(await status()).toEqual([
      { status: 'ONLINE' },
      { status: 'ONLINE' },
      { status: 'OFFLINE' },
    ]);
    expect([await socketOf(ADA), await socketOf(BOB), await socketOf(CY)]).toEqual([
      `socket of ${ADA}`,
      `socket of ${BOB}`,
      null,
    ]);
    // He came there last: that his connection here ends takes nothing away.
    another.put(ADA, { status: PresenceStatus.ONLINE, socket: { came: "it's another" } });
    await another.flush();
    store.put(ADA, { status: PresenceStatus.ONLINE, socket: { left: `socket of ${ADA}` } });
    await store.flush();
    expect(await socketOf(ADA)).toBe("it's another");
    another.put(ADA, { status: PresenceStatus.ONLINE, socket: { left: "it's another" } });
    another.put(ADA, { status: PresenceStatus.ONLINE, socket: { came: 'a third' } });
    another.put(ADA, { status: PresenceStatus.ONLINE, socket: { left: 'a third' } });
    await another.flush();
    expect(await socketOf(ADA)).toBeNull();
    // Where there is no other process, a moment is too long.
    await another.begin(null);
    expect(new Set((await status()).map((row) => JSON.stringify(row)))).toEqual(
      new Set([JSON.stringify({ status: 'OFFLINE' })]),
    );
    expect(await socketOf(BOB)).toBeNull();
  });

  it('leaves the old table of accounts alone where a trigger of the old app would act on it', async () => {
    await write(
      ...(engine === 'sqlite'
        ? [
            `CREATE TRIGGER touched AFTER UPDATE ON users BEGIN UPDATE users SET updated_at = '2030-01-01' WHERE id = NEW.id; END`,
          ]
        : [
            `CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := '2030-01-01'; RETURN NEW; END $$`,
            `CREATE TRIGGER touched BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touched()`,
          ]),
    );
    const before = await database.reader.all(`SELECT * FROM users WHERE id = ${ADA}`);
    await say(ADA, 'BUSY');
    await app.presences.store.flush();
    expect(await stored()).toEqual([{ status: 'BUSY', custom: null }]);
    expect(await database.reader.all(`SELECT * FROM users WHERE id = ${ADA}`)).toEqual(before);
  });

  it('is asked of at most 100 people, and who does not exist is left out', async () => {
    expect(
      await app.get(ADA, '{ presence(userIds: ["usr_4711", "nonsense"]) { status } }'),
    ).toEqual({ presence: [] });
    const ids = Array.from({ length: 101 }, (_, n) => `"usr_${n}"`).join(', ');
    expect(await app.ask(ADA, `{ presence(userIds: [${ids}]) { status } }`)).toMatchObject({
      code: 'BAD_USER_INPUT',
    });
  });
});

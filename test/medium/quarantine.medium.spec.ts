import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  type ExportedRow,
  exportQuarantine,
  replayQuarantine,
} from '../../src/changeover/quarantine.js';
import { ChangeoverKeeper } from '../../src/changeover/keeper.js';
import { status } from '../../src/changeover/status.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { LegacyService } from '../../src/legacy/legacy.service.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { asOldApp, ENGINES, withParts } from '../helpers/databases.js';
import { contextOf, legacyDatabase, migrate } from '../helpers/legacy.js';

describe.each(ENGINES)('the quarantine on %s', (engine) => {
  let location: DatabaseLocation;
  let database: Database;
  const content = engine === 'sqlite' ? `x'68ff69'` : `'h|i'`;

  /** Rows 501 to 505: without a thread, and one after the other without a time of their own. */
  beforeEach(async () => {
    ({ location, database } = await legacyDatabase(engine, { messages: 300 }));
    const row = (id: number, time: string): string =>
      `INSERT INTO messages (id, sender_id, content, created_at) VALUES (${id}, 1, ${content}, ${time})`;
    await asOldApp(
      location,
      row(501, `'2020-05-05 05:05:05'`),
      ...[502, 503, 504, 505].map((id) => row(id, 'NULL')),
    );
    expect(await migrate(database)).toMatchObject({ quarantinedMessages: 5, mismatches: 0 });
  });

  const replay = (): ReturnType<typeof replayQuarantine> => replayQuarantine(contextOf(database));
  const ids = async (): Promise<number[]> =>
    (
      await database.reader.all<{ id: number | string }>(
        'SELECT legacy_id AS id FROM changeover_quarantine ORDER BY 1',
      )
    ).map(({ id }) => Number(id));

  it('exports its rows without losing a byte or a digit', async () => {
    await asOldApp(location, 'DELETE FROM messages WHERE id = 505');
    const pages: ExportedRow[] = [];
    for await (const page of exportQuarantine(contextOf(database))) pages.push(...page);
    expect(pages.map(({ legacyId }) => legacyId)).toEqual(['501', '502', '503', '504', '505']);
    const time = engine === 'sqlite' ? 'text' : 'timestamp without time zone';
    expect(pages[0]).toEqual({
      legacyId: '501',
      reason: 'no-thread',
      detail: 'neither a recipient nor a group is set',
      row: {
        id: { type: 'integer', text: '501' },
        senderId: { type: 'integer', text: '1' },
        recipientId: null,
        groupId: null,
        content:
          engine === 'sqlite' ? { type: 'blob', hex: '68ff69' } : { type: 'text', text: 'h|i' },
        type: { type: 'text', text: 'text' },
        status: { type: 'text', text: 'sent' },
        createdAt: { type: time, text: '2020-05-05 05:05:05' },
      },
    });
    expect(pages[4]?.row).toBeNull();
  });

  it('takes up what was mended, and only that, with conversations that were not there', async () => {
    expect(await replay()).toEqual({ migrated: 0, quarantined: 0, removed: 0 });
    await asOldApp(
      location,
      'UPDATE messages SET recipient_id = 2 WHERE id = 501',
      'UPDATE messages SET group_id = 4711 WHERE id = 502',
      'UPDATE messages SET group_id = 4711, sender_id = 3 WHERE id = 503',
      'DELETE FROM messages WHERE id = 504',
      'UPDATE messages SET sender_id = 2 WHERE id = 505',
    );
    expect(await replay()).toEqual({ migrated: 3, quarantined: 1, removed: 1 });
    expect(await ids()).toEqual([505]);
    expect(await replay()).toEqual({ migrated: 0, quarantined: 0, removed: 0 });
    expect(await verify(contextOf(database))).toMatchObject({
      legacyMessages: 304,
      migratedMessages: 303,
      quarantinedMessages: 1,
      mismatches: 0,
    });
    expect(
      await database.reader.all(
        `SELECT p.role, CAST(p.user_id AS integer) AS who FROM conversation_participants p
           JOIN conversations c ON c.id = p.conversation_id WHERE c.legacy_group_id = 4711 ORDER BY 2`,
      ),
    ).toEqual([
      { role: 'admin', who: 1 },
      { role: 'member', who: 3 },
    ]);
    for (const me of [1, 2, 3]) {
      const answers = await Promise.all(
        [oldSideSql, newSideSql].map(async (sql) => {
          const side = new LegacyService(database, () =>
            sql(database.dialect, DEFAULT_MAPPING, true),
          );
          const viewer = { id: String(me), phone: '' };
          return [
            await side.groupMessages(viewer, 4711, 50, 0),
            await side.messages(viewer, me, 2, 50, 0),
            await side.recentMessages(viewer, me),
          ];
        }),
      );
      expect(answers[1]).toEqual(answers[0]);
    }
  });

  it('is replayed by verify itself', async () => {
    await asOldApp(location, 'UPDATE messages SET recipient_id = 2 WHERE id = 502');
    expect(await verify(contextOf(database))).toMatchObject({
      migratedMessages: 301,
      quarantinedMessages: 4,
      mismatches: 0,
    });
  });

  it('leaves nothing pending of what was mended, though no server runs', async () => {
    const pending = async (): Promise<number> =>
      (await status(database, DEFAULT_MAPPING)).pendingChanges;
    await asOldApp(location, 'UPDATE messages SET recipient_id = 2 WHERE id IN (502, 503)');
    expect(await pending()).toBe(2);
    expect(await replay()).toEqual({ migrated: 2, quarantined: 0, removed: 0 });
    expect(await pending()).toBe(0);
    await asOldApp(location, `UPDATE messages SET content = 'edited' WHERE id = 7`);
    expect(await pending()).toBe(1);
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 0, pending: 0 });
    expect(await pending()).toBe(0);
  });

  it('is replayed by a running server, which says what kept it from looking', async () => {
    const warnings: string[] = [];
    let fails = true;
    const failing = withParts(database, {
      reader: {
        all: (sql, parameters) =>
          fails ? Promise.reject(new Error('planted')) : database.reader.all(sql, parameters),
        run: (sql, parameters) => database.reader.run(sql, parameters),
      },
    });
    const keeper = new ChangeoverKeeper(contextOf(failing), (message) => warnings.push(message), {
      pace: 0.01,
    });
    try {
      while (warnings.length === 0) await sleep(5);
      fails = false;
      await asOldApp(location, 'UPDATE messages SET recipient_id = 2 WHERE id IN (502, 503)');
      while ((await ids()).length > 3) await sleep(5);
    } finally {
      await keeper.stop();
    }
    expect(warnings).toContain('The quarantine was not looked at: planted');
    expect(await ids()).toEqual([501, 504, 505]);
  });

  it('gives a mended row without a time the place of the row before it', async () => {
    await asOldApp(location, 'UPDATE messages SET recipient_id = 2 WHERE id = 504');
    await replay();
    const [places] = await database.reader.all<{ same: number }>(
      `SELECT count(*) AS same FROM enhanced_messages WHERE id = 504 AND position = 1588655105000000 AND sent_at = position`,
    );
    expect(Number(places?.same)).toBe(1);
  });

  it('tries again what the database refused, and keeps its newest words', async () => {
    await asOldApp(
      location,
      `CREATE UNIQUE INDEX planted ON enhanced_messages (text) WHERE text = 'twin'`,
      `UPDATE messages SET recipient_id = 2, content = 'twin' WHERE id IN (501, 502)`,
    );
    expect(await replay()).toEqual({ migrated: 1, quarantined: 1, removed: 0 });
    const [refused] = await database.reader.all<{ reason: string; detail: string }>(
      'SELECT reason, detail FROM changeover_quarantine WHERE legacy_id = 502',
    );
    expect(refused).toEqual({ reason: 'refused', detail: expect.stringMatching(/unique/i) });
    await asOldApp(location, 'DROP INDEX planted');
    expect(await replay()).toEqual({ migrated: 1, quarantined: 0, removed: 0 });
  });

  it('leaves a row alone that was copied too: that is for verify to find', async () => {
    await asOldApp(
      location,
      `INSERT INTO changeover_quarantine (legacy_id, reason, detail, quarantined_at) VALUES (7, 'no-thread', 'planted', 0)`,
    );
    expect(await replay()).toEqual({ migrated: 0, quarantined: 0, removed: 0 });
    expect(await verify(contextOf(database))).toMatchObject({ mismatches: 1 });
  });

  it('refuses before the backfill is done', async () => {
    const { database: early } = await legacyDatabase(engine, { messages: 5 });
    await expect(replayQuarantine(contextOf(early))).rejects.toMatchObject({ code: 'WRONG_STAGE' });
  });
});

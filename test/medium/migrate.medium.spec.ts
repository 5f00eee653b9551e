import { beforeAll, describe, expect, it } from '@jest/globals';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { status } from '../../src/changeover/status.js';
import type { Verification } from '../../src/changeover/verify.js';
import type { Database } from '../../src/database/database.js';
import { ENGINES } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

const MESSAGES = 3_000;

describe.each(ENGINES)('moving regular rows on %s', (engine) => {
  let database: Database;
  let verification: Verification;

  beforeAll(async () => {
    ({ database } = await legacyDatabase(engine, { messages: MESSAGES }));
    verification = await migrate(database);
  });

  const all = <Row extends object>(sql: string): Promise<Row[]> => database.reader.all<Row>(sql);

  it('accounts for every old row and finds no difference', () => {
    expect(verification).toMatchObject({
      legacyMessages: MESSAGES,
      migratedMessages: MESSAGES,
      quarantinedMessages: 0,
      mismatches: 0,
    });
  });

  it('says so in status, with the certificate that is stored', async () => {
    expect(await status(database, DEFAULT_MAPPING)).toMatchObject({
      stage: 'VERIFIED',
      legacyMessages: MESSAGES,
      migratedMessages: MESSAGES,
      quarantinedMessages: 0,
      pendingChanges: 0,
      mismatches: 0,
      certificate: verification.certificate,
    });
  });

  it('gives two people one conversation, and each group one', async () => {
    const [pairs] = await all<{ old: number; new: number }>(
      `SELECT (SELECT count(*) FROM (SELECT DISTINCT CASE WHEN sender_id < recipient_id THEN sender_id ELSE recipient_id END,
           CASE WHEN sender_id < recipient_id THEN recipient_id ELSE sender_id END FROM messages WHERE recipient_id IS NOT NULL) AS pairs) AS old,
         (SELECT count(*) FROM conversations WHERE kind = 'direct') AS new`,
    );
    const [groups] = await all<{ old: number; new: number }>(
      `SELECT (SELECT count(DISTINCT group_id) FROM messages) AS old, (SELECT count(*) FROM conversations WHERE kind = 'group') AS new`,
    );
    expect(Number(pairs?.new)).toBe(Number(pairs?.old));
    expect(Number(groups?.new)).toBe(Number(groups?.old));
    expect(Number(groups?.new)).toBeGreaterThan(0);
  });

  it('makes the writers of a group its participants, and the first of them its admin', async () => {
    const wrong = await all(
      `SELECT g.id, p.user_id, p.role FROM conversations g JOIN conversation_participants p ON p.conversation_id = g.id
       WHERE g.kind = 'group' AND (p.role = 'admin') <> (p.user_id = (
         SELECT m.sender_id FROM messages m WHERE m.group_id = g.legacy_group_id ORDER BY m.created_at, m.id LIMIT 1))`,
    );
    const [writers] = await all<{ old: number; new: number }>(
      `SELECT (SELECT count(*) FROM (SELECT DISTINCT group_id, sender_id FROM messages WHERE group_id IS NOT NULL) AS w) AS old,
         (SELECT count(*) FROM conversation_participants p JOIN conversations c ON c.id = p.conversation_id
          WHERE c.kind = 'group' AND p.has_written) AS new`,
    );
    expect(wrong).toEqual([]);
    expect(Number(writers?.new)).toBe(Number(writers?.old));
  });

  it('keeps the old order by position and id, and ties are there to be kept', async () => {
    const order = (by: string): string =>
      `SELECT m.id FROM messages m JOIN enhanced_messages e ON e.id = m.id ORDER BY e.conversation_id, ${by}`;
    const [ties] = await all<{ count: number }>(
      `SELECT count(*) AS count FROM (SELECT conversation_id, position FROM enhanced_messages GROUP BY conversation_id, position HAVING count(*) > 1) AS t`,
    );
    expect(await all(order('e.position, e.id'))).toEqual(await all(order('m.created_at, m.id')));
    expect(Number(ties?.count)).toBeGreaterThan(10);
  });

  it('keeps each status exactly, and fills conversation_id', async () => {
    expect(
      await all(
        `SELECT m.id FROM messages m JOIN enhanced_messages e ON e.legacy_message_id = m.id
         WHERE e.status <> CASE m.status WHEN 'sent' THEN 1 WHEN 'delivered' THEN 2 WHEN 'read' THEN 3 END
            OR m.conversation_id IS NULL OR m.conversation_id <> e.conversation_id`,
      ),
    ).toEqual([]);
  });
});

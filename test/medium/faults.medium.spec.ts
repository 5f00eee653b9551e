import { beforeAll, describe, expect, it } from '@jest/globals';
import { verify } from '../../src/changeover/verify.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { differencesIn } from '../helpers/contents.js';
import { ENGINES, withParts } from '../helpers/databases.js';
import { contextOf, legacyDatabase, migrate } from '../helpers/legacy.js';

/** One message of each kind that a fault may befall, as conditions on `enhanced_messages`. */
const PLAIN = `id = (SELECT min(id) FROM enhanced_messages WHERE raw_mask = 0 AND id > 0)`;
const TIMED = `id = (SELECT min(id) FROM enhanced_messages WHERE raw_mask = 32 AND id > 0)`;
const ORPHAN = `id = (SELECT min(id) FROM enhanced_messages WHERE raw_mask = 1 AND id > 0)`;
const NO_TEXT = `id = (SELECT min(id) FROM enhanced_messages WHERE text IS NULL)`;
const NO_STATUS = `id = (SELECT min(id) FROM enhanced_messages WHERE raw_mask = 16)`;
const of = (condition: string): string => condition.replace(/^id /, 'message_id ');
const GROUP = `id = (SELECT min(id) FROM conversations WHERE kind = 'group')`;
const inGroup = `conversation_id = (SELECT min(id) FROM conversations WHERE kind = 'group')`;
const PAIR = `id = (SELECT min(id) FROM conversations WHERE pair_low < pair_high)`;
const inPair = `conversation_id = (SELECT min(id) FROM conversations WHERE pair_low < pair_high)`;
const OTHER = '(SELECT max(id) FROM conversations)';

const QUARANTINED = 'legacy_id = (SELECT min(legacy_id) FROM changeover_quarantine)';

/** One change each of what a changeover made. */
const FAULTS: Readonly<Record<string, string>> = {
  'a text in capitals': `UPDATE enhanced_messages SET text = upper(text) WHERE ${PLAIN}`,
  'a blank after a text': `UPDATE enhanced_messages SET text = text || ' ' WHERE ${PLAIN}`,
  'an empty text for none': `UPDATE enhanced_messages SET text = '' WHERE ${NO_TEXT}`,
  'no text': `UPDATE enhanced_messages SET text = NULL WHERE ${PLAIN}`,
  'a kind in capitals': `UPDATE enhanced_messages SET kind = 'TEXT' WHERE ${PLAIN}`,
  'another kind': `UPDATE enhanced_messages SET kind = 'image' WHERE ${TIMED}`,
  'another status': `UPDATE enhanced_messages SET status = status % 3 + 1 WHERE ${PLAIN}`,
  'a status for none': `UPDATE enhanced_messages SET status = 1 WHERE ${NO_STATUS}`,
  'a microsecond in sent_at': `UPDATE enhanced_messages SET sent_at = sent_at + 1 WHERE ${PLAIN}`,
  'a microsecond in position': `UPDATE enhanced_messages SET position = position + 1 WHERE ${PLAIN}`,
  'half a second beside a raw time': `UPDATE enhanced_messages SET sent_at = sent_at + 500000 WHERE ${TIMED}`,
  'another place beside a raw time': `UPDATE enhanced_messages SET position = position - 1, sent_at = sent_at - 1 WHERE ${TIMED}`,
  'no sender': `UPDATE enhanced_messages SET sender_id = NULL WHERE ${PLAIN}`,
  'another sender': `UPDATE enhanced_messages SET sender_id = sender_id + 1 WHERE ${PLAIN}`,
  'a sender for none': `UPDATE enhanced_messages SET sender_id = 1 WHERE ${ORPHAN}`,
  'another conversation': `UPDATE enhanced_messages SET conversation_id = ${OTHER} WHERE ${PLAIN}`,
  'no conversation': `UPDATE enhanced_messages SET conversation_id = -1 WHERE ${PLAIN}`,
  'a message that stands for no old row': `UPDATE enhanced_messages SET legacy_message_id = NULL WHERE ${PLAIN}`,
  'another id': `UPDATE enhanced_messages SET id = 777777 WHERE ${PLAIN}`,
  'a bit less': `UPDATE enhanced_messages SET raw_mask = 0 WHERE ${TIMED}`,
  'a bit more': `UPDATE enhanced_messages SET raw_mask = 64 WHERE ${PLAIN}`,
  'a message lost': `DELETE FROM enhanced_messages WHERE ${PLAIN}`,
  'a message of nothing': `INSERT INTO enhanced_messages (id, conversation_id, legacy_message_id, kind, sent_at, position, status)
    VALUES (777777, ${OTHER}, 777777, 'text', 0, 0, 1)`,

  'a second copy that stands for no old row': `INSERT INTO enhanced_messages (id, conversation_id, sender_id, kind, text, sent_at, position, status)
    SELECT 777777, conversation_id, sender_id, kind, text, sent_at, position, status FROM enhanced_messages WHERE ${PLAIN}`,
  'a copy that is hidden': `UPDATE enhanced_messages SET removed_at = 1 WHERE ${PLAIN}`,
  'what is left of a removed message, with a text': `INSERT INTO enhanced_messages (id, conversation_id, kind, text, sent_at, position, status, removed_at)
    VALUES (777777, ${OTHER}, 'text', 'not gone', 0, 0, 0, 1)`,

  'raw values lost': `DELETE FROM legacy_raw_values WHERE ${of(TIMED)}`,
  'a raw value changed': `UPDATE legacy_raw_values SET sender_id = '1' WHERE ${of(ORPHAN)}`,
  'another text of a time': `UPDATE legacy_raw_values SET created_text = created_text || '0' WHERE ${of(ORPHAN)}`,
  'raw values in another conversation': `UPDATE legacy_raw_values SET conversation_id = ${OTHER} WHERE ${of(TIMED)}`,
  'raw values of nothing': `INSERT INTO legacy_raw_values (message_id, conversation_id) VALUES (777777, ${OTHER})`,

  'a row in quarantine lost': `DELETE FROM changeover_quarantine WHERE ${QUARANTINED}`,
  'a row in quarantine too': `INSERT INTO changeover_quarantine (legacy_id, reason, detail, quarantined_at)
    SELECT id, 'no-thread', '', 0 FROM enhanced_messages WHERE ${PLAIN}`,
  'a row of nothing in quarantine': `INSERT INTO changeover_quarantine (legacy_id, reason, detail, quarantined_at) VALUES (777777, 'no-thread', '', 0)`,

  'a participant lost': `DELETE FROM conversation_participants WHERE ${inPair}`,
  'a writer who did not write': `UPDATE conversation_participants SET has_written = false WHERE ${inGroup}`,

  'another group': `UPDATE conversations SET legacy_group_id = 777777 WHERE ${GROUP}`,
  'another pair': `UPDATE conversations SET pair_high = 777777 WHERE ${PAIR}`,
  'another kind of conversation': `UPDATE conversations SET kind = 'group' WHERE ${PAIR}`,

  'a link lost': `UPDATE messages SET conversation_id = NULL WHERE id = (SELECT min(id) FROM enhanced_messages WHERE raw_mask = 0 AND id > 0)`,
  'a link to another conversation': `UPDATE messages SET conversation_id = ${OTHER} WHERE id = (SELECT min(id) FROM enhanced_messages WHERE raw_mask = 0 AND id > 0)`,
  'a raw value too many': `UPDATE legacy_raw_values SET recipient_id = '1' WHERE ${of(TIMED)}`,
  'a stranger among participants': `INSERT INTO conversation_participants (conversation_id, user_id, role, has_written)
    SELECT id, 777777, 'member', false FROM conversations WHERE ${PAIR}`,
  'a newer end': `UPDATE conversations SET last_position = last_position + 1 WHERE ${GROUP}`,
  'a writer of a thread who did not write in it': `UPDATE conversation_participants SET has_written = true WHERE NOT has_written`,
};

/** Those that verify leaves alone: most of it new clients may change too. */
const UNCOMPARED: Readonly<Record<string, string>> = {
  'another reason': `UPDATE changeover_quarantine SET reason = 'no-such' WHERE ${QUARANTINED}`,
  'no admin': `UPDATE conversation_participants SET role = 'member' WHERE ${inGroup}`,
  'nothing but admins': `UPDATE conversation_participants SET role = 'admin' WHERE ${inGroup}`,
  'a participant who left': `UPDATE conversation_participants SET left_at = 1 WHERE ${inGroup}`,
  'an older beginning': `UPDATE conversations SET created_at = created_at - 1 WHERE ${GROUP}`,
};

/** Those that only a database with types per value can have. */
const FAULTS_OF_TYPE: Readonly<Record<string, string>> = {
  'a blob for a text': `UPDATE enhanced_messages SET text = CAST(text AS BLOB) WHERE ${PLAIN}`,
  'a text for a raw number': `UPDATE legacy_raw_values SET sender_id = CAST(sender_id AS TEXT) WHERE ${of(ORPHAN)}`,
};

function faultsOf(engine: EngineName): Readonly<Record<string, string>> {
  return engine === 'sqlite' ? { ...FAULTS, ...FAULTS_OF_TYPE } : FAULTS;
}

describe.each(ENGINES)('one planted fault on %s', (engine) => {
  let database: Database;

  beforeAll(async () => {
    const irregular = { share: 0.5 };
    ({ database } = await legacyDatabase(engine, { messages: 400, seed: 9, irregular }));
    await migrate(database);
    expect(await differencesIn(database.reader, engine)).toEqual([]);
  });

  it.each(Object.entries(faultsOf(engine)))(
    '%s is seen by the model and by verify',
    async (_, fault) => {
      expect(await seenIn(fault)).toEqual({ model: true, verify: true });
    },
  );

  it.each(Object.entries(UNCOMPARED))('%s is seen by the model', async (_, fault) => {
    expect(await seenIn(fault)).toMatchObject({ model: true });
  });

  /** Makes the change, looks at it from inside its transaction, and takes it back. */
  async function seenIn(fault: string): Promise<unknown> {
    const undo = new Error('undone');
    const seen: Record<string, boolean> = {};
    await expect(
      database.transaction(async (transaction) => {
        expect(await transaction.run(fault)).toBeGreaterThan(0);
        const inside = withParts(database, {
          reader: transaction,
          snapshot: (work) => work(transaction),
          transaction: (work) => work(transaction),
        });
        const { mismatches } = await verify(contextOf(inside));
        seen.verify = mismatches > 0;
        seen.model = (await differencesIn(transaction, engine)).length > 0;
        throw undo;
      }),
    ).rejects.toBe(undo);
    return seen;
  }
});

import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { inverseOf, keptBeside } from '../legacy/inverse.js';
import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import { inRange, nextAfter } from '../legacy/old-rows.js';
import type { ChangeoverContext } from './context.js';
import { Lease } from './lease.js';
import { Meter } from './progress.js';

const CONVERSATIONS_PER_RANGE = 2_000;

/** A conversation of which something does not follow from its messages. */
export interface OddConversation {
  readonly conversationId: string;
  /** Its newest message; 0 where it has none. */
  readonly messageId: string;
  readonly detail: string;
}

/**
 * Compares conversations and participants with the messages in them: who is said to have written has, nobody but the
 * two is in a one-to-one conversation, and the newest message is the one that a list is sorted by. Who wrote decides who
 * may read a group, so one participant too many shows it to a stranger.
 *
 * Reads in snapshots of 2,000 conversations, and takes no lock.
 * @param onRange told what was found in each range, outside of the snapshot
 */
export async function compareConversations(
  { database, report }: ChangeoverContext,
  onRange?: (odd: readonly OddConversation[]) => Promise<void>,
): Promise<OddConversation[]> {
  const sql = conversationSql(database.dialect);
  const [all] = await database.reader.all<{ count: number | string }>(
    'SELECT count(*) AS count FROM conversations',
  );
  const meter = new Meter('conversations', Number(all?.count), report);
  const found: OddConversation[] = [];
  let left = Number(all?.count);
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const start: string = from;
    const range = await database.snapshot(async (reader) => {
      const [end] = await reader.all<{ range_end: string }>(sql.rangeEnd, {
        from: start,
        size: CONVERSATIONS_PER_RANGE,
      });
      const upTo = end?.range_end ?? HIGHEST_ID;
      return {
        upTo,
        odd: merge(await reader.all<OddConversation>(sql.odd, { from: start, upTo })),
      };
    });
    await onRange?.(range.odd);
    found.push(...range.odd);
    const compared = Math.min(CONVERSATIONS_PER_RANGE, left);
    meter.add(compared);
    left -= compared;
    from = nextAfter(range.upTo);
  }
  return found;
}

/** What a repair of a conversation does, for the list of repairs. */
const REPAIRED = 'participants and place made anew from its messages';

/**
 * Makes participants and place of these conversations follow from their messages, each in one transaction with its
 * line in `changeover_repairs`. Takes the runner's lease.
 * @throws SegueError RUNNER_ACTIVE, LEASE_LOST.
 */
export async function repairConversations(
  { database }: ChangeoverContext,
  odd: readonly OddConversation[],
): Promise<{ legacyId: string; kind: string; did: string }[]> {
  if (odd.length === 0) return [];
  await Lease.hold(database, async (lease) => {
    for (const { conversationId: id, messageId } of odd)
      await lease.fenced(database, async (transaction) => {
        await mendConversation(transaction, database.dialect, id);
        await transaction.run(
          `INSERT INTO changeover_repairs (legacy_id, kind, did, repaired_at)
           VALUES (CAST(:messageId AS bigint), 'conversation', CAST(:did AS text), ${database.dialect.now})`,
          { messageId, did: `conversation ${id}: ${REPAIRED}` },
        );
      });
  });
  return odd.map(({ conversationId, messageId }) => ({
    legacyId: messageId,
    kind: 'conversation',
    did: `conversation ${conversationId}: ${REPAIRED}`,
  }));
}

/** Makes participants and place of one conversation follow from its messages. */
export async function mendConversation(
  transaction: Queryable,
  dialect: Dialect,
  id: string,
): Promise<void> {
  for (const statement of conversationSql(dialect).repair) await transaction.run(statement, { id });
}

function conversationSql(dialect: Dialect): {
  rangeEnd: string;
  odd: string;
  repair: readonly string[];
} {
  const { senderId } = inverseOf(dialect, 'e', 'c', 'v');
  const messages = `enhanced_messages e ${keptBeside('e', 'v')}`;
  const odd = (conversation: string, detail: string, fromWhere: string): string =>
    `SELECT CAST(${conversation} AS text) AS "conversationId",
      coalesce((SELECT CAST(n.id AS text) FROM enhanced_messages n WHERE n.conversation_id = ${conversation}
        ORDER BY n.position DESC, n.id DESC LIMIT 1), '0') AS "messageId",
      ${detail} AS detail FROM ${fromWhere}`;
  const ID = 'CAST(:id AS bigint)';
  const participant = 'conversation_participants';
  // Not EXISTS: PostgreSQL would join it, and read all of the conversation. Most have written of late.
  const wrote = `((SELECT 1 FROM ${messages} WHERE e.conversation_id = ${ID} AND e.removed_at IS NULL AND ${senderId} = ${participant}.user_id
    ORDER BY e.position DESC, e.id DESC LIMIT 1) IS NOT NULL)`;
  const isEmpty = `NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.conversation_id = ${ID})
    AND NOT EXISTS (SELECT 1 FROM conversations h WHERE h.id = ${ID} AND h.made_here)`;
  const isOf = (kind: string): string =>
    `conversation_id = ${ID} AND EXISTS (SELECT 1 FROM conversations c WHERE c.id = ${ID} AND c.kind = '${kind}'`;

  return {
    rangeEnd: `SELECT CAST(id AS text) AS range_end FROM conversations
      WHERE id >= CAST(:from AS bigint) ORDER BY id LIMIT 1 OFFSET :size - 1`,
    odd: [
      odd(
        'w.conversation_id',
        `'user ' || CAST(w.user_id AS text) || ' is said to have written, and has not'`,
        `(SELECT p.conversation_id, p.user_id FROM ${participant} p
            WHERE ${inRange('p.conversation_id')} AND p.has_written
          EXCEPT SELECT e.conversation_id, ${senderId} FROM ${messages} AND ${inRange('v.conversation_id')}
            WHERE ${inRange('e.conversation_id')} AND e.removed_at IS NULL) AS w`,
      ),
      odd(
        'p.conversation_id',
        `'user ' || CAST(p.user_id AS text) || ' is none of the two'`,
        `${participant} p JOIN conversations c ON c.id = p.conversation_id
          WHERE ${inRange('p.conversation_id')} AND c.kind = 'direct' AND p.user_id NOT IN (c.pair_low, c.pair_high)`,
      ),
      odd(
        'c.id',
        `'the newest message has another position'`,
        `conversations c WHERE ${inRange('c.id')}
          AND c.last_position <> (SELECT max(e.position) FROM enhanced_messages e WHERE e.conversation_id = c.id)`,
      ),
      odd(
        'c.id',
        `'nothing was ever written in it'`,
        `conversations c WHERE ${inRange('c.id')} AND NOT c.made_here
          AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.conversation_id = c.id)`,
      ),
    ].join(' UNION ALL '),
    repair: [
      `DELETE FROM ${participant} WHERE conversation_id = ${ID} AND ${isEmpty}`,
      `DELETE FROM conversations WHERE id = ${ID} AND ${isEmpty}`,
      `DELETE FROM ${participant} WHERE ${isOf('direct')} AND ${participant}.user_id NOT IN (c.pair_low, c.pair_high))`,
      // Who is in a group for what he wrote goes with it; who was let in stays.
      `DELETE FROM ${participant} WHERE ${isOf('group')} AND NOT c.made_here) AND joined_event IS NULL AND has_written AND NOT ${wrote}`,
      `UPDATE ${participant} SET has_written = false WHERE conversation_id = ${ID} AND has_written AND NOT ${wrote}`,
      // Who is left of a group's writers and wrote first, where its admin is gone.
      `UPDATE ${participant} SET role = 'admin' WHERE ${isOf('group')})
        AND user_id = (SELECT ${senderId} FROM ${messages} WHERE e.conversation_id = ${ID} AND e.removed_at IS NULL AND ${senderId} IS NOT NULL
          ORDER BY e.position, e.id LIMIT 1)
        AND NOT EXISTS (SELECT 1 FROM ${participant} a WHERE a.conversation_id = ${ID} AND a.role = 'admin')`,
      `UPDATE conversations SET last_position = coalesce(
          (SELECT max(e.position) FROM enhanced_messages e WHERE e.conversation_id = ${ID}), last_position) WHERE id = ${ID}`,
    ],
  };
}

/** One entry for each conversation, with all that was found of it. */
function merge(found: readonly OddConversation[]): OddConversation[] {
  const merged = new Map<string, OddConversation>();
  for (const odd of found) {
    const known = merged.get(odd.conversationId);
    const detail =
      known === undefined
        ? `conversation ${odd.conversationId}: ${odd.detail}`
        : `${known.detail}, ${odd.detail}`;
    merged.set(odd.conversationId, { ...odd, detail });
  }
  return [...merged.values()];
}

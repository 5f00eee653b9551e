import type { Database, Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { kept } from '../database/kept-statements.js';
import type { Place } from './cursor.js';

/** The kinds of durable events, under the names of their types in the API. */
export type EventKind =
  | 'MessageAdded'
  | 'MessageChanged'
  | 'MessageRemoved'
  | 'ReceiptUpdated'
  | 'ConversationChanged'
  | 'ConversationLeft'
  | 'DeviceChanged';

/** An event to be written. Ids are text, as they come from the database. */
export interface EventDraft {
  readonly kind: EventKind;
  readonly conversationId?: string;
  /** For this person alone; else for who is a member of the conversation. */
  readonly userId?: string;
  readonly messageId?: string;
  readonly subjectId?: string;
}

/** An event as it stands in the log. */
export interface LoggedEvent {
  readonly id: number;
  readonly kind: EventKind;
  readonly conversationId: string | null;
  readonly userId: string | null;
  readonly messageId: string | null;
  readonly subjectId: string | null;
  readonly at: string;
}

/** Numbers beyond 32 bits are text on PostgreSQL. */
type RawEvent = Omit<LoggedEvent, 'id'> & { readonly id: number | string };

/** When one joined or left with an event: the bounds of what he may see of the log. */
export interface MembershipChange {
  readonly conversationId: string;
  readonly userId: string;
  readonly did: 'join' | 'leave';
}

/**
 * Writes events, as the last thing of the transaction of what they tell.
 *
 * On PostgreSQL it takes the advisory lock of the log, until the transaction ends: ids are then given in the order of
 * commits, and whoever reads `id > cursor` misses nothing. So everything slow comes before it.
 * @param changes are bound to the log here: who joins sees what comes from now on, who leaves what came until now.
 */
export async function appendEvents(
  transaction: Queryable,
  dialect: Dialect,
  drafts: readonly EventDraft[],
  changes: readonly MembershipChange[] = [],
): Promise<void> {
  if (drafts.length === 0) return;
  if (changes.length > 0) await lockLog(transaction, dialect);
  for (const { conversationId, userId, did } of changes)
    await transaction.run(
      did === 'join'
        ? `UPDATE conversation_participants SET joined_event = (SELECT coalesce(max(id), 0) FROM events), left_event = NULL
           WHERE conversation_id = CAST(:conversationId AS bigint) AND user_id = CAST(:userId AS bigint)`
        : `UPDATE conversation_participants SET left_event = (SELECT coalesce(max(id), 0) FROM events)
           WHERE conversation_id = CAST(:conversationId AS bigint) AND user_id = CAST(:userId AS bigint)`,
      { conversationId, userId },
    );
  const given = dialect.rowsIn(
    'drafts',
    ['n', 'conversation_id', 'user_id', 'message_id', 'subject_id'],
    ['kind'],
  );
  await transaction.run(
    kept(
      dialect.behindEventLog(
        (from) => `INSERT INTO events (kind, conversation_id, user_id, message_id, subject_id, at)
          SELECT k.kind, k.conversation_id, k.user_id, k.message_id, k.subject_id, ${dialect.now} FROM ${from(`(${given}) AS k`)} ORDER BY k.n`,
      ),
    ),
    {
      drafts: JSON.stringify(
        drafts.map((draft, n) => ({
          n: String(n),
          kind: draft.kind,
          conversation_id: draft.conversationId,
          user_id: draft.userId,
          message_id: draft.messageId,
          subject_id: draft.subjectId,
        })),
      ),
    },
  );
}

/** Has a transaction take the lock of the log, for events that a statement of its own writes. */
export async function lockLog(transaction: Queryable, dialect: Dialect): Promise<void> {
  for (const statement of dialect.lockEventLog) await transaction.all(statement);
}

/** Where the log ends: the place of its newest event. */
export async function readEnd(queryable: Queryable): Promise<Place> {
  const [row] = await queryable.all<{ epoch: string; id: number | string; at: string }>(
    kept(`SELECT l.epoch, coalesce(e.id, l.forgotten_through) AS id, coalesce(CAST(e.at AS text), '0') AS at
     FROM event_log l LEFT JOIN events e ON e.id = (SELECT max(id) FROM events) WHERE l.id = 1`),
  );
  if (row === undefined) throw new Error('event_log has lost its row');
  return { epoch: row.epoch, id: Number(row.id), at: row.at };
}

/**
 * Why a reader can't go on from a place, in words; null when he can. Only where the very event is there that he saw
 * last is nothing missing in between.
 */
export async function findGap(
  queryable: Queryable,
  { epoch, id, at }: Place,
): Promise<string | null> {
  const end = await readEnd(queryable);
  if (end.epoch !== epoch)
    return 'The cursor is of another event log: the database was restored, or the changeover was rolled back and done again.';
  const [log] = await queryable.all<{ through: number | string }>(
    'SELECT forgotten_through AS through FROM event_log WHERE id = 1',
  );
  const forgotten = Number(log?.through ?? 0);
  // A cursor without an event is one from before the first of them.
  if (at === '0') return id < forgotten ? TOO_OLD : id > end.id ? AHEAD : null;
  if (id <= forgotten) return TOO_OLD;
  if (id > end.id) return AHEAD;
  const [seen] = await queryable.all<{ at: string }>(
    'SELECT CAST(at AS text) AS at FROM events WHERE id = :id',
    { id },
  );
  return seen?.at === at
    ? null
    : 'The log has another event in the place of the cursor: the database was restored.';
}

const TOO_OLD = 'The cursor is older than what the event log keeps (EVENT_RETENTION).';
const AHEAD =
  'The cursor is ahead of the event log: the database was restored to an earlier state.';

const COLUMNS = `e.id, e.kind, CAST(e.conversation_id AS text) AS "conversationId", CAST(e.user_id AS text) AS "userId",
  CAST(e.message_id AS text) AS "messageId", CAST(e.subject_id AS text) AS "subjectId", CAST(e.at AS text) AS at`;

/** The message that an event shows. */
const SHOWN = `LEFT JOIN enhanced_messages m ON m.id = e.message_id AND e.kind IN ('MessageAdded', 'MessageChanged')`;

/**
 * Whether a member may see an event, and the message that it shows, by the bounds on his row `p`. Where the message went to
 * another conversation, or is gone without a trace, there is nothing to show any more.
 */
const IS_WITHIN = `NOT p.vacant AND (p.joined_event IS NULL OR e.id > p.joined_event) AND (p.left_event IS NULL OR e.id <= p.left_event)
  AND (e.kind NOT IN ('MessageAdded', 'MessageChanged')
    OR (m.conversation_id = e.conversation_id AND (p.visible_from IS NULL OR m.position > p.visible_from) AND (p.visible_to IS NULL OR m.position <= p.visible_to)))`;

/** A page of the log, and how far it reaches: all that the person may see up to there is in it. */
export interface Page {
  readonly events: readonly LoggedEvent[];
  readonly through: Place;
}

/**
 * The next events after `after` that one person may see, the oldest first.
 * @param size the most that are read
 */
export async function readPage(
  database: Database,
  viewerId: string,
  after: number,
  size: number,
): Promise<Page> {
  const { reader } = database;
  // First where the log ends: what is committed after this is on the next page.
  const end = await readEnd(reader);
  const events = await reader.all<RawEvent>(
    `SELECT * FROM (
       SELECT ${COLUMNS} FROM conversation_participants p JOIN events e ON e.conversation_id = p.conversation_id ${SHOWN}
         WHERE p.user_id = CAST(:viewerId AS bigint) AND e.user_id IS NULL AND e.id > :after AND e.id <= :end AND ${IS_WITHIN}
       UNION ALL SELECT ${COLUMNS} FROM events e
         WHERE e.user_id = CAST(:viewerId AS bigint) AND e.user_id IS NOT NULL AND e.id > :after AND e.id <= :end
     ) AS e ORDER BY e.id LIMIT :size`,
    { viewerId, after, end: end.id, size },
  );
  const read = events.map((event) => ({ ...event, id: Number(event.id) }));
  const last = read.at(-1);
  return {
    events: read,
    through:
      read.length < size || last === undefined
        ? end
        : { epoch: end.epoch, id: last.id, at: last.at },
  };
}

/**
 * The next events of everybody after a place, the oldest first; none where the log is another one by now, as where there
 * is nothing new: `readEnd` tells the two apart.
 */
export async function readNext(
  queryable: Queryable,
  { epoch, id }: Place,
  size: number,
): Promise<LoggedEvent[]> {
  const events = await queryable.all<RawEvent>(
    kept(
      `SELECT ${COLUMNS} FROM events e WHERE e.id > :id AND (SELECT l.epoch FROM event_log l WHERE l.id = 1) = :epoch ORDER BY e.id LIMIT :size`,
    ),
    { id, epoch, size },
  );
  return events.map((event) => ({ ...event, id: Number(event.id) }));
}

/** Of some people, who may see which of some events that are for members. */
export async function findReceivers(
  queryable: Queryable,
  dialect: Dialect,
  eventIds: readonly number[],
  userIds: readonly string[],
): Promise<{ eventId: number; userId: string }[]> {
  const rows = await queryable.all<{ eventId: number | string; userId: string }>(
    kept(`SELECT e.id AS "eventId", CAST(p.user_id AS text) AS "userId"
     FROM events e JOIN conversation_participants p ON p.conversation_id = e.conversation_id ${SHOWN}
     WHERE e.user_id IS NULL AND ${dialect.isAmong('e.id', dialect.idsIn('eventIds'))} AND p.user_id IN (${dialect.idsIn('userIds')}) AND ${IS_WITHIN}`),
    {
      eventIds: JSON.stringify(eventIds.map(String)),
      userIds: JSON.stringify(userIds),
    },
  );
  return rows.map(({ eventId, userId }) => ({ eventId: Number(eventId), userId }));
}

/**
 * Forgets events older than `seconds`, the newest one excepted, in slices.
 * @returns how many
 */
export async function forgetEvents(
  database: Database,
  seconds: number,
  slice = 5_000,
): Promise<number> {
  for (let forgotten = 0; ;) {
    const count = await database.transaction(async (transaction) => {
      const [row] = await transaction.all<{ through: number | string | null }>(
        `SELECT max(id) AS through FROM (SELECT id FROM events
           WHERE at < ${database.dialect.now} - CAST(:seconds AS bigint) * 1000000 AND id < (SELECT max(id) FROM events)
           ORDER BY id LIMIT :slice) AS old`,
        { seconds, slice },
      );
      if (row?.through == null) return 0;
      const through = Number(row.through);
      // By id, since that is their order: the clock may have been set back.
      const gone = await transaction.run('DELETE FROM events WHERE id <= :through', { through });
      await transaction.run('UPDATE event_log SET forgotten_through = :through WHERE id = 1', {
        through,
      });
      return gone;
    });
    if (count === 0) return forgotten;
    forgotten += count;
  }
}

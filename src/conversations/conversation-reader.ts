import type { Database } from '../database/database.js';
import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import type { Loaders } from '../graphql/loaders.js';

/** A conversation as one person sees it. Ids and instants are text, as they come from the database. */
export interface ConversationRow {
  readonly viewerId: string;
  readonly id: string;
  readonly kind: 'direct' | 'group';
  readonly name: string | null;
  readonly avatarUrl: string | null;
  readonly createdBy: string | null;
  readonly createdAt: string;
  readonly lastPosition: string;
  readonly isMarkedUnread: boolean;
  /** Null: he is a member. */
  readonly leftAt: string | null;
  readonly visibleFrom: string | null;
  readonly visibleTo: string | null;
  readonly unreadFrom: string | null;
  readonly readPosition: string | null;
  readonly readMessageId: string | null;
}

export interface ParticipantRow {
  readonly conversationId: string;
  readonly userId: string;
  readonly role: 'admin' | 'member';
  readonly joinedAt: string | null;
  readonly visibleFrom: string | null;
  readonly readPosition: string | null;
  readonly readMessageId: string | null;
  readonly readAt: string | null;
  readonly deliveredPosition: string | null;
  readonly deliveredMessageId: string | null;
  readonly deliveredAt: string | null;
  /** His account is gone, though somebody else may have its id by now. */
  readonly isVacant: boolean;
}

/** The bounds of what somebody sees in a conversation, both excluded: places `(position, id)`. */
export interface Bounds {
  readonly low_position: string;
  readonly low_id: string;
  readonly high_position: string;
  readonly high_id: string;
}

/** What a person may see of a conversation's messages. */
export function boundsOf({
  visibleFrom,
  visibleTo,
}: Pick<ConversationRow, 'visibleFrom' | 'visibleTo'>): Bounds {
  return {
    low_position: visibleFrom ?? LOWEST_ID,
    low_id: visibleFrom === null ? LOWEST_ID : HIGHEST_ID,
    high_position: visibleTo === null ? HIGHEST_ID : String(BigInt(visibleTo) + 1n),
    high_id: visibleTo === null ? HIGHEST_ID : LOWEST_ID,
  };
}

export interface ListFilter {
  readonly unreadOnly?: boolean | null;
  readonly search?: string | null;
}

/** Flags are numbers on SQLite. */
type RawConversation = Omit<ConversationRow, 'isMarkedUnread'> & {
  readonly isMarkedUnread: boolean | number;
};

/** Reads conversations for people who are, or were, in them: for anybody else there are none. */
export class ConversationReader {
  private readonly select: string;

  constructor(private readonly database: Database) {
    this.select = `SELECT CAST(p.user_id AS text) AS "viewerId", CAST(c.id AS text) AS id, c.kind, c.name, c.avatar_url AS "avatarUrl",
        CAST(c.created_by AS text) AS "createdBy", CAST(c.created_at AS text) AS "createdAt", CAST(c.last_position AS text) AS "lastPosition",
        p.marked_unread AS "isMarkedUnread", CAST(p.left_at AS text) AS "leftAt", CAST(p.visible_from AS text) AS "visibleFrom",
        CAST(p.visible_to AS text) AS "visibleTo", CAST(p.unread_from AS text) AS "unreadFrom", CAST(p.read_position AS text) AS "readPosition",
        CAST(p.read_message_id AS text) AS "readMessageId"
      FROM conversation_participants p JOIN conversations c ON c.id = p.conversation_id`;
  }

  /** A conversation as a person sees it; null when there is none that he is or was in. */
  find(loaders: Loaders, viewerId: string, id: string): Promise<ConversationRow | null> {
    return loaders.of(this.batch).load(`${viewerId} ${id}`);
  }

  /** By `viewer conversation`. */
  private readonly batch = async (keys: readonly string[]): Promise<(ConversationRow | null)[]> => {
    const pairs = keys.map((key) => key.split(' '));
    const { dialect, reader } = this.database;
    const rows = await reader.all<RawConversation>(
      `${this.select} WHERE p.user_id IN (${dialect.idsIn('viewers')}) AND p.conversation_id IN (${dialect.idsIn('ids')}) AND NOT p.vacant`,
      {
        viewers: JSON.stringify([...new Set(pairs.map(([viewerId]) => viewerId))]),
        ids: JSON.stringify([...new Set(pairs.map(([, id]) => id))]),
      },
    );
    const byKey = new Map(
      rows.map((row) => [
        `${row.viewerId} ${row.id}`,
        { ...row, isMarkedUnread: Boolean(row.isMarkedUnread) },
      ]),
    );
    return keys.map((key) => byKey.get(key) ?? null);
  };

  /** The id of the conversation of two people; null when there is none. */
  async findDirect(viewerId: string, userId: string): Promise<string | null> {
    const [low, high] =
      BigInt(viewerId) <= BigInt(userId) ? [viewerId, userId] : [userId, viewerId];
    const [row] = await this.database.reader.all<{ id: string }>(
      `SELECT CAST(id AS text) AS id FROM conversations
       WHERE pair_low = CAST(:low AS bigint) AND pair_high = CAST(:high AS bigint)`,
      { low, high },
    );
    return row?.id ?? null;
  }

  /**
   * One page of the conversations that a person is in, the one with the latest activity first.
   * @param after place and id of the last one before the page
   * @returns no more than `size`
   */
  async list(
    viewerId: string,
    { unreadOnly, search }: ListFilter,
    after: readonly [position: string, id: string] | null,
    size: number,
  ): Promise<ConversationRow[]> {
    const conditions = [
      'p.user_id = CAST(:viewerId AS bigint)',
      'p.left_at IS NULL',
      'NOT p.vacant',
      '(c.last_position, c.id) < (CAST(:position AS bigint), CAST(:id AS bigint))',
    ];
    if (unreadOnly === true)
      conditions.push(`(p.marked_unread OR EXISTS (SELECT 1 FROM enhanced_messages x WHERE x.conversation_id = c.id
        AND ${isUnreadFor('x', 'p.user_id')} AND ${isUnreadIn('x', 'p')}))`);
    if (search != null && search !== '')
      conditions.push(`lower(c.name) LIKE '%' || lower(CAST(:search AS text)) || '%' ESCAPE '~'`);
    const rows = await this.database.reader.all<RawConversation>(
      `${this.select} WHERE ${conditions.join(' AND ')} ORDER BY c.last_position DESC, c.id DESC LIMIT :size`,
      {
        viewerId,
        position: after?.[0] ?? HIGHEST_ID,
        id: after?.[1] ?? HIGHEST_ID,
        search: (search ?? '').replaceAll(/[~%_]/g, '~$&'),
        size,
      },
    );
    return rows.map((row) => ({ ...row, isMarkedUnread: Boolean(row.isMarkedUnread) }));
  }

  /** The members of a conversation, the longest first. @param after joining place and id of the last one before the page */
  members(loaders: Loaders, conversationId: string): Promise<readonly ParticipantRow[]> {
    return loaders.of(this.batchMembers).load(conversationId);
  }

  private readonly batchMembers = async (
    ids: readonly string[],
  ): Promise<(readonly ParticipantRow[])[]> => {
    const { dialect, reader } = this.database;
    const rows = await reader.all<
      Omit<ParticipantRow, 'isVacant'> & { readonly isVacant: boolean | number }
    >(
      `SELECT CAST(p.conversation_id AS text) AS "conversationId", CAST(p.user_id AS text) AS "userId", p.role,
         CAST(p.joined_at AS text) AS "joinedAt", CAST(p.visible_from AS text) AS "visibleFrom",
         CAST(p.read_position AS text) AS "readPosition", CAST(p.read_message_id AS text) AS "readMessageId", CAST(p.read_at AS text) AS "readAt",
         CAST(p.delivered_position AS text) AS "deliveredPosition", CAST(p.delivered_message_id AS text) AS "deliveredMessageId", CAST(p.delivered_at AS text) AS "deliveredAt",
         p.vacant AS "isVacant"
       FROM conversation_participants p
       WHERE p.conversation_id IN (${dialect.idsIn('ids')}) AND p.left_at IS NULL
       ORDER BY p.conversation_id, p.joined_at, p.user_id`,
      { ids: JSON.stringify(ids) },
    );
    const members = new Map<string, ParticipantRow[]>(ids.map((id) => [id, []]));
    for (const row of rows)
      members.get(row.conversationId)?.push({ ...row, isVacant: Boolean(row.isVacant) });
    return ids.map((id) => members.get(id) ?? []);
  };
}

/** Whether a message could be unread to somebody at all: not his own, and nobody said that it was read. */
function isUnreadFor(message: string, userId: string): string {
  return `(${message}."status" = 1 OR ${message}."status" = 2) AND ${message}.sender_id IS DISTINCT FROM ${userId}`;
}

/** Whether it lies behind what a member has read, and within what he may see. */
function isUnreadIn(message: string, member: string): string {
  return `${message}.position > coalesce(${member}.unread_from, ${message}.position - 1)
    AND (${member}.read_position IS NULL OR (${message}.position, ${message}.id) > (${member}.read_position, ${member}.read_message_id))
    AND (${member}.visible_from IS NULL OR ${message}.position > ${member}.visible_from)`;
}

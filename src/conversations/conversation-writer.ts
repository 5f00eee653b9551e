import { createHash } from 'node:crypto';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';
import { appendEvents, type EventDraft, type MembershipChange } from '../events/event-log.js';
import { globalId } from '../graphql/global-ids.js';
import { moveInSql } from './vacancy.js';
import type { Sides } from '../messages/old-side.js';

/** Groups that are made here take numbers in the old column from here up, which no old app is expected to reach. */
const FIRST_GROUP = 1_000_000_000;

/** The most members of a group. */
export const MOST_MEMBERS = 500;

export interface GroupDraft {
  readonly name: string | null;
  readonly avatarUrl: string | null;
  readonly clientId: string | null;
  readonly userIds: readonly string[];
}

/** What an update leaves as it is, is undefined. */
export interface GroupChange {
  readonly name?: string | null | undefined;
  readonly avatarUrl?: string | null | undefined;
}

type Role = 'admin' | 'member';

/**
 * Makes and changes conversations, each in one transaction with its events. A method locks the conversation that it
 * changes, and the event log last.
 */
export class ConversationWriter {
  private readonly users: { readonly table: string; readonly id: string };

  constructor(
    private readonly dialect: Dialect,
    { users }: LegacyMapping,
    private readonly sides: Sides,
  ) {
    this.users = { table: dialect.name(users.table), id: dialect.name(users.columns.id) };
  }

  /**
   * The conversation of two people, made when there is none: two people have exactly one.
   * @throws SegueError NOT_FOUND when there is no such account.
   */
  async startDirect(transaction: Queryable, viewerId: string, userId: string): Promise<string> {
    const [low, high] =
      BigInt(viewerId) <= BigInt(userId) ? [viewerId, userId] : [userId, viewerId];
    const { now } = this.dialect;
    // Of two that start it at once, the second one waits here for the first one's commit.
    const made = await transaction.run(
      `INSERT INTO conversations (kind, pair_low, pair_high, created_at, last_position, made_here, created_by)
       SELECT 'direct', CAST(:low AS bigint), CAST(:high AS bigint), ${now}, ${now}, true, CAST(:viewerId AS bigint)
       WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.pair_low = CAST(:low AS bigint) AND c.pair_high = CAST(:high AS bigint))
       ON CONFLICT DO NOTHING`,
      { low, high, viewerId },
    );
    await this.sides.open(transaction);
    const [conversation] = await transaction.all<{ id: string }>(
      `SELECT CAST(c.id AS text) AS id FROM conversations c WHERE c.pair_low = CAST(:low AS bigint) AND c.pair_high = CAST(:high AS bigint)`,
      { low, high },
    );
    if (conversation === undefined)
      throw new Error('The conversation just made cannot be read back');
    const { id } = conversation;
    if (made === 0) {
      await this.moveIn(transaction, id, viewerId);
      return id;
    }
    await this.checkAccounts(transaction, [userId]);
    for (const member of new Set([low, high])) await this.addMember(transaction, id, member, null);
    await appendEvents(transaction, this.dialect, [
      { kind: 'ConversationChanged', conversationId: id },
    ]);
    return id;
  }

  /**
   * Makes a group of the caller, its admin, and others.
   * @throws SegueError NOT_FOUND naming accounts that do not exist; IDEMPOTENCY_CONFLICT.
   */
  async createGroup(transaction: Queryable, viewerId: string, draft: GroupDraft): Promise<string> {
    const { name, avatarUrl, clientId } = draft;
    const digest = createHash('sha256')
      .update(JSON.stringify([name, avatarUrl, [...draft.userIds].sort()]))
      .digest('base64url');
    if (clientId !== null) {
      const [earlier] = await transaction.all<{ id: string; digest: string }>(
        `SELECT CAST(id AS text) AS id, client_digest AS digest FROM conversations
         WHERE created_by = CAST(:viewerId AS bigint) AND client_id = CAST(:clientId AS text) AND client_id IS NOT NULL`,
        { viewerId, clientId },
      );
      if (earlier?.digest === digest) return earlier.id;
      if (earlier !== undefined)
        throw new SegueError(
          'IDEMPOTENCY_CONFLICT',
          `clientId ${JSON.stringify(clientId)} was used for ${globalId('Conversation', earlier.id)}, a group of other people or another name: give each group an id of its own.`,
        );
    }
    const others = draft.userIds.filter((id) => id !== viewerId);
    await this.checkAccounts(transaction, others);
    const { now } = this.dialect;
    const [group] = await transaction.all<{ id: string }>(
      `INSERT INTO conversations (kind, legacy_group_id, name, avatar_url, created_at, last_position, made_here, created_by, client_id, client_digest)
       SELECT 'group', (SELECT coalesce(max(g.legacy_group_id), ${FIRST_GROUP - 1}) + 1 FROM conversations g WHERE g.legacy_group_id >= ${FIRST_GROUP}),
         CAST(:name AS text), CAST(:avatarUrl AS text), ${now}, ${now}, true, CAST(:viewerId AS bigint), CAST(:clientId AS text), CAST(:digest AS text)
       WHERE CAST(:viewerId AS bigint) IS NOT NULL
       RETURNING CAST(id AS text) AS id`,
      { name, avatarUrl, viewerId, clientId, digest: clientId === null ? null : digest },
    );
    if (group === undefined) throw new Error('The database gave no id for a group');
    await this.sides.open(transaction);
    await this.addMember(transaction, group.id, viewerId, null, 'admin');
    for (const userId of new Set(others)) await this.addMember(transaction, group.id, userId, null);
    await appendEvents(transaction, this.dialect, [
      { kind: 'ConversationChanged', conversationId: group.id },
    ]);
    return group.id;
  }

  /** @throws SegueError NOT_FOUND; FORBIDDEN for who is no admin; BAD_USER_INPUT for a one-to-one conversation. */
  async updateGroup(
    transaction: Queryable,
    viewerId: string,
    id: string,
    { name, avatarUrl }: GroupChange,
  ): Promise<void> {
    await this.lockGroup(transaction, viewerId, id, 'admin');
    const changed = await transaction.run(
      `UPDATE conversations SET name = CASE WHEN :setsName THEN CAST(:name AS text) ELSE name END,
         avatar_url = CASE WHEN :setsAvatar THEN CAST(:avatarUrl AS text) ELSE avatar_url END
       WHERE id = CAST(:id AS bigint) AND ((:setsName AND name IS DISTINCT FROM CAST(:name AS text))
         OR (:setsAvatar AND avatar_url IS DISTINCT FROM CAST(:avatarUrl AS text)))`,
      {
        id,
        name: name ?? null,
        avatarUrl: avatarUrl ?? null,
        setsName: name !== undefined,
        setsAvatar: avatarUrl !== undefined,
      },
    );
    if (changed > 0)
      await appendEvents(transaction, this.dialect, [
        { kind: 'ConversationChanged', conversationId: id },
      ]);
  }

  /** Lets others in, who see what comes from then on. Who is in already stays as he is. @throws as `updateGroup`. */
  async addParticipants(
    transaction: Queryable,
    viewerId: string,
    id: string,
    userIds: readonly string[],
  ): Promise<void> {
    const { lastPosition } = await this.lockGroup(transaction, viewerId, id, 'admin');
    await this.checkAccounts(transaction, userIds);
    const members = await this.membersOf(transaction, id);
    const added = [...new Set(userIds)].filter(
      (userId) => !members.some((member) => member.userId === userId && member.isIn),
    );
    if (members.filter(({ isIn }) => isIn).length + added.length > MOST_MEMBERS)
      throw new SegueError(
        'BAD_USER_INPUT',
        `userIds: a group takes ${MOST_MEMBERS} members; with these it would have more.`,
      );
    if (added.length === 0) return;
    for (const userId of added) await this.addMember(transaction, id, userId, lastPosition);
    await appendEvents(
      transaction,
      this.dialect,
      [{ kind: 'ConversationChanged', conversationId: id }],
      added.map((userId): MembershipChange => ({ conversationId: id, userId, did: 'join' })),
    );
  }

  /** @throws as `updateGroup`; NOT_FOUND when he is no member. */
  async removeParticipant(
    transaction: Queryable,
    viewerId: string,
    id: string,
    userId: string,
  ): Promise<void> {
    const { lastPosition } = await this.lockGroup(transaction, viewerId, id, 'admin');
    const member = (await this.membersOf(transaction, id)).find((one) => one.userId === userId);
    if (member?.isIn !== true)
      throw new SegueError(
        'NOT_FOUND',
        `${globalId('User', userId)} is no member of ${globalId('Conversation', id)}.`,
      );
    await this.takeOut(transaction, id, userId, lastPosition);
  }

  /** @throws as `updateGroup`, but that no one needs to be an admin to leave. */
  async leave(transaction: Queryable, viewerId: string, id: string): Promise<void> {
    const { lastPosition } = await this.lockGroup(transaction, viewerId, id, 'member');
    await this.takeOut(transaction, id, viewerId, lastPosition);
  }

  /** Marks a conversation as unread, for the member alone. @throws SegueError NOT_FOUND. */
  async markUnread(transaction: Queryable, viewerId: string, id: string): Promise<void> {
    await this.lockAsMember(transaction, viewerId, id);
    const changed = await transaction.run(
      `UPDATE conversation_participants SET marked_unread = true
       WHERE conversation_id = CAST(:id AS bigint) AND user_id = CAST(:viewerId AS bigint) AND NOT marked_unread`,
      { id, viewerId },
    );
    if (changed > 0)
      await appendEvents(transaction, this.dialect, [
        { kind: 'ConversationChanged', conversationId: id, userId: viewerId },
      ]);
  }

  /**
   * The conversation of a group of the old app, for somebody who writes in it.
   * @param isOpen whether anybody may come in, as into the old table: who comes then sees it as the old app shows it, all
   *   of it; and a group that nobody has written in yet is made
   * @throws SegueError FORBIDDEN for who is no member, and for who was removed.
   */
  async enterLegacyGroup(
    transaction: Queryable,
    viewerId: string,
    groupId: string,
    isOpen: boolean,
  ): Promise<string> {
    const { now } = this.dialect;
    if (isOpen)
      await transaction.run(
        `INSERT INTO conversations (kind, legacy_group_id, created_at, last_position, made_here, created_by)
         SELECT 'group', CAST(:groupId AS bigint), ${now}, ${now}, true, CAST(:viewerId AS bigint)
         WHERE NOT EXISTS (SELECT 1 FROM conversations c WHERE c.legacy_group_id = CAST(:groupId AS bigint)) ON CONFLICT DO NOTHING`,
        { groupId, viewerId },
      );
    const [group] = await transaction.all<{ id: string }>(
      this.dialect.locked(
        'SELECT CAST(c.id AS text) AS id FROM conversations c WHERE c.legacy_group_id = CAST(:groupId AS bigint)',
      ),
      { groupId },
    );
    await this.sides.open(transaction);
    const members = group === undefined ? [] : await this.membersOf(transaction, group.id);
    const member = members.find(({ userId }) => userId === viewerId);
    if (group !== undefined && member?.isIn === true) return group.id;
    if (group === undefined || member !== undefined || !isOpen)
      throw new SegueError(
        'FORBIDDEN',
        `groupId is ${groupId}: only who has written in the group, or was added to it, may write in it.`,
      );
    await this.addMember(
      transaction,
      group.id,
      viewerId,
      null,
      members.length === 0 ? 'admin' : 'member',
    );
    await appendEvents(transaction, this.dialect, [
      { kind: 'ConversationChanged', conversationId: group.id },
    ]);
    return group.id;
  }

  private async takeOut(
    transaction: Queryable,
    id: string,
    userId: string,
    lastPosition: string,
  ): Promise<void> {
    await transaction.run(
      `UPDATE conversation_participants SET left_at = ${this.dialect.now}, visible_to = CAST(:lastPosition AS bigint), role = 'member', marked_unread = false
       WHERE conversation_id = CAST(:id AS bigint) AND user_id = CAST(:userId AS bigint)`,
      { id, userId, lastPosition },
    );
    // A group without an admin could never be changed again: who has been in it for the longest becomes one.
    await transaction.run(
      `UPDATE conversation_participants SET role = 'admin' WHERE conversation_id = CAST(:id AS bigint)
         AND user_id = (SELECT o.user_id FROM conversation_participants o
           WHERE o.conversation_id = CAST(:id AS bigint) AND o.left_at IS NULL ORDER BY o.joined_at, o.user_id LIMIT 1)
         AND NOT EXISTS (SELECT 1 FROM conversation_participants a
           WHERE a.conversation_id = CAST(:id AS bigint) AND a.left_at IS NULL AND a.role = 'admin')`,
      { id },
    );
    const events: EventDraft[] = [
      { kind: 'ConversationLeft', conversationId: id, userId },
      { kind: 'ConversationChanged', conversationId: id },
    ];
    await appendEvents(transaction, this.dialect, events, [
      { conversationId: id, userId, did: 'leave' },
    ]);
  }

  /** Who has the id of somebody who is gone is in their conversation from when he asks for it. */
  private async moveIn(transaction: Queryable, id: string, viewerId: string): Promise<void> {
    const which =
      'c.id = CAST(:id AS bigint) AND conversation_participants.user_id = CAST(:viewerId AS bigint)';
    if ((await transaction.run(moveInSql(this.dialect, this.users, which), { id, viewerId })) > 0)
      await appendEvents(transaction, this.dialect, [
        { kind: 'ConversationChanged', conversationId: id },
      ]);
  }

  /** @param after the place behind which he sees messages; null: all of them */
  private async addMember(
    transaction: Queryable,
    id: string,
    userId: string,
    after: string | null,
    role: Role = 'member',
  ): Promise<void> {
    const { now } = this.dialect;
    await transaction.run(
      `INSERT INTO conversation_participants (conversation_id, user_id, role, has_written, joined_at, visible_from, unread_from)
       VALUES (CAST(:id AS bigint), CAST(:userId AS bigint), CAST(:role AS text), false, ${now}, CAST(:after AS bigint), CAST(:after AS bigint))
       ON CONFLICT (conversation_id, user_id) DO UPDATE SET role = excluded.role, joined_at = excluded.joined_at, left_at = NULL,
         left_event = NULL, visible_from = excluded.visible_from, visible_to = NULL, unread_from = excluded.unread_from, vacant = false`,
      { id, userId, role, after },
    );
  }

  private async membersOf(
    transaction: Queryable,
    id: string,
  ): Promise<{ userId: string; role: Role; isIn: boolean }[]> {
    const rows = await transaction.all<{ userId: string; role: Role; leftAt: string | null }>(
      `SELECT CAST(user_id AS text) AS "userId", role, CAST(left_at AS text) AS "leftAt" FROM conversation_participants
       WHERE conversation_id = CAST(:id AS bigint) AND NOT vacant`,
      { id },
    );
    return rows.map(({ userId, role, leftAt }) => ({ userId, role, isIn: leftAt === null }));
  }

  private async lockAsMember(
    transaction: Queryable,
    viewerId: string,
    id: string,
  ): Promise<{ kind: string; lastPosition: string; role: Role }> {
    const [conversation] = await transaction.all<{ kind: string; lastPosition: string }>(
      this.dialect.locked(
        `SELECT c.kind, CAST(c.last_position AS text) AS "lastPosition" FROM conversations c WHERE c.id = CAST(:id AS bigint)`,
      ),
      { id },
    );
    await this.sides.open(transaction);
    const member =
      conversation === undefined
        ? undefined
        : (await this.membersOf(transaction, id)).find(({ userId }) => userId === viewerId);
    if (conversation === undefined || member?.isIn !== true)
      throw new SegueError(
        'NOT_FOUND',
        `There is no conversation ${globalId('Conversation', id)}, or you are no member of it.`,
      );
    return { ...conversation, role: member.role };
  }

  private async lockGroup(
    transaction: Queryable,
    viewerId: string,
    id: string,
    least: Role,
  ): Promise<{ lastPosition: string }> {
    const { kind, role, lastPosition } = await this.lockAsMember(transaction, viewerId, id);
    if (kind !== 'group')
      throw new SegueError(
        'BAD_USER_INPUT',
        `${globalId('Conversation', id)} is between two people: only groups have members that come and go, and a name.`,
      );
    if (least === 'admin' && role !== 'admin')
      throw new SegueError(
        'FORBIDDEN',
        `Only an admin of ${globalId('Conversation', id)} may do this.`,
      );
    return { lastPosition };
  }

  private async checkAccounts(transaction: Queryable, ids: readonly string[]): Promise<void> {
    const rows = await transaction.all<{ id: string }>(
      `SELECT CAST(u.${this.users.id} AS text) AS id FROM ${this.users.table} u WHERE u.${this.users.id} IN (${this.dialect.idsIn('ids')})`,
      { ids: JSON.stringify(ids) },
    );
    const known = new Set(rows.map(({ id }) => id));
    const missing = ids.filter((id) => !known.has(id));
    if (missing.length > 0)
      throw new SegueError(
        'NOT_FOUND',
        `There is no account ${missing.map((id) => globalId('User', id)).join(', ')}.`,
      );
  }
}

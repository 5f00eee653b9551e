import { Injectable } from '@nestjs/common';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { ConversationWriter } from '../conversations/conversation-writer.js';
import type { Database, Queryable } from '../database/database.js';
import type { GroupedWrites } from '../database/grouped-writes.js';
import { tryAgain } from '../database/try-again.js';
import { isUnfit } from '../database/texts.js';
import { SegueError } from '../errors/segue-error.js';
import { appendEvents } from '../events/event-log.js';
import type { EventHub } from '../events/event-hub.js';
import { STATUS_CODES, UNREAD } from '../messages/enhanced-message.entities.js';
import type { MessageDraft, WrittenMessage } from '../messages/message-writer.js';
import type { ServedSides, Sides } from '../messages/old-side.js';
import type { TypingService } from '../presence/typing.service.js';
import type { Account } from '../users/users.service.js';
import type { LegacyMessage } from './legacy-message.type.js';
import type { LegacyService } from './legacy.service.js';
import { oldRows } from './old-rows.js';

const KINDS = ['text', 'image', 'audio', 'video', 'file'];

export interface LegacyDraft {
  readonly senderId: number;
  readonly recipientId: number | null;
  readonly groupId: number | null;
  readonly content: string;
  readonly type: string;
  /** What its client calls it: a retry with the same one makes no second message, from BACKFILLED on. */
  readonly clientId?: string | null;
}

export interface LegacyWritesParts {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly reads: LegacyService;
  readonly conversations: ConversationWriter;
  readonly sends: GroupedWrites<MessageDraft, WrittenMessage>;
  readonly hub: EventHub;
  readonly typing: TypingService;
  readonly servedSides: () => Promise<ServedSides>;
  /** The sides that writes go to. */
  readonly sides: Sides;
  /** Whether anybody may write into any group, as the old table let him. */
  readonly hasOpenGroups: boolean;
}

/**
 * The old API's writes. From BACKFILLED on they go the way of every message; before, into the old table alone, where
 * capture sees them.
 */
@Injectable()
export class LegacyWritesService {
  private readonly sql: {
    readonly insert: string;
    readonly read: string;
    readonly wrote: string;
    readonly account: string;
  };

  constructor(private readonly parts: LegacyWritesParts) {
    const { database, mapping } = parts;
    const { dialect } = database;
    const { table, names } = oldRows(dialect, mapping);
    const users = dialect.name(mapping.users.table);
    const userId = dialect.name(mapping.users.columns.id);
    this.sql = {
      insert: `INSERT INTO ${table} (${names.senderId}, ${names.recipientId}, ${names.groupId}, ${names.content}, ${names.type}, ${names.status}, ${names.createdAt})
        SELECT CAST(:me AS bigint), CAST(:recipientId AS bigint), CAST(:groupId AS bigint), CAST(:content AS text), CAST(:type AS text), 'sent', ${dialect.legacyTime(dialect.now)}
        WHERE CAST(:me AS bigint) IS NOT NULL RETURNING CAST(${names.id} AS text) AS "newId"`,
      read: `UPDATE ${table} SET ${names.status} = 'read' WHERE ${names.id} = CAST(:id AS bigint) AND ${names.recipientId} = CAST(:me AS bigint)`,
      wrote: `SELECT 1 AS one FROM ${table} m WHERE m.${names.groupId} = CAST(:groupId AS bigint) AND m.${names.senderId} = CAST(:me AS bigint) LIMIT 1`,
      account: `SELECT 1 AS one FROM ${users} u WHERE u.${userId} = CAST(:id AS bigint)`,
    };
  }

  /**
   * Writes a message; it is committed when this resolves.
   * @throws SegueError FORBIDDEN for another sender than the caller, and for a group that he is not in; RECIPIENT_GONE;
   *   BAD_USER_INPUT; WRONG_STAGE where there is no old table any more.
   */
  async create(viewer: Account, given: LegacyDraft): Promise<LegacyMessage> {
    // The old app took 0 for none.
    const draft = {
      ...given,
      recipientId: given.recipientId === 0 ? null : given.recipientId,
      groupId: given.groupId === 0 ? null : given.groupId,
    };
    checkDraft(viewer, draft);
    const id = await this.onServedSides((sides) => {
      if (sides === 'new')
        throw new SegueError(
          'WRONG_STAGE',
          'This chat has no old table, whose numbers the old API speaks in: use sendMessage.',
        );
      return sides === 'both' ? this.send(viewer, draft) : this.insertOld(viewer, draft);
    });
    const message = await this.parts.reads.message(viewer, Number(id));
    if (message === null)
      throw new SegueError('NOT_FOUND', 'The message was written, and is gone since.');
    return message;
  }

  /**
   * Marks one message to the caller as read.
   * @throws SegueError NOT_FOUND when there is none.
   */
  async markAsRead(viewer: Account, id: number): Promise<LegacyMessage> {
    const { database, hub } = this.parts;
    const found = await this.onServedSides((sides) => {
      if (sides === 'new') throw new SegueError('NOT_FOUND', `There is no message ${id} to you.`);
      return tryAgain(() =>
        database.transaction(async (transaction) => {
          const given = { id: String(id), me: viewer.id };
          // The new side first: on PostgreSQL it is locked in this order by every write.
          const message = sides === 'both' ? await this.raise(transaction, given) : null;
          const oldSide = sides === 'both' ? await this.parts.sides.open(transaction) : null;
          const isRead =
            oldSide === null
              ? (await transaction.run(this.sql.read, given)) > 0
              : await oldSide.markRead(transaction, given.id, given.me);
          if (isRead && message !== null)
            await appendEvents(transaction, database.dialect, [
              { kind: 'MessageChanged', conversationId: message, messageId: given.id },
            ]);
          return isRead;
        }),
      );
    });
    if (found) hub.wake();
    const message = found ? await this.parts.reads.message(viewer, id) : null;
    if (message === null) throw new SegueError('NOT_FOUND', `There is no message ${id} to you.`);
    return message;
  }

  /** Does something on the sides that there are, and once more where a rollback came in between. */
  private async onServedSides<Result>(
    work: (sides: ServedSides) => Promise<Result>,
  ): Promise<Result> {
    const sides = await this.parts.servedSides();
    try {
      return await work(sides);
    } catch (error) {
      if (!(error instanceof SegueError && error.code === 'NOT_EXPANDED')) throw error;
      return work(await this.parts.servedSides());
    }
  }

  /**
   * Raises the status of a message to the caller, where it is one that the new side knows.
   * @returns its conversation, when that changed anything
   */
  private async raise(
    transaction: Queryable,
    given: { id: string; me: string },
  ): Promise<string | null> {
    const [message] = await transaction.all<{ conversationId: string }>(
      `UPDATE enhanced_messages SET status = ${STATUS_CODES.read}
       WHERE legacy_message_id = CAST(:id AS bigint) AND ${UNREAD} AND sender_id IS DISTINCT FROM CAST(:me AS bigint)
         AND EXISTS (SELECT 1 FROM conversations c WHERE c.id = enhanced_messages.conversation_id AND c.kind = 'direct'
           AND (c.pair_low = CAST(:me AS bigint) OR c.pair_high = CAST(:me AS bigint)))
       RETURNING CAST(conversation_id AS text) AS "conversationId"`,
      given,
    );
    return message?.conversationId ?? null;
  }

  private async send(viewer: Account, draft: LegacyDraft): Promise<string> {
    const { database, conversations, sends, hub } = this.parts;
    const { recipientId, groupId, content, type, clientId = null } = draft;
    const conversationId = await tryAgain(() =>
      database.transaction((transaction) =>
        groupId === null
          ? this.direct(transaction, viewer, String(recipientId))
          : conversations.enterLegacyGroup(
              transaction,
              viewer.id,
              String(groupId),
              this.parts.hasOpenGroups,
            ),
      ),
    );
    hub.wake();
    const { messageId } = await sends.write({
      senderId: viewer.id,
      conversationId,
      clientId,
      text: content,
      kind: type,
      replyToId: null,
    });
    this.parts.typing.end(conversationId, viewer.id);
    return messageId;
  }

  private async direct(
    transaction: Queryable,
    viewer: Account,
    recipientId: string,
  ): Promise<string> {
    try {
      return await this.parts.conversations.startDirect(transaction, viewer.id, recipientId);
    } catch (error) {
      if (error instanceof SegueError && error.code === 'NOT_FOUND') throw gone(recipientId);
      throw error;
    }
  }

  private async insertOld(viewer: Account, draft: LegacyDraft): Promise<string> {
    const { recipientId, groupId, content, type } = draft;
    const given = {
      me: viewer.id,
      recipientId: recipientId === null ? null : String(recipientId),
      groupId: groupId === null ? null : String(groupId),
      content,
      type,
    };
    return this.parts.database.transaction(async (transaction) => {
      if (recipientId !== null) {
        const [account] = await transaction.all(this.sql.account, { id: String(recipientId) });
        if (account === undefined) throw gone(String(recipientId));
      } else if (!this.parts.hasOpenGroups) {
        const [wrote] = await transaction.all(this.sql.wrote, {
          me: viewer.id,
          groupId: given.groupId,
        });
        if (wrote === undefined) throw notInGroup(String(groupId));
      }
      const [row] = await transaction.all<{ newId: string }>(this.sql.insert, given);
      if (row === undefined) throw new Error('The old table gave no id for a row');
      return row.newId;
    });
  }
}

function gone(recipientId: string): SegueError {
  return new SegueError(
    'RECIPIENT_GONE',
    `recipientId is ${recipientId}: there is no such account, or not any more.`,
  );
}

function notInGroup(groupId: string): SegueError {
  return new SegueError(
    'FORBIDDEN',
    `groupId is ${groupId}: only who has written in the group may write in it (LEGACY_GROUPS=open lets anybody).`,
  );
}

function checkDraft(viewer: Account, draft: LegacyDraft): void {
  const { senderId, recipientId, groupId, content, type } = draft;
  if (String(senderId) !== viewer.id)
    throw new SegueError(
      'FORBIDDEN',
      `senderId is ${senderId}, and the token belongs to ${viewer.id}: people may only write as themselves.`,
    );
  if ((recipientId === null) === (groupId === null))
    throw new SegueError(
      'BAD_USER_INPUT',
      `recipientId is ${String(recipientId)} and groupId is ${String(groupId)}: exactly one of them says where the message goes.`,
    );
  if (!KINDS.includes(type))
    throw new SegueError(
      'BAD_USER_INPUT',
      `type is ${JSON.stringify(type)}: it takes ${KINDS.join(', ')}.`,
    );
  if (isUnfit(content))
    throw new SegueError(
      'BAD_USER_INPUT',
      'content has a NUL or half of a surrogate pair in it: leave that out.',
    );
}

import { createHash } from 'node:crypto';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import { moveInSql } from '../conversations/vacancy.js';
import type { Dialect } from '../database/dialect.js';
import type { Outcome } from '../database/grouped-writes.js';
import { SegueError } from '../errors/segue-error.js';
import { appendEvents, type EventDraft } from '../events/event-log.js';
import { globalId } from '../graphql/global-ids.js';
import { STATUS_CODES } from './enhanced-message.entities.js';
import type { MessageRow } from './message-reader.js';
import type { OldSide, Sides } from './old-side.js';

/** A message to be written, of a person that is signed in. */
export interface MessageDraft {
  readonly senderId: string;
  readonly conversationId: string;
  /** What its client calls it; null: each call makes a message. */
  readonly clientId: string | null;
  readonly text: string;
  readonly kind: string;
  readonly replyToId: string | null;
}

/** The message of a draft: made now, or by an earlier call with the same client id. */
export interface WrittenMessage {
  readonly messageId: string;
  /** As it was committed, to be answered without reading it again; null: made by an earlier call. */
  readonly row: MessageRow | null;
}

interface LockedConversation {
  readonly id: string;
  readonly kind: 'direct' | 'group';
  readonly pairLow: string | null;
  readonly pairHigh: string | null;
  readonly groupId: string | null;
  last: bigint;
}

/**
 * Writes messages: the one path for all of them, whatever door they come through. One transaction holds the message, its
 * mirror in the old table, the place of its conversation and its event.
 *
 * Takes the conversations' locks in the order of their ids, and that of the event log last.
 */
export class MessageWriter {
  private readonly users: { readonly table: string; readonly id: string };

  constructor(
    private readonly dialect: Dialect,
    { users }: LegacyMapping,
    private readonly sides: Sides,
  ) {
    this.users = { table: dialect.name(users.table), id: dialect.name(users.columns.id) };
  }

  /** To be run in one transaction, which nothing follows. */
  async write(
    transaction: Queryable,
    drafts: readonly MessageDraft[],
  ): Promise<Outcome<WrittenMessage>[]> {
    const conversations = await this.lock(transaction, drafts);
    const oldSide = await this.sides.open(transaction);
    const facts = await this.readFacts(transaction, drafts, conversations);
    const outcomes: (() => Outcome<WrittenMessage>)[] = [];
    const written: NewMessage[] = [];
    let now = facts.now;
    for (const draft of drafts) {
      const earlier = draft.clientId === null ? undefined : facts.earlier.get(clientKey(draft));
      if (earlier !== undefined) {
        outcomes.push(() => retried(draft, earlier));
        continue;
      }
      const conversation = conversations.get(draft.conversationId);
      const refusal = refusalOf(draft, conversation, facts);
      if (refusal !== null || conversation === undefined) {
        outcomes.push(() => ({ refusal: refusal ?? notFound(draft.conversationId) }));
        continue;
      }
      // Later than all before it, whatever the clock says.
      now = now > conversation.last ? now : conversation.last + 1n;
      conversation.last = now;
      const message: NewMessage = {
        id: '',
        draft,
        conversation,
        sentAt: String(now),
        digest: draft.clientId === null ? null : digestOf(draft),
      };
      now += 1n;
      written.push(message);
      outcomes.push(() => ({
        result: { messageId: message.id, row: rowOf(message, oldSide !== null) },
      }));
      if (draft.clientId !== null) facts.earlier.set(clientKey(draft), message);
    }
    if (written.length > 0) {
      const ids =
        oldSide === null
          ? await this.takeIds(transaction, written.length)
          : await this.addOldRows(transaction, oldSide, written);
      written.forEach((message, n) => {
        const id = ids[n];
        if (id === undefined) throw new Error('A message was given no id');
        message.id = id;
      });
      await this.finish(transaction, written, oldSide !== null, facts);
    }
    return outcomes.map((outcome) => outcome());
  }

  private async lock(
    transaction: Queryable,
    drafts: readonly MessageDraft[],
  ): Promise<Map<string, LockedConversation>> {
    const rows = await transaction.all<Omit<LockedConversation, 'last'> & { last: string }>(
      this.dialect.locked(
        `SELECT CAST(c.id AS text) AS id, c.kind, CAST(c.pair_low AS text) AS "pairLow", CAST(c.pair_high AS text) AS "pairHigh",
           CAST(c.legacy_group_id AS text) AS "groupId", CAST(c.last_position AS text) AS last
         FROM conversations c WHERE c.id IN (${this.dialect.idsIn('ids')}) ORDER BY c.id`,
      ),
      { ids: JSON.stringify([...new Set(drafts.map(({ conversationId }) => conversationId))]) },
    );
    return new Map(rows.map((row) => [row.id, { ...row, last: BigInt(row.last) }]));
  }

  private async readFacts(
    transaction: Queryable,
    drafts: readonly MessageDraft[],
    conversations: ReadonlyMap<string, LockedConversation>,
  ): Promise<Facts> {
    const { dialect } = this;
    const ids = JSON.stringify([...conversations.keys()]);
    const senders = JSON.stringify([...new Set(drafts.map(({ senderId }) => senderId))]);
    const participants = await transaction.all<{
      conversationId: string;
      userId: string;
      isVacant: boolean | number;
      hasWritten: boolean | number;
      now: string;
    }>(
      `SELECT CAST(p.conversation_id AS text) AS "conversationId", CAST(p.user_id AS text) AS "userId", p.vacant AS "isVacant",
         p.has_written AS "hasWritten", CAST(${dialect.now} AS text) AS now
       FROM conversation_participants p
       WHERE p.conversation_id IN (${dialect.idsIn('ids')}) AND (p.user_id IN (${dialect.idsIn('senders')}) OR p.vacant) AND p.left_at IS NULL`,
      { ids, senders },
    );
    const members = participants.filter(({ isVacant }) => !isVacant);
    const recipients = [...conversations.values()].flatMap(({ pairLow, pairHigh }) =>
      pairLow === null || pairHigh === null ? [] : [pairLow, pairHigh],
    );
    const accounts =
      recipients.length === 0
        ? []
        : await transaction.all<{ id: string }>(
            `SELECT CAST(u.${this.users.id} AS text) AS id FROM ${this.users.table} u WHERE u.${this.users.id} IN (${dialect.idsIn('recipients')})`,
            { recipients: JSON.stringify(recipients) },
          );
    const clientIds = drafts.flatMap(({ clientId }) => clientId ?? []);
    const earlier =
      clientIds.length === 0
        ? []
        : await transaction.all<{
            id: string;
            senderId: string;
            clientId: string;
            digest: string | null;
          }>(
            `SELECT CAST(e.id AS text) AS id, CAST(e.sender_id AS text) AS "senderId", e.client_id AS "clientId", e.client_digest AS digest
             FROM enhanced_messages e
             WHERE e.sender_id IN (${dialect.idsIn('senders')}) AND e.client_id IN (${dialect.textsIn('clientIds')}) AND e.client_id IS NOT NULL`,
            { senders, clientIds: JSON.stringify(clientIds) },
          );
    const replies = drafts.flatMap(({ replyToId }) => replyToId ?? []);
    const targets =
      replies.length === 0
        ? []
        : await transaction.all<{ id: string; conversationId: string; userId: string }>(
            `SELECT CAST(e.id AS text) AS id, CAST(e.conversation_id AS text) AS "conversationId", CAST(p.user_id AS text) AS "userId"
             FROM enhanced_messages e JOIN conversation_participants p ON p.conversation_id = e.conversation_id
             WHERE e.id IN (${dialect.idsIn('replies')}) AND e.removed_at IS NULL AND p.user_id IN (${dialect.idsIn('senders')}) AND NOT p.vacant
               AND (p.visible_from IS NULL OR e.position > p.visible_from)`,
            { replies: JSON.stringify(replies), senders },
          );
    return {
      members: new Set(members.map(keyOfMember)),
      writers: new Set(members.filter(({ hasWritten }) => Boolean(hasWritten)).map(keyOfMember)),
      vacancies: new Set(
        participants
          .filter(({ isVacant }) => Boolean(isVacant))
          .map(({ conversationId }) => conversationId),
      ),
      accounts: new Set(accounts.map(({ id }) => id)),
      earlier: new Map(
        earlier.map(({ id, digest, ...key }) => [clientKey(key), { id, digest: digest ?? '' }]),
      ),
      targets: new Set(
        targets.map(({ id, conversationId, userId }) => `${id} ${conversationId} ${userId}`),
      ),
      // Without a member nothing is written.
      now: BigInt(participants[0]?.now ?? 0),
    };
  }

  private async takeIds(transaction: Queryable, count: number): Promise<string[]> {
    const rows = await transaction.all<{ id: string }>(this.dialect.newMessageIds, { count });
    if (rows.length !== count) throw new Error('The database gave too few ids for messages');
    return rows.map(({ id }) => id);
  }

  /** Writes the mirrors of messages; returns their ids, which are the messages' too. */
  private async addOldRows(
    transaction: Queryable,
    oldSide: OldSide,
    written: readonly NewMessage[],
  ): Promise<string[]> {
    const ids = await oldSide.addMessages(
      transaction,
      written.map(({ draft, conversation, sentAt }) => {
        const { senderId, conversationId, text, kind } = draft;
        const { pairLow, pairHigh, groupId } = conversation;
        const isGroup = conversation.kind === 'group';
        return {
          senderId,
          recipientId: isGroup ? null : senderId === pairLow ? pairHigh : pairLow,
          groupId: isGroup ? groupId : null,
          conversationId,
          text,
          kind,
          sentAt,
        };
      }),
    );
    // The old app deleted the newest rows, and their numbers were given out again: what is left of those makes way.
    await transaction.run(
      `DELETE FROM enhanced_messages WHERE id IN (${this.dialect.idsIn('ids')}) AND removed_at IS NOT NULL`,
      { ids: JSON.stringify(ids) },
    );
    return ids;
  }

  /** The rows of our own, each table's at once, and last of all the events. */
  private async finish(
    transaction: Queryable,
    written: readonly NewMessage[],
    haveOldRows: boolean,
    { vacancies, writers }: Facts,
  ): Promise<void> {
    const { dialect } = this;
    await transaction.run(
      `INSERT INTO enhanced_messages (id, conversation_id, sender_id, legacy_message_id, client_id, client_digest, kind, text, sent_at, position, status, made_here, reply_to_id)
       SELECT k.id, k.conversation_id, k.sender_id, ${haveOldRows ? 'k.id' : 'NULL'}, k.client_id, k.digest, k.kind, k.text, k.sent_at, k.sent_at, ${STATUS_CODES.sent}, true, k.reply_to_id
       FROM (${dialect.rowsIn(
         'rows',
         ['id', 'conversation_id', 'sender_id', 'sent_at', 'reply_to_id'],
         ['client_id', 'digest', 'kind', 'text'],
       )}) AS k`,
      {
        rows: JSON.stringify(
          written.map(({ id, draft, sentAt, digest }) => ({
            id,
            conversation_id: draft.conversationId,
            sender_id: draft.senderId,
            sent_at: sentAt,
            reply_to_id: draft.replyToId,
            client_id: draft.clientId,
            digest,
            kind: draft.kind,
            text: draft.text,
          })),
        ),
      },
    );
    const last = new Map(written.map(({ draft, sentAt }) => [draft.conversationId, sentAt]));
    const entered: string[] = [];
    for (const id of last.keys())
      if (vacancies.has(id) && (await this.moveIn(transaction, id)) > 0) entered.push(id);
    await transaction.run(
      `UPDATE conversations SET last_position = k.position FROM (${dialect.rowsIn('rows', ['id', 'position'])}) AS k WHERE conversations.id = k.id`,
      { rows: JSON.stringify([...last].map(([id, position]) => ({ id, position }))) },
    );
    // What the old group queries ask for: who has written.
    const first = new Map(
      written
        .map(({ draft }) => [memberKey(draft), draft] as const)
        .filter(([key]) => !writers.has(key)),
    );
    if (first.size > 0)
      await transaction.run(
        `UPDATE conversation_participants SET has_written = true FROM (${dialect.rowsIn('rows', ['conversation_id', 'user_id'])}) AS k
         WHERE conversation_participants.conversation_id = k.conversation_id AND conversation_participants.user_id = k.user_id`,
        {
          rows: JSON.stringify(
            [...first.values()].map(({ conversationId, senderId }) => ({
              conversation_id: conversationId,
              user_id: senderId,
            })),
          ),
        },
      );
    await appendEvents(transaction, dialect, [
      ...entered.map((id): EventDraft => ({ kind: 'ConversationChanged', conversationId: id })),
      ...written.map(({ id, draft }): EventDraft => ({
        kind: 'MessageAdded',
        conversationId: draft.conversationId,
        messageId: id,
      })),
    ]);
  }

  /** Who has the id of somebody who is gone sees what is written to him; of a group, nothing that others write. */
  private moveIn(transaction: Queryable, id: string): Promise<number> {
    return transaction.run(
      moveInSql(this.dialect, this.users, `c.id = CAST(:id AS bigint) AND c.kind = 'direct'`),
      { id },
    );
  }
}

interface NewMessage {
  /** The old row's, where it has one; empty until it was given. */
  id: string;
  readonly draft: MessageDraft;
  readonly conversation: LockedConversation;
  readonly sentAt: string;
  readonly digest: string | null;
}

/** What the rules ask of some drafts. */
interface Facts {
  /** `conversation user`, of those who are members now. */
  readonly members: ReadonlySet<string>;
  /** Those of them who have written before. */
  readonly writers: ReadonlySet<string>;
  /** Conversations in which somebody's account is gone. */
  readonly vacancies: ReadonlySet<string>;
  readonly accounts: ReadonlySet<string>;
  /** By sender and client id. */
  readonly earlier: Map<string, { readonly id: string; readonly digest: string | null }>;
  /** `message conversation user`: what he may answer. */
  readonly targets: ReadonlySet<string>;
  readonly now: bigint;
}

/** What the statement that wrote it put into its columns. */
function rowOf({ id, draft, sentAt }: NewMessage, hasOldRow: boolean): MessageRow {
  const { conversationId, senderId, clientId, kind, text, replyToId } = draft;
  return {
    id,
    conversationId,
    senderId,
    legacyId: hasOldRow ? id : null,
    clientId,
    kind,
    text,
    sentAt,
    position: sentAt,
    status: STATUS_CODES.sent,
    replyToId,
    isRemoved: false,
  };
}

function keyOfMember({
  conversationId,
  userId,
}: {
  readonly conversationId: string;
  readonly userId: string;
}): string {
  return `${conversationId} ${userId}`;
}

function memberKey({ conversationId, senderId }: MessageDraft): string {
  return `${conversationId} ${senderId}`;
}

function clientKey({ senderId, clientId }: Pick<MessageDraft, 'senderId' | 'clientId'>): string {
  return `${senderId} ${clientId ?? ''}`;
}

/** What was sent, so that a retry can be told from another message for ever, whatever becomes of the first one's text. */
function digestOf({ conversationId, text, kind, replyToId }: MessageDraft): string {
  return createHash('sha256')
    .update(JSON.stringify([conversationId, kind, replyToId, text]))
    .digest('base64url');
}

function retried(
  draft: MessageDraft,
  earlier: { readonly id: string; readonly digest: string | null },
): Outcome<WrittenMessage> {
  if (earlier.digest === digestOf(draft)) return { result: { messageId: earlier.id, row: null } };
  return {
    refusal: new SegueError(
      'IDEMPOTENCY_CONFLICT',
      `clientId ${JSON.stringify(draft.clientId)} was used for ${globalId('Message', earlier.id)}, which says something else: give each message an id of its own, and a retry the same content.`,
    ),
  };
}

function refusalOf(
  draft: MessageDraft,
  conversation: LockedConversation | undefined,
  { members, accounts, targets }: Facts,
): SegueError | null {
  const { conversationId, senderId, replyToId } = draft;
  if (conversation === undefined || !members.has(memberKey(draft))) return notFound(conversationId);
  const { kind, pairLow, pairHigh } = conversation;
  const recipient = senderId === pairLow ? pairHigh : pairLow;
  if (kind === 'direct' && !accounts.has(recipient ?? ''))
    return new SegueError(
      'RECIPIENT_GONE',
      `${globalId('Conversation', conversationId)}: the other account does not exist any more. What was written stays readable.`,
    );
  if (replyToId !== null && !targets.has(`${replyToId} ${conversationId} ${senderId}`))
    return new SegueError(
      'NOT_FOUND',
      `replyToId ${globalId('Message', replyToId)} is no message of ${globalId('Conversation', conversationId)} that you may see.`,
    );
  return null;
}

function notFound(conversationId: string): SegueError {
  return new SegueError(
    'NOT_FOUND',
    `There is no conversation ${globalId('Conversation', conversationId)}, or you are no member of it.`,
  );
}

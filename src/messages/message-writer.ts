import { createHash } from 'node:crypto';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Queryable } from '../database/database.js';
import { moveInSql } from '../conversations/vacancy.js';
import { isDuplicate, TryAgain } from '../database/database-errors.js';
import type { Dialect } from '../database/dialect.js';
import { kept } from '../database/kept-statements.js';
import type { Outcome } from '../database/grouped-writes.js';
import { SegueError } from '../errors/segue-error.js';
import { appendEvents, type EventDraft } from '../events/event-log.js';
import { globalId } from '../graphql/global-ids.js';
import { OLD_KINDS, STATUS_CODES } from './enhanced-message.entities.js';
import type { MessageRow } from './message-reader.js';
import type { OldSide, Sides } from './old-side.js';

/** How far the times of a group's messages go ahead of the clock, in microseconds, where nothing but themselves pushes them. */
const MOMENT = 1_000n;

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
  /** What the rules ask, each as a JSON array: of the conversations, senders, client ids and answered messages of a group. */
  private readonly facts: Readonly<
    Record<'conversations' | 'participants' | 'accounts' | 'earlier' | 'targets', string>
  >;

  /** Whether the old app gives numbers out again: what is left of removed messages has to make way then. */
  private meetsLeftovers = false;

  constructor(
    private readonly dialect: Dialect,
    { users }: LegacyMapping,
    private readonly sides: Sides,
  ) {
    this.users = { table: dialect.name(users.table), id: dialect.name(users.columns.id) };
    const text = (value: string, name: string): string => `CAST(${value} AS text) AS "${name}"`;
    const conversations = dialect.idsIn('conversations');
    const isSender = (id: string): string => dialect.isAmong(id, dialect.idsIn('senders'));
    const isAskedFor = (id: string): string => dialect.isAmong(id, conversations);
    const person = `u.${this.users.id}`;
    this.facts = {
      conversations: dialect.jsonOf(
        `SELECT ${text('c.id', 'id')}, c.kind, ${text('c.pair_low', 'pairLow')}, ${text('c.pair_high', 'pairHigh')},
           ${text('c.legacy_group_id', 'groupId')}, ${text('c.last_position', 'last')}
         FROM conversations c WHERE ${isAskedFor('c.id')}`,
        ['id', 'kind', 'pairLow', 'pairHigh', 'groupId', 'last'],
      ),
      participants: dialect.jsonOf(
        `SELECT ${text('p.conversation_id', 'conversationId')}, ${text('p.user_id', 'userId')}, p.vacant AS "isVacant", p.has_written AS "hasWritten"
         FROM conversation_participants p
         WHERE ${isAskedFor('p.conversation_id')} AND (${isSender('p.user_id')} OR p.vacant) AND p.left_at IS NULL`,
        ['conversationId', 'userId', 'isVacant', 'hasWritten'],
      ),
      accounts: dialect.jsonOf(
        `SELECT ${text(person, 'id')} FROM ${this.users.table} u
         WHERE ${dialect.isAmong(
           person,
           `SELECT c.pair_low FROM conversations c WHERE ${isAskedFor('c.id')}
            UNION ALL SELECT c.pair_high FROM conversations c WHERE ${isAskedFor('c.id')}
            UNION ALL ${dialect.idsIn('senders')}`,
         )}`,
        ['id'],
      ),
      earlier: dialect.jsonOf(
        `SELECT ${text('e.id', 'id')}, ${text('e.sender_id', 'senderId')}, e.client_id AS "clientId", e.client_digest AS digest
         FROM enhanced_messages e
         WHERE ${isSender('e.sender_id')} AND ${dialect.isAmong('e.client_id', dialect.textsIn('clientIds'))} AND e.client_id IS NOT NULL`,
        ['id', 'senderId', 'clientId', 'digest'],
      ),
      targets: dialect.jsonOf(
        `SELECT ${text('e.id', 'id')}, ${text('e.conversation_id', 'conversationId')}, ${text('p.user_id', 'userId')}
         FROM enhanced_messages e JOIN conversation_participants p ON p.conversation_id = e.conversation_id
         WHERE ${dialect.isAmong('e.id', dialect.idsIn('replies'))} AND e.removed_at IS NULL AND ${isSender('p.user_id')} AND NOT p.vacant
           AND (p.visible_from IS NULL OR e.position > p.visible_from)`,
        ['id', 'conversationId', 'userId'],
      ),
    };
  }

  /** To be run in one transaction, which nothing follows. */
  async write(
    transaction: Queryable,
    drafts: readonly MessageDraft[],
  ): Promise<Outcome<WrittenMessage>[]> {
    await this.lock(transaction, drafts);
    const oldSide = await this.sides.open(transaction);
    const hasOldSide = oldSide !== null;
    let facts = await this.readFacts(transaction, drafts, oldSide);
    if (oldSide !== null && facts.gone.length > 0) {
      await oldSide.makeWay(transaction, facts.gone);
      facts = await this.readFacts(transaction, drafts, oldSide);
    }
    const { conversations } = facts;
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
      const isGroup = conversation.kind === 'group';
      const { pairLow, pairHigh, groupId } = conversation;
      const message: NewMessage = {
        id: '',
        draft,
        recipientId: isGroup ? null : draft.senderId === pairLow ? pairHigh : pairLow,
        groupId: isGroup ? groupId : null,
        sentAt: String(now),
        digest: draft.clientId === null ? null : digestOf(draft),
      };
      now += 1n;
      written.push(message);
      outcomes.push(() => ({
        result: { messageId: message.id, row: rowOf(message, hasOldSide) },
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
      await this.finish(transaction, written, oldSide, facts);
    }
    return outcomes.map((outcome) => outcome());
  }

  private async lock(transaction: Queryable, drafts: readonly MessageDraft[]): Promise<void> {
    const statements = this.dialect.locking(
      `SELECT c.id FROM conversations c WHERE ${this.dialect.isAmong('c.id', this.dialect.idsIn('conversations'))} ORDER BY c.id`,
    );
    for (const statement of statements)
      await transaction.all(kept(statement), {
        conversations: JSON.stringify(conversationsOf(drafts)),
      });
  }

  /** One statement: each has its way to the database, and the group waits for all of them. */
  private async readFacts(
    transaction: Queryable,
    drafts: readonly MessageDraft[],
    oldSide: OldSide | null,
  ): Promise<Facts> {
    const clientIds = drafts.flatMap(({ clientId }) => clientId ?? []);
    const replies = drafts.flatMap(({ replyToId }) => replyToId ?? []);
    const [row] = await transaction.all<
      Record<keyof typeof this.facts | 'gone' | 'now' | 'queueEnd', string>
    >(kept(this.factsOf(oldSide, clientIds.length > 0, replies.length > 0)), {
      conversations: JSON.stringify(conversationsOf(drafts)),
      senders: JSON.stringify([...new Set(drafts.map(({ senderId }) => senderId))]),
      clientIds: JSON.stringify(clientIds),
      replies: JSON.stringify(replies),
    });
    if (row === undefined) throw new Error('The database gave no facts');
    const read = <Row>(name: keyof typeof this.facts | 'gone'): Row[] =>
      JSON.parse(row[name]) as Row[];
    const participants = read<{
      conversationId: string;
      userId: string;
      isVacant: boolean | number;
      hasWritten: boolean | number;
    }>('participants');
    const members = participants.filter(({ isVacant }) => !isVacant);
    return {
      conversations: new Map(
        read<Omit<LockedConversation, 'last'> & { last: string }>('conversations').map(
          (conversation) => [conversation.id, { ...conversation, last: BigInt(conversation.last) }],
        ),
      ),
      members: new Set(members.map(keyOfMember)),
      writers: new Set(members.filter(({ hasWritten }) => Boolean(hasWritten)).map(keyOfMember)),
      vacancies: new Set(
        participants
          .filter(({ isVacant }) => Boolean(isVacant))
          .map(({ conversationId }) => conversationId),
      ),
      accounts: new Set(read<{ id: string }>('accounts').map(({ id }) => id)),
      earlier: new Map(
        read<{ id: string; senderId: string; clientId: string; digest: string | null }>(
          'earlier',
        ).map(({ id, digest, ...key }) => [clientKey(key), { id, digest: digest ?? '' }]),
      ),
      targets: new Set(
        read<{ id: string; conversationId: string; userId: string }>('targets').map(
          ({ id, conversationId, userId }) => `${id} ${conversationId} ${userId}`,
        ),
      ),
      gone: read<{ id: string }>('gone').map(({ id }) => id),
      now: BigInt(row.now),
      queueEnd: row.queueEnd,
    };
  }

  private factsOf(oldSide: OldSide | null, asksClientIds: boolean, asksReplies: boolean): string {
    const { facts, dialect } = this;
    return `SELECT ${oldSide?.gone ?? `'[]'`} AS gone, ${facts.conversations} AS conversations, ${facts.participants} AS participants, ${facts.accounts} AS accounts,
      ${asksClientIds ? facts.earlier : `'[]'`} AS earlier, ${asksReplies ? facts.targets : `'[]'`} AS targets,
      CAST(${dialect.now} AS text) AS now, (${oldSide === null ? `SELECT ''` : dialect.queueEnd}) AS "queueEnd"`;
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
      written.map(({ draft, recipientId, groupId, sentAt }) => {
        const { senderId, conversationId, text, kind } = draft;
        return { senderId, recipientId, groupId, conversationId, text, kind, sentAt };
      }),
    );
    if (this.meetsLeftovers)
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
    oldSide: OldSide | null,
    { vacancies, writers, accounts, now, queueEnd }: Facts,
  ): Promise<void> {
    const { dialect } = this;
    const last = new Map(written.map(({ draft, sentAt }) => [draft.conversationId, sentAt]));
    // What the old group queries ask for: who has written.
    const first = new Map(
      written
        .map(({ draft }) => [memberKey(draft), draft] as const)
        .filter(([key]) => !writers.has(key)),
    );
    const entered: string[] = [];
    for (const id of last.keys())
      if (vacancies.has(id) && (await this.moveIn(transaction, id)) > 0) entered.push(id);
    const parameters = {
      messages: JSON.stringify(
        written.map(({ id, draft, sentAt, digest, recipientId, groupId }) => ({
          id,
          conversation_id: draft.conversationId,
          sender_id: draft.senderId,
          recipient_id: recipientId,
          group_id: groupId,
          sent_at: sentAt,
          reply_to_id: draft.replyToId,
          client_id: draft.clientId,
          digest,
          kind: draft.kind,
          text: draft.text,
          plain:
            accounts.has(draft.senderId) &&
            OLD_KINDS.includes(draft.kind) &&
            BigInt(sentAt) <= now + MOMENT
              ? '1'
              : '0',
        })),
      ),
      queueEnd,
      positions: JSON.stringify([...last].map(([id, position]) => ({ id, position }))),
      firsts: JSON.stringify(
        [...first.values()].map(({ conversationId, senderId }) => ({
          conversation_id: conversationId,
          user_id: senderId,
        })),
      ),
    };
    const statements = dialect.atOnce([
      `INSERT INTO enhanced_messages (id, conversation_id, sender_id, legacy_message_id, client_id, client_digest, kind, text, sent_at, position, status, made_here, reply_to_id)
       SELECT k.id, k.conversation_id, k.sender_id, ${oldSide === null ? 'NULL' : 'k.id'}, k.client_id, k.digest, k.kind, k.text, k.sent_at, k.sent_at, ${STATUS_CODES.sent}, true, k.reply_to_id
       FROM (${dialect.rowsIn(
         'messages',
         ['id', 'conversation_id', 'sender_id', 'sent_at', 'reply_to_id'],
         ['client_id', 'digest', 'kind', 'text'],
       )}) AS k`,
      `UPDATE conversations SET last_position = k.position FROM (${dialect.rowsIn('positions', ['id', 'position'])}) AS k WHERE conversations.id = k.id`,
      ...(oldSide === null ? [] : [oldSide.takeEntries]),
      ...(first.size > 0
        ? [
            `UPDATE conversation_participants SET has_written = true FROM (${dialect.rowsIn('firsts', ['conversation_id', 'user_id'])}) AS k
             WHERE conversation_participants.conversation_id = k.conversation_id AND conversation_participants.user_id = k.user_id`,
          ]
        : []),
    ]);
    try {
      for (const statement of statements) await transaction.run(kept(statement), parameters);
    } catch (error) {
      if (this.meetsLeftovers || !isDuplicate(error)) throw error;
      this.meetsLeftovers = true;
      throw new TryAgain('A message was given the number of one that was removed', {
        cause: error,
      });
    }
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
  /** As the old table says it: one of the two is null. */
  readonly recipientId: string | null;
  readonly groupId: string | null;
  readonly sentAt: string;
  readonly digest: string | null;
}

/** What the rules ask of some drafts. */
interface Facts {
  readonly conversations: ReadonlyMap<string, LockedConversation>;
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
  /** Old rows behind the last one that there is: the old app has deleted them, and their numbers may be given out again. */
  readonly gone: readonly string[];
  readonly now: bigint;
  /** Where the queue of captured writes ended, before ours. */
  readonly queueEnd: string;
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

function conversationsOf(drafts: readonly MessageDraft[]): string[] {
  return [...new Set(drafts.map(({ conversationId }) => conversationId))];
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

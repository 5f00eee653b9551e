import { Injectable } from '@nestjs/common';
import type { Database, Queryable } from '../database/database.js';
import { tryAgain } from '../database/try-again.js';
import { isUnfit } from '../database/texts.js';
import { SegueError } from '../errors/segue-error.js';
import type { EventHub } from '../events/event-hub.js';
import {
  checkSize,
  type Connection,
  connectionOf,
  readKey,
  writeKey,
} from '../graphql/connections.js';
import { findDatabaseId, globalId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';
import { instantToDate } from '../graphql/scalars.js';
import type { ConversationReader, ConversationRow, ParticipantRow } from './conversation-reader.js';
import { type ConversationWriter, type GroupChange, MOST_MEMBERS } from './conversation-writer.js';
import {
  type Conversation,
  type ConversationFilter,
  ConversationKind,
  type CreateGroupInput,
  HistoryState,
  type Participant,
  ParticipantRole,
} from './conversation.types.js';

const MOST_NAME = 200;
const MOST_URL = 2_000;
const MOST_CLIENT_ID = 64;

/** Conversations of signed-in people. */
@Injectable()
export class ConversationsService {
  constructor(
    private readonly database: Database,
    private readonly reader: ConversationReader,
    private readonly writer: ConversationWriter,
    private readonly hub: EventHub,
  ) {}

  /** By its global id; null when it does not exist, or not for this person. */
  async find(loaders: Loaders, viewerId: string, id: string): Promise<Conversation | null> {
    const key = findDatabaseId('Conversation', id);
    if (key === null) return null;
    const row = await this.reader.find(loaders, viewerId, key);
    return row === null ? null : present(row);
  }

  /** By the database's id, which its caller knows to be the person's. */
  async get(loaders: Loaders, viewerId: string, key: string): Promise<Conversation> {
    const row = await this.reader.find(loaders, viewerId, key);
    if (row === null) throw notFound(globalId('Conversation', key));
    return present(row);
  }

  /** By its global id, after a write that found it. @throws SegueError NOT_FOUND when it was taken from him since. */
  async require(loaders: Loaders, viewerId: string, id: string): Promise<Conversation> {
    const conversation = await this.find(loaders, viewerId, id);
    if (conversation === null) throw notFound(id);
    return conversation;
  }

  async findDirect(
    loaders: Loaders,
    viewerId: string,
    userId: string,
  ): Promise<Conversation | null> {
    const peer = findDatabaseId('User', userId);
    const key = peer === null ? null : await this.reader.findDirect(viewerId, peer);
    return key === null ? null : this.find(loaders, viewerId, globalId('Conversation', key));
  }

  /** The person's conversations, the one with the latest activity first. */
  async list(
    viewerId: string,
    { first, after, filter }: ListArguments,
  ): Promise<Connection<Conversation>> {
    const size = checkSize('first', first);
    const key = after == null ? null : readKey(after, 2);
    if (after != null && key === null)
      throw new SegueError(
        'BAD_USER_INPUT',
        `after is ${JSON.stringify(after)}, which is no cursor of this list: it takes one that an answer gave.`,
      );
    // Nothing can be archived so far.
    if (filter?.archived === true)
      return connectionOf({ size, direction: 'forward' }, [], false, edgeOf);
    const [position, id] = key ?? [];
    const from = position === undefined || id === undefined ? null : ([position, id] as const);
    const rows = await this.reader.list(viewerId, filter ?? {}, from, size + 1);
    return connectionOf({ size, direction: 'forward' }, rows, from !== null, edgeOf);
  }

  /** Its members; who has left is not told who is in it by now. */
  async members(loaders: Loaders, row: ConversationRow): Promise<readonly ParticipantRow[]> {
    return row.leftAt === null ? this.reader.members(loaders, row.id) : [];
  }

  async participants(
    loaders: Loaders,
    row: ConversationRow,
    { first, after }: { first?: number | null | undefined; after?: string | null | undefined },
  ): Promise<Connection<Participant>> {
    const size = checkSize('first', first);
    const members = await this.members(loaders, row);
    const key = after == null ? null : readKey(after, 2);
    if (after != null && key === null)
      throw new SegueError(
        'BAD_USER_INPUT',
        `after is ${JSON.stringify(after)}, which is no cursor of this list: it takes one that an answer gave.`,
      );
    const isAfter = ({ joinedAt, userId }: ParticipantRow): boolean => {
      const [joined = '0', user = '0'] = key ?? [];
      const own = BigInt(joinedAt ?? 0);
      return own === BigInt(joined) ? BigInt(userId) > BigInt(user) : own > BigInt(joined);
    };
    const rest = key === null ? members : members.filter(isAfter);
    return connectionOf(
      { size, direction: 'forward' },
      rest.slice(0, size + 1),
      rest.length < members.length,
      (member) => ({
        cursor: writeKey(member.joinedAt ?? '0', member.userId),
        node: presentParticipant(member),
      }),
    );
  }

  async startDirect(viewerId: string, userId: string): Promise<string> {
    const peer = findDatabaseId('User', userId);
    if (peer === null) throw new SegueError('NOT_FOUND', `There is no account ${userId}.`);
    return this.write((transaction) => this.writer.startDirect(transaction, viewerId, peer));
  }

  async createGroup(viewerId: string, input: CreateGroupInput): Promise<string> {
    const userIds = usersOf('participantIds', input.participantIds);
    if (userIds.length >= MOST_MEMBERS)
      throw new SegueError(
        'BAD_USER_INPUT',
        `participantIds has ${userIds.length} people: a group takes ${MOST_MEMBERS} with its maker.`,
      );
    const draft = {
      name: checkText('name', input.name, MOST_NAME),
      avatarUrl: checkText('avatarUrl', input.avatarUrl, MOST_URL),
      clientId: checkText('clientId', input.clientId, MOST_CLIENT_ID),
      userIds,
    };
    return this.write((transaction) => this.writer.createGroup(transaction, viewerId, draft));
  }

  async updateGroup(viewerId: string, id: string, change: GroupChange): Promise<void> {
    const key = keyOf(id);
    const checked: GroupChange = {
      ...(change.name === undefined ? {} : { name: checkText('name', change.name, MOST_NAME) }),
      ...(change.avatarUrl === undefined
        ? {}
        : { avatarUrl: checkText('avatarUrl', change.avatarUrl, MOST_URL) }),
    };
    await this.write((transaction) => this.writer.updateGroup(transaction, viewerId, key, checked));
  }

  async addParticipants(viewerId: string, id: string, userIds: readonly string[]): Promise<void> {
    const [key, users] = [keyOf(id), usersOf('userIds', userIds)];
    await this.write((transaction) =>
      this.writer.addParticipants(transaction, viewerId, key, users),
    );
  }

  async removeParticipant(viewerId: string, id: string, userId: string): Promise<void> {
    const key = keyOf(id);
    const [user = '0'] = usersOf('userId', [userId]);
    await this.write((transaction) =>
      this.writer.removeParticipant(transaction, viewerId, key, user),
    );
  }

  async leave(viewerId: string, id: string): Promise<void> {
    const key = keyOf(id);
    await this.write((transaction) => this.writer.leave(transaction, viewerId, key));
  }

  async markUnread(viewerId: string, id: string): Promise<void> {
    const key = keyOf(id);
    await this.write((transaction) => this.writer.markUnread(transaction, viewerId, key));
  }

  private async write<Result>(work: (transaction: Queryable) => Promise<Result>): Promise<Result> {
    const result = await tryAgain(() => this.database.transaction(work));
    this.hub.wake();
    return result;
  }
}

export interface ListArguments {
  readonly first?: number | null | undefined;
  readonly after?: string | null | undefined;
  readonly filter?: ConversationFilter | null | undefined;
}

function edgeOf(row: ConversationRow): { cursor: string; node: Conversation } {
  return { cursor: writeKey(row.lastPosition, row.id), node: present(row) };
}

function present(row: ConversationRow): Conversation {
  return {
    id: globalId('Conversation', row.id),
    kind: row.kind === 'group' ? ConversationKind.GROUP : ConversationKind.DIRECT,
    name: row.name,
    avatarUrl: row.avatarUrl,
    createdAt: instantToDate(row.createdAt),
    // Who has left is not told what came later.
    lastActivityAt: instantToDate(row.visibleTo ?? row.lastPosition),
    isMarkedUnread: row.isMarkedUnread,
    // New clients are served when all rows were copied.
    historyState: HistoryState.COMPLETE,
    row,
  };
}

export function presentParticipant(row: ParticipantRow): Participant {
  return {
    id: globalId('Participant', `${row.conversationId}_${row.userId}`),
    role: row.role === 'admin' ? ParticipantRole.ADMIN : ParticipantRole.MEMBER,
    joinedAt: instantToDate(row.joinedAt ?? 0),
    lastReadMessageId: messageOrNull(row.readMessageId),
    lastReadAt: row.readAt === null ? null : instantToDate(row.readAt),
    lastDeliveredMessageId: messageOrNull(row.deliveredMessageId),
    lastDeliveredAt: row.deliveredAt === null ? null : instantToDate(row.deliveredAt),
    row,
  };
}

function messageOrNull(id: string | null): string | null {
  return id === null ? null : globalId('Message', id);
}

/** @throws SegueError NOT_FOUND: what is no id of a conversation names none. */
function keyOf(id: string): string {
  const key = findDatabaseId('Conversation', id);
  if (key === null) throw notFound(id);
  return key;
}

function notFound(id: string): SegueError {
  return new SegueError('NOT_FOUND', `There is no conversation ${id}, or you are no member of it.`);
}

function usersOf(name: string, ids: readonly string[]): string[] {
  return ids.map((id) => {
    const key = findDatabaseId('User', id);
    if (key === null)
      throw new SegueError('NOT_FOUND', `${name}: there is no account ${JSON.stringify(id)}.`);
    return key;
  });
}

/** @throws SegueError BAD_USER_INPUT for a text that is too long, or that PostgreSQL could not hold. */
function checkText(name: string, text: string | null | undefined, most: number): string | null {
  if (text == null || text === '') return null;
  if (text.length > most)
    throw new SegueError(
      'BAD_USER_INPUT',
      `${name} has ${text.length} characters: it takes ${most}.`,
    );
  if (isUnfit(text))
    throw new SegueError(
      'BAD_USER_INPUT',
      `${name} has a NUL or half of a surrogate pair in it: leave that out.`,
    );
  return text;
}

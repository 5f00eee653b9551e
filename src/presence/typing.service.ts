import { Injectable } from '@nestjs/common';
import type { ConversationReader, ConversationRow } from '../conversations/conversation-reader.js';
import { SegueError } from '../errors/segue-error.js';
import type { Topic } from '../events/bus.js';
import type { EventHub } from '../events/event-hub.js';
import { findDatabaseId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';

/** For how long somebody counts as typing after he last said so, in ms. */
export const TYPING_MS = 6_000;

interface Typist {
  expiresAt: Date;
  readonly timer: NodeJS.Timeout;
}

/** What processes tell each other of typing: each time that somebody says it, since it expires in each of them. */
export interface TypingMessage {
  readonly conversationId: string;
  readonly userId: string;
  readonly typing: boolean;
}

/**
 * Who types where: known to the processes on the database alone, and for no longer than 6 s. A keystroke costs no write and
 * no event; that somebody begins or ends is told to the members who listen.
 */
@Injectable()
export class TypingService {
  /** By conversation and person, as the database names them. */
  private readonly typists = new Map<string, Map<string, Typist>>();

  /** @param topic null where there is one process */
  constructor(
    private readonly conversations: ConversationReader,
    private readonly hub: EventHub,
    private readonly topic: Topic<TypingMessage> | null = null,
    private readonly lastsMs = TYPING_MS,
  ) {
    topic?.follow(({ conversationId, userId, typing }, node) => {
      if (node === topic.node) return;
      if (typing) this.note(conversationId, userId);
      else this.forget(conversationId, userId);
    });
  }

  /**
   * Says that somebody types, which has to be said again before it expires, or that he does not any more.
   * @param id the conversation's global id
   * @returns when it expires; null when he does not type
   * @throws SegueError NOT_FOUND for a conversation that he is no member of.
   */
  async set(
    loaders: Loaders,
    viewerId: string,
    id: string,
    isTyping: boolean,
  ): Promise<Date | null> {
    const key = findDatabaseId('Conversation', id);
    const row = key === null ? null : await this.conversations.find(loaders, viewerId, key);
    if (row?.leftAt !== null)
      throw new SegueError(
        'NOT_FOUND',
        `There is no conversation ${id}, or you are no member of it.`,
      );
    if (isTyping) {
      void this.topic?.say({ conversationId: row.id, userId: viewerId, typing: true });
      return this.note(row.id, viewerId);
    }
    this.end(row.id, viewerId);
    return null;
  }

  /** Who types in a conversation, as its viewer may know: other members, to members. */
  async seenBy(loaders: Loaders, { id, viewerId, leftAt }: ConversationRow): Promise<string[]> {
    const there = this.typists.get(id);
    if (there === undefined || leftAt !== null) return [];
    // Asked only where somebody types: one who was removed meanwhile does not type here.
    const members = await this.conversations.members(loaders, id);
    return members
      .filter(({ userId, isVacant }) => !isVacant && userId !== viewerId && there.has(userId))
      .map(({ userId }) => userId);
  }

  /** He does not type any more: he said so, or has sent what he typed. */
  end(conversationId: string, userId: string): void {
    if (this.forget(conversationId, userId))
      void this.topic?.say({ conversationId, userId, typing: false });
  }

  /** @returns when it expires */
  private note(conversationId: string, userId: string): Date {
    const expiresAt = new Date(Date.now() + this.lastsMs);
    const there = this.typists.get(conversationId) ?? new Map<string, Typist>();
    this.typists.set(conversationId, there);
    const known = there.get(userId);
    if (known !== undefined) {
      known.expiresAt = expiresAt;
      known.timer.refresh();
      return expiresAt;
    }
    const timer = setTimeout(() => {
      this.forget(conversationId, userId);
    }, this.lastsMs);
    timer.unref();
    there.set(userId, { expiresAt, timer });
    this.tell(conversationId, userId, true);
    return expiresAt;
  }

  /** @returns whether he was typing, as far as is known here */
  private forget(conversationId: string, userId: string): boolean {
    const there = this.typists.get(conversationId);
    const typist = there?.get(userId);
    if (there === undefined || typist === undefined) return false;
    clearTimeout(typist.timer);
    there.delete(userId);
    if (there.size === 0) this.typists.delete(conversationId);
    this.tell(conversationId, userId, false);
    return true;
  }

  private tell(conversationId: string, userId: string, typing: boolean): void {
    this.hub.tell({ kind: 'TypingChanged', conversationId, userId, typing });
  }
}

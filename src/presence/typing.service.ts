import { Injectable } from '@nestjs/common';
import type { ConversationReader, ConversationRow } from '../conversations/conversation-reader.js';
import { SegueError } from '../errors/segue-error.js';
import type { EventHub } from '../events/event-hub.js';
import { findDatabaseId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';

/** For how long somebody counts as typing after he last said so, in ms. */
export const TYPING_MS = 6_000;

interface Typist {
  expiresAt: Date;
  readonly timer: NodeJS.Timeout;
}

/**
 * Who types where: known to this process alone, and for no longer than 6 s. A keystroke costs no write and no event; that
 * somebody begins or ends is told to the members who listen.
 */
@Injectable()
export class TypingService {
  /** By conversation and person, as the database names them. */
  private readonly typists = new Map<string, Map<string, Typist>>();

  constructor(
    private readonly conversations: ConversationReader,
    private readonly hub: EventHub,
    private readonly lastsMs = TYPING_MS,
  ) {}

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
    if (isTyping) return this.begin(row.id, viewerId);
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

  /** He does not type any more: he said so, has sent what he typed, or has said nothing for a while. */
  end(conversationId: string, userId: string): void {
    const there = this.typists.get(conversationId);
    const typist = there?.get(userId);
    if (there === undefined || typist === undefined) return;
    clearTimeout(typist.timer);
    there.delete(userId);
    if (there.size === 0) this.typists.delete(conversationId);
    this.tell(conversationId, userId, false);
  }

  private begin(conversationId: string, userId: string): Date {
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
      this.end(conversationId, userId);
    }, this.lastsMs);
    timer.unref();
    there.set(userId, { expiresAt, timer });
    this.tell(conversationId, userId, true);
    return expiresAt;
  }

  private tell(conversationId: string, userId: string, typing: boolean): void {
    this.hub.tell({ kind: 'TypingChanged', conversationId, userId, typing });
  }
}

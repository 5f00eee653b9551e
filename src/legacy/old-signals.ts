import { setTimeout as sleep } from 'node:timers/promises';
import type { ConversationReader } from '../conversations/conversation-reader.js';
import type { Database } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import type { Delivery, EventHub } from '../events/event-hub.js';
import type { LoggedEvent } from '../events/event-log.js';
import type { Signal } from '../events/signals.js';
import { globalId } from '../graphql/global-ids.js';
import { Loaders } from '../graphql/loaders.js';
import { mapped } from '../graphql/mapped.js';
import { STATUS_CODES } from '../messages/enhanced-message.entities.js';
import type { ServedSides } from '../messages/old-side.js';
import type { PresenceService } from '../presence/presence.service.js';
import type { TypingService } from '../presence/typing.service.js';
import type { Account } from '../users/users.service.js';
import type { OldPresence, OldStatus, OldTyping } from './old-realtime.js';

/** The most messages that one receipt is told of, the newest: a client asks for older ones when it shows them. */
const MOST_STATUSES = 200;

/** How often it is looked whether there is an event log by now, in ms. */
const LOOK_MS = 1_000;

export type OldSignal =
  | { readonly event: 'message_status'; readonly told: OldStatus }
  | { readonly event: 'typing'; readonly told: OldTyping }
  | { readonly event: 'presence'; readonly told: OldPresence };

/** Exactly one of them says who is meant. */
export interface OldPeer {
  readonly recipientId: number | null;
  readonly groupId: number | null;
}

export interface OldSignalsParts {
  readonly database: Database;
  readonly hub: EventHub;
  readonly conversations: ConversationReader;
  readonly typing: TypingService;
  readonly presences: PresenceService;
  readonly servedSides: () => Promise<ServedSides>;
}

/** Receipts, typing and presence in the words of the old app: by the numbers of its rows, its groups and its people. */
export class OldSignals {
  private readonly covered: string;
  private readonly changed: string;

  constructor(private readonly parts: OldSignalsParts) {
    this.covered = `SELECT CAST(e.legacy_message_id AS text) AS "messageId", CAST(r.user_id AS text) AS "userId", r.status, CAST(r.at AS text) AS at
      FROM message_status r JOIN enhanced_messages e ON e.conversation_id = r.conversation_id
        AND (e.position, e.id) <= (r.through_position, r.through_message_id)
      WHERE r.id = CAST(:id AS bigint) AND r.user_id <> CAST(:me AS bigint) AND e.sender_id = CAST(:me AS bigint)
        AND e.legacy_message_id IS NOT NULL AND (r.visible_from IS NULL OR r.visible_from < e.position)
        AND NOT EXISTS (SELECT 1 FROM message_status b WHERE b.conversation_id = r.conversation_id AND b.user_id = r.user_id
          AND b.status >= r.status AND b.id < r.id
          AND (b.through_position, b.through_message_id) >= (e.position, e.id))
      ORDER BY e.position DESC, e.id DESC LIMIT ${MOST_STATUSES}`;
    this.changed = `SELECT CAST(e.legacy_message_id AS text) AS "messageId",
        CAST(CASE WHEN c.pair_low = e.sender_id THEN c.pair_high ELSE c.pair_low END AS text) AS "userId", e.status, CAST(:at AS text) AS at
      FROM enhanced_messages e JOIN conversations c ON c.id = e.conversation_id
      WHERE e.id = CAST(:id AS bigint) AND e.sender_id = CAST(:me AS bigint) AND c.kind = 'direct'
        AND e.legacy_message_id IS NOT NULL AND e.removed_at IS NULL AND e.status > ${STATUS_CODES.sent}`;
  }

  /**
   * What a person is told, from now on; while the changeover has no events, from when there are some.
   * @param stopping ends the waiting for that
   */
  async follow(viewer: Account, stopping: AbortSignal): Promise<AsyncIterableIterator<OldSignal>> {
    const { hub, servedSides } = this.parts;
    while ((await servedSides()) === 'old')
      await sleep(LOOK_MS, undefined, { signal: stopping, ref: false });
    const deliveries = await hub.subscribe(viewer.id, null);
    const signals = mapped(deliveries, (delivery) => this.tell(viewer, delivery));
    return flattened(signals);
  }

  /** @throws SegueError NOT_FOUND where there is no such conversation; NOT_EXPANDED before there are any. */
  async setTyping(viewer: Account, peer: OldPeer, isTyping: boolean): Promise<void> {
    if ((await this.parts.servedSides()) === 'old')
      throw new SegueError(
        'NOT_EXPANDED',
        'Nobody can be told who types before the changeover is at BACKFILLED.',
      );
    const conversation = await this.find(viewer, peer);
    if (conversation === null)
      throw new SegueError(
        'NOT_FOUND',
        `There is no conversation with recipientId ${String(peer.recipientId)}, groupId ${String(peer.groupId)}: nothing was written in it yet, or you are no member.`,
      );
    await this.parts.typing.set(
      new Loaders(),
      viewer.id,
      globalId('Conversation', conversation),
      isTyping,
    );
  }

  private async find(viewer: Account, { recipientId, groupId }: OldPeer): Promise<string | null> {
    if ((recipientId === null) === (groupId === null))
      throw new SegueError(
        'BAD_USER_INPUT',
        `recipientId is ${String(recipientId)} and groupId is ${String(groupId)}: exactly one of them says who is meant.`,
      );
    if (recipientId !== null)
      return this.parts.conversations.findDirect(viewer.id, String(recipientId));
    const [group] = await this.parts.database.reader.all<{ id: string }>(
      'SELECT CAST(id AS text) AS id FROM conversations WHERE legacy_group_id = CAST(:groupId AS bigint)',
      { groupId: String(groupId) },
    );
    return group?.id ?? null;
  }

  private tell(viewer: Account, delivery: Delivery): Promise<OldSignal[] | null> | null {
    if ('signal' in delivery) return this.tellSignal(viewer, delivery.signal);
    return 'event' in delivery ? this.tellEvent(viewer, delivery.event) : null;
  }

  private async tellEvent(
    { id: me }: Account,
    { kind, messageId, subjectId, at }: LoggedEvent,
  ): Promise<OldSignal[] | null> {
    const { reader } = this.parts.database;
    if (kind !== 'ReceiptUpdated' && kind !== 'MessageChanged') return null;
    const rows = await reader.all<{
      messageId: string;
      userId: string;
      status: number;
      at: string;
    }>(
      kind === 'ReceiptUpdated' ? this.covered : this.changed,
      kind === 'ReceiptUpdated' ? { id: subjectId, me } : { id: messageId, me, at },
    );
    return rows.reverse().map((row) => ({
      event: 'message_status',
      told: {
        messageId: Number(row.messageId),
        userId: Number(row.userId),
        status: row.status >= STATUS_CODES.read ? 'read' : 'delivered',
        timestamp: new Date(Math.floor(Number(row.at) / 1_000)).toISOString(),
      },
    }));
  }

  private async tellSignal(viewer: Account, signal: Signal): Promise<OldSignal[] | null> {
    const loaders = new Loaders();
    if (signal.kind === 'PresenceUpdated') {
      const presence = await this.parts.presences.findToTell(loaders, viewer.id, signal.userId);
      if (presence === null) return null;
      const told = {
        userId: Number(signal.userId),
        status: presence.status.toLowerCase(),
        lastSeen: presence.lastSeenAt?.toISOString() ?? null,
      };
      return [{ event: 'presence', told }];
    }
    const [conversation] = await this.parts.database.reader.all<{ groupId: string | null }>(
      'SELECT CAST(legacy_group_id AS text) AS "groupId" FROM conversations WHERE id = CAST(:id AS bigint)',
      { id: signal.conversationId },
    );
    if (conversation === undefined) return null;
    const { groupId } = conversation;
    const told = {
      userId: Number(signal.userId),
      recipientId: groupId === null ? Number(viewer.id) : null,
      groupId: groupId === null ? null : Number(groupId),
      typing: signal.typing,
    };
    return [{ event: 'typing', told }];
  }
}

/** One by one; ended, it ends its source. */
function flattened<Item>(source: AsyncIterableIterator<Item[]>): AsyncIterableIterator<Item> {
  const items = (async function* () {
    for await (const some of source) yield* some;
  })();
  return {
    next: () => items.next(),
    return: async () => {
      await source.return?.();
      return items.return();
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

import { Injectable } from '@nestjs/common';
import { isUnfit } from '../database/texts.js';
import { SegueError } from '../errors/segue-error.js';
import type { Topic } from '../events/bus.js';
import type { EventHub } from '../events/event-hub.js';
import { findDatabaseId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';
import { instantToDate } from '../graphql/scalars.js';
import type { GraphQLContext } from '../auth/viewer.js';
import type { UserLookup } from '../users/user-lookup.js';
import type { User } from '../users/user.type.js';
import type { LastSeenPrivacy } from './last-seen-privacy.js';
import type { PresenceStore } from './presence-store.js';
import { type Presence, PresenceStatus } from './presence.types.js';
import { type Change, Roster, type RosterMessage } from './roster.js';

const MOST_ASKED = 100;
const MOST_CUSTOM = 100;

/** Who is there, and who may know that. */
@Injectable()
export class PresenceService {
  readonly roster: Roster;
  private hasBegun = false;
  private readonly sockets = new Map<string, string>();

  constructor(
    readonly store: PresenceStore,
    private readonly users: UserLookup,
    private readonly privacy: LastSeenPrivacy,
    private readonly hub: EventHub,
    /** To other processes. */
    topic: Topic<RosterMessage> | null = null,
  ) {
    this.roster = new Roster(
      (change) => {
        this.note(change);
      },
      { topic },
    );
  }

  /** Nobody is there yet in this process, whatever one that was killed has left. */
  async begin(): Promise<void> {
    this.roster.start();
    await this.flush();
  }

  /** Writes down who came and went, and tells the other processes then. What could not be written waits on. */
  async flush(): Promise<void> {
    if (!this.hasBegun && this.roster.hasGathered) {
      await this.store.begin(this.roster.isAlone ? null : this.roster.userIds);
      this.hasBegun = true;
    }
    await this.roster.tell(() => this.store.flush());
  }

  /**
   * What a person wants to be shown as. Without a connection it holds for a minute.
   * @throws SegueError BAD_USER_INPUT.
   */
  say(userId: string, status: PresenceStatus, customStatus: string | null | undefined): void {
    if (customStatus != null && customStatus.length > MOST_CUSTOM)
      throw new SegueError(
        'BAD_USER_INPUT',
        `customStatus has ${customStatus.length} characters: it takes ${MOST_CUSTOM}.`,
      );
    if (customStatus != null && isUnfit(customStatus))
      throw new SegueError(
        'BAD_USER_INPUT',
        'customStatus has a NUL or half of a surrogate pair in it: leave that out.',
      );
    this.roster.say(userId, status, customStatus !== undefined);
    if (customStatus !== undefined)
      this.store.put(userId, { status, customStatus: customStatus === '' ? null : customStatus });
  }

  /**
   * The presence of some people; those whom there are not are left out.
   * @throws SegueError BAD_USER_INPUT for more than 100.
   */
  async of(loaders: Loaders, viewerId: string, userIds: readonly string[]): Promise<Presence[]> {
    const users = await Promise.all(keysOf(userIds).map((key) => this.users.find(key, loaders)));
    return Promise.all(
      users.filter((user) => user !== null).map((user) => this.present(loaders, viewerId, user)),
    );
  }

  /** As the viewer of an operation may see it. */
  async presentTo({ viewer, loaders }: GraphQLContext, user: User): Promise<Presence> {
    return viewer === undefined ? hiddenOf(user) : this.present(loaders, (await viewer).id, user);
  }

  async present(loaders: Loaders, viewerId: string, user: User): Promise<Presence> {
    return (await this.findShown(loaders, viewerId, user)) ?? hiddenOf(user);
  }

  /** By the database's key; null for an account that is gone, and for whom it hides itself from. */
  async findToTell(loaders: Loaders, viewerId: string, key: string): Promise<Presence | null> {
    const user = await this.users.find(key, loaders);
    return user === null ? null : this.findShown(loaders, viewerId, user);
  }

  private async findShown(
    loaders: Loaders,
    viewerId: string,
    user: User,
  ): Promise<Presence | null> {
    const viewer = await this.users.find(viewerId, loaders);
    if (viewer === null || !(await loaders.of(this.privacy.allows).load({ viewer, user })))
      return null;
    const status = this.roster.statusOf(user.key);
    const { lastSeenAt, customStatus } = await loaders.of(this.store.byUser).load(user.key);
    return {
      user,
      status,
      lastSeenAt:
        status === PresenceStatus.OFFLINE && lastSeenAt !== null ? instantToDate(lastSeenAt) : null,
      customStatus,
    };
  }

  /**
   * A connection of the old app's realtime client began, whose id old apps look for in its person's account: the last one's.
   * @returns to be called when it has ended
   */
  arriveBySocket(userId: string, socketId: string): () => void {
    const leave = this.roster.arrive(userId);
    this.sockets.set(userId, socketId);
    this.store.put(userId, { status: this.roster.statusOf(userId), socket: { came: socketId } });
    return () => {
      leave();
      if (this.sockets.get(userId) !== socketId) return;
      this.sockets.delete(userId);
      this.store.put(userId, { status: this.roster.statusOf(userId), socket: { left: socketId } });
    };
  }

  /** Nobody is there any more, since the server ends; resolves when that is written down, and told. */
  async end(): Promise<void> {
    this.roster.leaveAll();
    try {
      await this.flush();
    } finally {
      this.roster.stop();
    }
  }

  private note({ userId, status, by }: Change): void {
    // What another process has seen, it writes.
    if (by === 'here') this.store.put(userId, { status });
    else if (by === 'nobody')
      this.store.put(userId, {
        status,
        ...(status === PresenceStatus.OFFLINE ? { socket: 'none' as const } : {}),
      });
    else if (by === 'again') this.store.put(userId, { status, ...this.socketOf(userId) });
    if (by !== 'again') this.hub.tell({ kind: 'PresenceUpdated', userId });
  }

  private socketOf(userId: string): { socket?: { came: string } } {
    const came = this.sockets.get(userId);
    return came === undefined ? {} : { socket: { came } };
  }
}

function hiddenOf(user: User): Presence {
  return { user, status: PresenceStatus.OFFLINE, lastSeenAt: null, customStatus: null };
}

/** @throws SegueError BAD_USER_INPUT for more than 100. */
export function keysOf(userIds: readonly string[]): string[] {
  if (userIds.length > MOST_ASKED)
    throw new SegueError(
      'BAD_USER_INPUT',
      `userIds has ${userIds.length} people: it takes ${MOST_ASKED}.`,
    );
  return [...new Set(userIds.flatMap((id) => findDatabaseId('User', id) ?? []))];
}

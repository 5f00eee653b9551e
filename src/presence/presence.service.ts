import { Injectable } from '@nestjs/common';
import { isUnfit } from '../database/texts.js';
import { SegueError } from '../errors/segue-error.js';
import type { EventHub } from '../events/event-hub.js';
import { findDatabaseId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';
import { instantToDate } from '../graphql/scalars.js';
import type { GraphQLContext } from '../auth/viewer.js';
import type { UserLookup } from '../users/user-lookup.js';
import type { User } from '../users/user.type.js';
import { Attendance, type Change } from './attendance.js';
import type { LastSeenPrivacy } from './last-seen-privacy.js';
import type { PresenceStore } from './presence-store.js';
import { type Presence, PresenceStatus } from './presence.types.js';

const MOST_ASKED = 100;
const MOST_CUSTOM = 100;

/** Who is there, and who may know that. */
@Injectable()
export class PresenceService {
  readonly attendance: Attendance;
  private readonly sockets = new Map<string, string>();

  constructor(
    readonly store: PresenceStore,
    private readonly users: UserLookup,
    private readonly privacy: LastSeenPrivacy,
    private readonly hub: EventHub,
  ) {
    this.attendance = new Attendance((change) => {
      this.note(change);
    });
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
    const isSame = this.attendance.statusOf(userId) === status;
    this.attendance.say(userId, status);
    if (customStatus === undefined) return;
    this.store.put(userId, { status, customStatus: customStatus === '' ? null : customStatus });
    if (isSame) this.hub.tell({ kind: 'PresenceUpdated', userId });
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
    const status = this.attendance.statusOf(user.key);
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
    const leave = this.attendance.arrive(userId);
    const note = (id: string | null): void => {
      this.store.put(userId, { status: this.attendance.statusOf(userId), socketId: id });
    };
    this.sockets.set(userId, socketId);
    note(socketId);
    return () => {
      leave();
      if (this.sockets.get(userId) !== socketId) return;
      this.sockets.delete(userId);
      note(null);
    };
  }

  /** Nobody is there any more, since the server ends; resolves when that is written down. */
  async end(): Promise<void> {
    this.attendance.leaveAll();
    await this.store.flush();
  }

  private note({ userId, status }: Change): void {
    this.store.put(userId, { status });
    this.hub.tell({ kind: 'PresenceUpdated', userId });
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

import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database, Queryable } from '../database/database.js';
import type { Sides } from '../messages/old-side.js';
import type { Batch } from '../graphql/loaders.js';
import type { PresenceStatus } from './presence.types.js';

/** The most people of one transaction. */
const MOST_TOGETHER = 200;

/** How long ago who came has been told of by his process, in ms. */
const MOMENT_MS = 1_000n;

/** What is kept of somebody's presence. An instant is text. */
export interface StoredPresence {
  readonly lastSeenAt: string | null;
  readonly customStatus: string | null;
}

const NEVER: StoredPresence = { lastSeenAt: null, customStatus: null };

/** What has changed; what is left out stays. */
interface Draft {
  readonly status: PresenceStatus;
  readonly customStatus?: string | null;
  /** Of the old app's realtime client: one that came, one that left, or that there is none on any process. */
  readonly socket?: { readonly came: string } | { readonly left: string } | 'none';
}

/** A draft with those before it. */
interface Waiting {
  readonly status: PresenceStatus;
  readonly customStatus?: string | null;
  /** What it becomes; undefined: it stays, where it is none of those that left. */
  readonly socketId: string | null | undefined;
  readonly leftSockets: readonly string[];
  readonly at: string;
}

/** What there is to write to. */
export interface PresencePlaces {
  /** False while new clients are not served: there is no table for it. */
  isServed(): Promise<boolean>;
  /** Whether the old table of accounts has our columns, and no trigger of the old app's that would act on a write. */
  keepsLastSeen(): Promise<boolean>;
  readonly sides: Sides;
}

/**
 * Keeps who was there when: in `user_presence`, and in `users.last_seen` and `users.socket_id` as an old app would look for it. Written in the
 * background, many people at a time, when somebody comes, goes, or is shown as something else; what waits is lost with the
 * process, and so is who was there: `begin` says that nobody is.
 */
export class PresenceStore {
  private readonly waiting = new Map<string, Waiting>();
  private readonly users: Readonly<Record<'table' | 'id' | 'lastSeen' | 'socketId', string>>;

  constructor(
    private readonly database: Database,
    { users }: LegacyMapping,
    private readonly places: PresencePlaces,
  ) {
    const { dialect } = database;
    this.users = {
      table: dialect.name(users.table),
      id: dialect.name(users.columns.id),
      lastSeen: dialect.name(users.columns.lastSeen),
      socketId: dialect.name(users.columns.socketId),
    };
  }

  /** To be written soon, by `flush`. */
  put(userId: string, { socket, ...draft }: Draft): void {
    const before = this.waiting.get(userId);
    let { socketId, leftSockets = [] }: Partial<Waiting> = before ?? {};
    if (socket === 'none') socketId = null;
    else if (socket !== undefined && 'came' in socket) socketId = socket.came;
    else if (socket !== undefined) {
      if (socketId === socket.left) socketId = undefined;
      leftSockets = [...leftSockets, socket.left];
    }
    this.waiting.set(userId, {
      ...before,
      ...draft,
      socketId,
      leftSockets,
      at: String(BigInt(Date.now()) * 1_000n),
    });
  }

  /** By the database's key of the person. For `Loaders.of`. */
  readonly byUser: Batch<string, StoredPresence> = async (keys) => {
    const { dialect, reader } = this.database;
    if (!(await this.places.isServed())) return keys.map(() => NEVER);
    const rows = await reader.all<StoredPresence & { readonly userId: string }>(
      `SELECT CAST(user_id AS text) AS "userId", CAST(last_seen_at AS text) AS "lastSeenAt", custom_status AS "customStatus"
       FROM user_presence WHERE user_id IN (${dialect.idsIn('keys')})`,
      { keys: JSON.stringify(keys) },
    );
    const found = new Map(rows.map((row) => [row.userId, row]));
    return keys.map((key) => {
      const draft = this.waiting.get(key);
      const stored = found.get(key);
      return {
        lastSeenAt: draft?.at ?? stored?.lastSeenAt ?? null,
        customStatus:
          draft?.customStatus === undefined ? (stored?.customStatus ?? null) : draft.customStatus,
      };
    });
  };

  /**
   * Nobody is there, whatever a process that was killed has left; but for those who are there in other processes, and who
   * came a moment ago, of whom they may not have told yet.
   * @param elsewhere null where there is no other process
   */
  async begin(elsewhere: readonly string[] | null): Promise<void> {
    if (!(await this.places.isServed())) return;
    const keepsSockets = await this.places.keepsLastSeen();
    const { dialect } = this.database;
    const { table, id, socketId } = this.users;
    const given = { elsewhere: JSON.stringify(elsewhere ?? []) };
    const moment = elsewhere === null ? 0n : MOMENT_MS;
    const isElsewhere = (column: string): string => `${column} IN (${dialect.idsIn('elsewhere')})`;
    await this.database.transaction(async (transaction) => {
      await transaction.run(
        `UPDATE user_presence SET status = 'OFFLINE' WHERE status <> 'OFFLINE' AND NOT ${isElsewhere('user_id')}
           AND (last_seen_at IS NULL OR last_seen_at <= CAST(:before AS bigint))`,
        { ...given, before: String((BigInt(Date.now()) - moment) * 1_000n) },
      );
      if (keepsSockets)
        await transaction.run(
          `UPDATE ${table} SET ${socketId} = NULL WHERE ${socketId} IS NOT NULL AND NOT ${isElsewhere(id)}
             AND NOT EXISTS (SELECT 1 FROM user_presence p WHERE p.user_id = ${table}.${id} AND p.status <> 'OFFLINE')`,
          given,
        );
    });
  }

  /** Writes what waits. What could not be written waits on. */
  async flush(): Promise<void> {
    while (this.waiting.size > 0) {
      if (!(await this.places.isServed())) {
        this.waiting.clear();
        return;
      }
      const keepsLastSeen = await this.places.keepsLastSeen();
      const some = [...this.waiting].slice(0, MOST_TOGETHER);
      await this.database.transaction(async (transaction) => {
        for (const [userId, draft] of some) await this.keep(transaction, userId, draft);
        // Asked now that a rollback would have to wait: behind it, nothing of ours may come into the old table.
        await this.places.sides.open(transaction);
        if (keepsLastSeen)
          for (const [userId, draft] of some) await this.keepForOldApps(transaction, userId, draft);
      });
      // Of whom something has changed since, more waits than was written.
      for (const [userId, draft] of some)
        if (this.waiting.get(userId) === draft) this.waiting.delete(userId);
    }
  }

  private async keep(
    transaction: Queryable,
    userId: string,
    { status, customStatus, at }: Waiting,
  ): Promise<void> {
    const given = {
      userId,
      status,
      at,
      customStatus: customStatus ?? null,
      setsCustom: customStatus !== undefined,
    };
    await transaction.run(
      `INSERT INTO user_presence (user_id, status, custom_status, last_seen_at)
       VALUES (CAST(:userId AS bigint), CAST(:status AS text), CAST(:customStatus AS text), CAST(:at AS bigint))
       ON CONFLICT (user_id) DO UPDATE SET status = excluded.status, last_seen_at = excluded.last_seen_at,
         custom_status = CASE WHEN :setsCustom THEN excluded.custom_status ELSE user_presence.custom_status END`,
      given,
    );
  }

  private async keepForOldApps(
    transaction: Queryable,
    userId: string,
    { at, socketId, leftSockets }: Waiting,
  ): Promise<void> {
    const { table, id, ...columns } = this.users;
    const { dialect } = this.database;
    await transaction.run(
      `UPDATE ${table} SET ${columns.lastSeen} = ${dialect.legacyTime('CAST(:at AS bigint)')},
         ${columns.socketId} = CASE WHEN :setsSocket THEN CAST(:socketId AS text)
           WHEN ${columns.socketId} IN (${dialect.rowsIn('left', [], ['socket'])}) THEN NULL ELSE ${columns.socketId} END
       WHERE ${id} = CAST(:userId AS bigint)`,
      {
        userId,
        at,
        socketId: socketId ?? null,
        setsSocket: socketId !== undefined,
        left: JSON.stringify(leftSockets.map((socket) => ({ socket }))),
      },
    );
  }
}

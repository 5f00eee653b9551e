import { Injectable } from '@nestjs/common';
import DataLoader from 'dataloader';
import type { Database, Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import type { Account, UsersService } from '../users/users.service.js';
import { newFamily, readRefreshToken, type RefreshToken, rotated } from './refresh-token.js';

/** How long a refresh token is good for, in seconds: each use begins anew. */
export const REFRESH_SECONDS = 90 * 86_400;

/** How long a client whose answer was lost may show the token before the last one, in seconds. */
const LOST_ANSWER_SECONDS = 30;

/** How many dead sessions are swept with each new one. */
const SWEPT = 100;

/** Whether the database has tables of ours. Told by whoever knows the changeover. */
export type IsExpanded = () => Promise<boolean>;

/** A person with a session, and the token by which it goes on. */
export interface OpenSession {
  readonly account: Account;
  readonly refresh: RefreshToken;
}

interface Row {
  readonly userId: string;
  readonly phone: string;
  readonly deviceId: string | null;
  readonly refreshHash: string;
  readonly previousHash: string | null;
  readonly isAlive: boolean | number;
  readonly isFresh: boolean | number;
}

/** Keeps who is signed in. A session that ended has no row. */
@Injectable()
export class SessionsService {
  private readonly owners = new DataLoader((ids: readonly string[]) => this.findOwners(ids), {
    cache: false,
  });

  constructor(
    private readonly database: Database,
    private readonly users: UsersService,
    private readonly isExpanded: IsExpanded,
  ) {}

  /** @throws SegueError NOT_EXPANDED where there are no tables to keep sessions in. */
  async checkExpanded(): Promise<void> {
    if (!(await this.isExpanded()))
      throw new SegueError(
        'NOT_EXPANDED',
        "Signing in needs tables that this database does not have yet: an operator runs 'segue expand' or 'segue migrate'. Tokens of the old app and of 'segue token' are taken meanwhile.",
      );
  }

  /** Whether nobody has ended a session of this person's, and it has not run out. Who asks at the same time asks together. */
  async isOpen(sessionId: string, userId: string): Promise<boolean> {
    return (await this.owners.load(sessionId)) === userId;
  }

  /** Whose these sessions are; null where they have ended. */
  private async findOwners(sessionIds: readonly string[]): Promise<(string | null)[]> {
    const { dialect, reader } = this.database;
    try {
      const rows = await reader.all<{ id: string; userId: string }>(
        `SELECT id, CAST(user_id AS text) AS "userId" FROM sign_in_sessions
         WHERE id IN (${dialect.textsIn('sessionIds')}) AND expires_at > ${dialect.now}`,
        { sessionIds: JSON.stringify(sessionIds) },
      );
      const byId = new Map(rows.map(({ id, userId }) => [id, userId]));
      return sessionIds.map((id) => byId.get(id) ?? null);
    } catch (error) {
      // A purge took the sessions away with all the rest.
      if (await this.isExpanded()) throw error;
      return sessionIds.map(() => null);
    }
  }

  /** Opens a session; one that the same device had ends. */
  async open(
    transaction: Queryable,
    account: Account,
    deviceId: string | null,
  ): Promise<OpenSession> {
    const { dialect } = this.database;
    if (deviceId !== null)
      await transaction.run(
        'DELETE FROM sign_in_sessions WHERE user_id = CAST(:userId AS bigint) AND device_id = CAST(:deviceId AS bigint)',
        { userId: account.id, deviceId },
      );
    const dead = dialect.unlocked(
      `SELECT id FROM sign_in_sessions WHERE expires_at < ${dialect.now} LIMIT ${SWEPT}`,
    );
    await transaction.run(`DELETE FROM sign_in_sessions WHERE id IN (${dead})`);
    const refresh = newFamily();
    await transaction.run(
      `INSERT INTO sign_in_sessions (id, user_id, phone, device_id, refresh_hash, rotated_at, expires_at)
       VALUES (:id, CAST(:userId AS bigint), :phone, CAST(:deviceId AS bigint), :hash, ${dialect.now}, ${this.expiry})`,
      {
        id: refresh.sessionId,
        userId: account.id,
        phone: account.phone,
        deviceId,
        hash: refresh.hash,
      },
    );
    return { account, refresh };
  }

  /**
   * Lets a session go on with a new token. An old one that is shown again was stolen, or the last one was: the session
   * ends, for both. But the one before the last may be shown by a client whose answer was lost, for 30 s, as long as
   * nobody has used the last one.
   * @throws SegueError UNAUTHENTICATED; NOT_EXPANDED.
   */
  async refresh(token: string, touch: TouchDevice): Promise<OpenSession> {
    await this.checkExpanded();
    const shown = readRefreshToken(token);
    // What failed is told after the commit, or the end of a session would be rolled back.
    const session = await this.database.transaction((transaction) =>
      this.rotate(transaction, shown, touch),
    );
    if (session === null)
      throw new SegueError(
        'UNAUTHENTICATED',
        'The refresh token is not valid, has run out, or was used before, which ends its session: sign in again.',
      );
    return session;
  }

  /** Ends a session; whether there was one. */
  async end(sessionId: string): Promise<boolean> {
    await this.checkExpanded();
    return this.database.transaction((transaction) => end(transaction, sessionId));
  }

  private async rotate(
    transaction: Queryable,
    shown: RefreshToken,
    touch: TouchDevice,
  ): Promise<OpenSession | null> {
    const { sessionId } = shown;
    const row = await this.lock(transaction, sessionId);
    if (row === null) return null;
    const account = await this.users.findIn(transaction, row.userId);
    const isCurrent = row.refreshHash === shown.hash;
    const isLostAnswer = row.previousHash === shown.hash && Boolean(row.isFresh);
    if (account?.phone !== row.phone || !row.isAlive || !(isCurrent || isLostAnswer)) {
      await end(transaction, sessionId);
      return null;
    }
    const refresh = rotated(shown);
    const { dialect } = this.database;
    // The 30 s count from the first rotation, however often the answer is lost.
    await transaction.run(
      `UPDATE sign_in_sessions SET refresh_hash = :hash, expires_at = ${this.expiry}
         ${isCurrent ? `, previous_hash = refresh_hash, rotated_at = ${dialect.now}` : ''} WHERE id = :sessionId`,
      { hash: refresh.hash, sessionId },
    );
    if (row.deviceId !== null) await touch(transaction, row.deviceId);
    return { account, refresh };
  }

  /** The session, which nobody else changes until the transaction ends; null when there is none. */
  private async lock(transaction: Queryable, sessionId: string): Promise<Row | null> {
    const { now } = this.database.dialect;
    // An update that changes nothing holds the row on PostgreSQL; SQLite's lock is the transaction's own.
    await transaction.run('UPDATE sign_in_sessions SET id = id WHERE id = :sessionId', {
      sessionId,
    });
    const [row] = await transaction.all<Row>(
      `SELECT CAST(user_id AS text) AS "userId", phone, CAST(device_id AS text) AS "deviceId",
         refresh_hash AS "refreshHash", previous_hash AS "previousHash", expires_at > ${now} AS "isAlive",
         rotated_at > ${now} - ${LOST_ANSWER_SECONDS}000000 AS "isFresh"
       FROM sign_in_sessions WHERE id = :sessionId`,
      { sessionId },
    );
    return row ?? null;
  }

  private get expiry(): string {
    return `${this.database.dialect.now} + ${REFRESH_SECONDS}000000`;
  }
}

/** Notes that a device was used. */
type TouchDevice = (transaction: Queryable, deviceId: string) => Promise<void>;

async function end(transaction: Queryable, sessionId: string): Promise<boolean> {
  const ended = await transaction.run('DELETE FROM sign_in_sessions WHERE id = :sessionId', {
    sessionId,
  });
  return ended > 0;
}

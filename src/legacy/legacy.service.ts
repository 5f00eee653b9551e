import { Injectable } from '@nestjs/common';
import type { Database, Parameters } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import type { Account } from '../users/users.service.js';
import type { LegacyMessage } from './legacy-message.type.js';
import type { LegacyRow, LegacySql } from './legacy-sql.js';

/** The most rows that one call gives. */
const MOST_ROWS = 1_000;

const LEAST_INT = -(2 ** 31);
const MOST_INT = 2 ** 31 - 1;

/** An old query that was answered: what was asked, and the rows that were found. */
export interface AskedOldQuery {
  readonly userId: string;
  readonly operation: keyof LegacySql;
  readonly parameters: Parameters;
  /** The statements that it was to be answered by. */
  readonly sql: LegacySql;
  readonly rows: readonly object[];
}

/** Answers the old API's queries, each person's from the side that his statements read. */
@Injectable()
export class LegacyService {
  constructor(
    private readonly database: Database,
    /** By the person's id, as the database names him. */
    private readonly sqlFor: (userId: string) => LegacySql | Promise<LegacySql>,
    /** Told of each query once it is answered; it must not throw. */
    private readonly onAnswered: (asked: AskedOldQuery) => void = () => undefined,
  ) {}

  /** The newest `limit` rows between two people after skipping the newest `offset`, oldest first. */
  async messages(
    viewer: Account,
    userId: number,
    peerId: number,
    limit: number | null,
    offset: number | null,
  ): Promise<LegacyMessage[]> {
    checkSelf(viewer, userId);
    return this.page(viewer, 'messages', { peer: String(peerId) }, limit, offset);
  }

  /** As `messages`, of a group; nothing for those who never wrote in it. */
  async groupMessages(
    viewer: Account,
    groupId: number,
    limit: number | null,
    offset: number | null,
  ): Promise<LegacyMessage[]> {
    return this.page(viewer, 'groupMessages', { group: String(groupId) }, limit, offset);
  }

  /** The row, for its sender, its recipient or a writer of its group; null for others, as if it were not there. */
  async message(viewer: Account, id: number): Promise<LegacyMessage | null> {
    const [row] = await this.rows<LegacyRow>(viewer, 'message', { id: String(id) });
    return row === undefined ? null : present(row);
  }

  /** A row that has just come, where the person may see it and it is not his own; one that the old API cannot say is left out. */
  async findNew(viewer: Account, id: string): Promise<LegacyMessage | null> {
    const [row] = await this.rows<LegacyRow>(viewer, 'message', { id });
    if (row === undefined || row.sender_id === viewer.id) return null;
    try {
      return present(row);
    } catch (error) {
      // One id beyond 32 bits must not end the subscription for all that follows.
      if (error instanceof SegueError && error.code === 'LEGACY_ID_OUT_OF_RANGE') return null;
      throw error;
    }
  }

  /** The newest row of each thread, newest first. */
  async recentMessages(viewer: Account, userId: number): Promise<LegacyMessage[]> {
    checkSelf(viewer, userId);
    const rows = await this.rows<LegacyRow>(viewer, 'recentMessages');
    return rows.map(present);
  }

  async unreadCount(viewer: Account, userId: number): Promise<number> {
    checkSelf(viewer, userId);
    const [row] = await this.rows<{ count: number | string }>(viewer, 'unreadCount');
    return Number(row?.count ?? 0);
  }

  private async page(
    viewer: Account,
    operation: 'messages' | 'groupMessages',
    of: Record<string, string>,
    limit: number | null,
    offset: number | null,
  ): Promise<LegacyMessage[]> {
    const rows = await this.rows<LegacyRow>(viewer, operation, {
      ...of,
      limit: checkWithin('limit', limit ?? 50, MOST_ROWS),
      offset: checkWithin('offset', offset ?? 0, MOST_INT),
    });
    return rows.map(present).reverse();
  }

  private async rows<Row extends object>(
    { id: userId }: Account,
    operation: keyof LegacySql,
    of: Parameters = {},
  ): Promise<Row[]> {
    const sql = await this.sqlFor(userId);
    const parameters = { me: userId, ...of };
    const rows = await this.database.reader.all<Row>(sql[operation], parameters);
    this.onAnswered({ userId, operation, parameters, sql, rows });
    return rows;
  }
}

/** The old API takes the caller's own id as an argument: any other one is refused, existing or not. */
export function checkSelf(viewer: Account, userId: number): void {
  if (String(userId) !== viewer.id)
    throw new SegueError(
      'FORBIDDEN',
      `userId is ${userId}, and the token belongs to ${viewer.id}: people may only ask for themselves.`,
    );
}

function checkWithin(name: string, value: number, most: number): number {
  if (value < 0 || value > most)
    throw new SegueError('BAD_USER_INPUT', `${name} is ${value}: it takes 0 to ${most}.`);
  return value;
}

function present(row: LegacyRow): LegacyMessage {
  return {
    id: toInt('id', row.id),
    sender_id: toInt('sender_id', row.sender_id),
    recipient_id: toIntOrNull('recipient_id', row.recipient_id),
    group_id: toIntOrNull('group_id', row.group_id),
    content: toText(row.content),
    type: row.type,
    status: row.status,
    created_at: row.created_at,
  };
}

/** Null for what is no whole number: '' and the like name nobody. */
function toIntOrNull(column: string, text: string | null): number | null {
  return text !== null && /^-?\d+$/.test(text) ? toInt(column, text) : null;
}

function toInt(column: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < LEAST_INT || value > MOST_INT)
    throw new SegueError(
      'LEGACY_ID_OUT_OF_RANGE',
      `${column} is ${text}, which does not fit the old API's 32-bit Int: ask for it with the new API.`,
    );
  return value;
}

/** Bytes that are no text are shown with U+FFFD; what is stored stays as it is. */
function toText(content: LegacyRow['content']): string | null {
  if (content === null) return null;
  return Buffer.isBuffer(content) ? content.toString('utf8') : String(content);
}

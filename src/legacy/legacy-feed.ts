import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { explainDatabaseError } from '../database/database-errors.js';
import { LOWEST_ID } from '../database/ids.js';
import type { EventHub } from '../events/event-hub.js';
import type { ServedSides } from '../messages/old-side.js';
import { mapped } from '../graphql/mapped.js';
import type { Account } from '../users/users.service.js';
import type { LegacyMessage } from './legacy-message.type.js';
import { isDirect, ME } from './legacy-sql.js';
import { checkSelf, type LegacyService } from './legacy.service.js';
import { oldRows } from './old-rows.js';

/** How often the old table is looked at while there is no event log to follow, in ms. */
const LOOK_MS = 500;

/** Rows that are read at a time, the newest first. */
const LOOKED_AT = 200;

export interface LegacyFeedParts {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly reads: LegacyService;
  readonly hub: EventHub;
  readonly servedSides: () => Promise<ServedSides>;
}

/**
 * The old API's subscription: each new row that its query for one row would give the caller, but for his own. It follows the
 * event log; as long as the changeover has none, it looks at the old table. It begins when it is asked for, and what comes
 * while nobody listens is missed, as it always was.
 */
@Injectable()
export class LegacyFeed {
  private readonly newest: string;

  constructor(private readonly parts: LegacyFeedParts) {
    const { dialect } = parts.database;
    const rows = oldRows(dialect, parts.mapping);
    const [m, w] = [rows.of('m'), rows.of('w')];
    this.newest = `SELECT CAST(m.${rows.names.id} AS text) AS "legacyId" FROM ${rows.table} m
      WHERE ${m.id} > CAST(:after AS bigint) AND ${m.senderId} <> ${ME}
        AND (${m.recipientId} = ${ME} OR (NOT ${isDirect(dialect, m)} AND EXISTS (SELECT 1 FROM ${rows.table} w
          WHERE ${w.groupId} = ${m.groupId} AND ${w.senderId} = ${ME})))
      ORDER BY ${m.id} DESC LIMIT ${LOOKED_AT}`;
  }

  /** @throws SegueError FORBIDDEN for another person than the caller. */
  async follow(
    viewer: Account,
    userId: number,
  ): Promise<AsyncIterable<{ newMessage: LegacyMessage }>> {
    checkSelf(viewer, userId);
    const messages =
      (await this.parts.servedSides()) === 'old'
        ? await this.fromTable(viewer)
        : await this.fromLog(viewer);
    return mapped(messages, (message) => ({ newMessage: message }));
  }

  private async fromLog(viewer: Account): Promise<AsyncIterableIterator<LegacyMessage>> {
    const deliveries = await this.parts.hub.subscribe(viewer.id, null);
    const { reads } = this.parts;
    return mapped(deliveries, (delivery) =>
      !('event' in delivery) || delivery.event.kind !== 'MessageAdded'
        ? null
        : // A message with an old row has its number.
          reads.findNew(viewer, delivery.event.messageId ?? '0'),
    );
  }

  /** Rows that are committed out of the order of their numbers are found by looking a little way back. */
  private async fromTable(viewer: Account): Promise<AsyncIterableIterator<LegacyMessage>> {
    const { servedSides, reads, database } = this.parts;
    const look = async (): Promise<string[]> => {
      const rows = await database.reader.all<{ legacyId: string }>(this.newest, {
        me: viewer.id,
        after: LOWEST_ID,
      });
      return rows.map(({ legacyId }) => legacyId);
    };
    let seen = new Set(await look());
    const fromLog = (): Promise<AsyncIterable<LegacyMessage>> => this.fromLog(viewer);
    return (async function* () {
      for (;;) {
        await sleep(LOOK_MS);
        try {
          // Before the last look, so that nothing falls between the two.
          const log = (await servedSides()) === 'old' ? null : await fromLog();
          const now = await look();
          for (const id of now.filter((one) => !seen.has(one)).reverse()) {
            const message = await reads.findNew(viewer, id);
            if (message !== null) yield message;
          }
          seen = new Set(now);
          if (log !== null) {
            yield* log;
            return;
          }
        } catch (error) {
          if (explainDatabaseError(error) === null) throw error;
        }
      }
    })();
  }
}

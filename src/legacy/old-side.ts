import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Dialect } from '../database/dialect.js';
import {
  columnsOf,
  GROUP,
  ID,
  isBetweenPair,
  isDirect,
  isUnread,
  type LegacySql,
  ME,
  newestFirst,
  newestOfEachThread,
  page,
  threadOf,
} from './legacy-sql.js';
import { oldRows } from './old-rows.js';

/**
 * The old clients' queries on the old table, as the old app's own server ran them: each reads all of it. A group 0 is
 * none: where an old app writes it into every one-to-one row, its "writers" are everybody.
 */
export function oldSideSql(dialect: Dialect, mapping: LegacyMapping): LegacySql {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const w = rows.of('w');
  const where = (condition: string, extra = ''): string =>
    `SELECT ${columnsOf(dialect, m)}${extra} FROM ${rows.table} m WHERE ${condition}`;
  const wroteIn = (group: string): string =>
    `EXISTS (SELECT 1 FROM ${rows.table} w WHERE ${w.groupId} = ${group} AND ${w.senderId} = ${ME})`;
  const isMine = `(${m.senderId} = ${ME} OR ${m.recipientId} = ${ME})`;
  const myGroups = `SELECT ${w.groupId} FROM ${rows.table} w WHERE ${w.senderId} = ${ME}`;
  return {
    messages: page(where(isBetweenPair(m))),
    groupMessages: page(where(`${m.groupId} = ${GROUP} AND ${GROUP} <> 0 AND ${wroteIn(GROUP)}`)),
    message: newestFirst(
      where(
        `${m.id} = ${ID} AND (${isMine} OR (NOT ${isDirect(dialect, m)} AND ${wroteIn(m.groupId)}))`,
      ),
    ),
    recentMessages: newestOfEachThread(
      where(
        `(${isDirect(dialect, m)} AND ${isMine}) OR (NOT ${isDirect(dialect, m)} AND ${m.groupId} IN (${myGroups}))`,
        `, ${threadOf(dialect, m)} AS thread`,
      ),
    ),
    unreadCount: `SELECT count(*) AS count FROM ${rows.table} m WHERE ${m.recipientId} = ${ME} AND ${isUnread(m.status)}`,
  };
}

import { isDeepStrictEqual } from 'node:util';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database, Parameters } from '../../src/database/database.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { show } from './cells.js';
import { readOldRows } from './contents.js';

/** Whose old queries are asked, and about what. */
export interface Questions {
  readonly callers: readonly bigint[];
  readonly peers: readonly bigint[];
  readonly groups: readonly bigint[];
}

/**
 * Asks all old queries of both sides, in SQL, and gives what was answered differently. The service is left out, since
 * ids beyond 32 bits make it refuse on both sides.
 */
export async function differingAnswers(
  database: Database,
  { callers, peers, groups }: Questions,
): Promise<string[]> {
  const { dialect, reader } = database;
  const [old, copied] = [
    oldSideSql(dialect, DEFAULT_MAPPING),
    newSideSql(dialect, DEFAULT_MAPPING, true),
  ];
  const ids = (await readOldRows(reader, dialect.engine)).map(({ id }) => show(id));
  const found: string[] = [];
  const ask = async (query: keyof typeof old, parameters: Parameters): Promise<void> => {
    const [before, after] = [
      await reader.all(old[query], parameters),
      await reader.all(copied[query], parameters),
    ];
    if (!isDeepStrictEqual(after, before))
      found.push(
        `${query} ${JSON.stringify(parameters)}: ${JSON.stringify(after)}, and from the old side ${JSON.stringify(before)}`,
      );
  };
  for (const me of callers.map(String)) {
    for (const peer of peers.map(String)) {
      await ask('messages', { me, peer, limit: 1_000, offset: 0 });
      await ask('messages', { me, peer, limit: 2, offset: 1 });
    }
    for (const group of groups.map(String)) {
      await ask('groupMessages', { me, group, limit: 1_000, offset: 0 });
      await ask('groupMessages', { me, group, limit: 2, offset: 1 });
    }
    for (const id of ids) await ask('message', { me, id });
    await ask('recentMessages', { me });
    await ask('unreadCount', { me });
  }
  return found;
}

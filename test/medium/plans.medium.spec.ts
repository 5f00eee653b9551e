import { beforeAll, describe, expect, it } from '@jest/globals';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { LegacySql } from '../../src/legacy/legacy-sql.js';
import { newSideSql } from '../../src/legacy/new-side.js';
import { oldSideSql } from '../../src/legacy/old-side.js';
import { ENGINES } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

const VALUES = { me: '1', peer: '2', group: '1', id: '7', limit: 50, offset: 0 };

describe.each(ENGINES)('the new side on %s', (engine) => {
  let database: Database;

  beforeAll(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 4_000 }));
    await migrate(database);
    if (engine === 'postgres')
      await database.session(async (session) => {
        await session.run('ANALYZE');
      });
  });

  /** The tables that a statement reads from end to end. */
  async function scansOf(statement: string): Promise<string[]> {
    const rows = await database.session(async (session) => {
      // A table of this size may well be read whole: what counts is that it need not be.
      if (engine === 'postgres') await session.run('SET enable_seqscan = off');
      return session.all<Record<string, unknown>>(
        `${engine === 'sqlite' ? 'EXPLAIN QUERY PLAN' : 'EXPLAIN'} ${statement}`,
        Object.fromEntries(
          Object.entries(VALUES).filter(([name]) => new RegExp(`:${name}\\b`).test(statement)),
        ),
      );
    });
    const lines = rows.map((row) => String(row.detail ?? row['QUERY PLAN']));
    // SQLite also scans what a part of the statement gave, under that part's name.
    const parts = lines.flatMap(
      (line) => /^(?:CO-ROUTINE|MATERIALIZE) (\w+)/.exec(line)?.[1] ?? [],
    );
    return lines.flatMap((line) => {
      const table = /(?:^SCAN |Seq Scan on )("?\w+"?)/.exec(line)?.[1];
      return table === undefined || parts.includes(table) ? [] : [table.replaceAll('"', '')];
    });
  }

  const OF_TABLES =
    /^(messages|enhanced_messages|conversations|conversation_participants|changeover_quarantine|[mecnqpdgw])$/;

  it('answers each old query by index alone, whatever the size of the tables', async () => {
    const statements = newSideSql(database.dialect, DEFAULT_MAPPING, true);
    for (const [query, statement] of Object.entries(statements) as [keyof LegacySql, string][])
      expect({
        query,
        scans: (await scansOf(statement)).filter((table) => OF_TABLES.test(table)),
      }).toEqual({ query, scans: [] });
  });

  it('is compared with an old side that reads its whole table', async () => {
    const { messages } = oldSideSql(database.dialect, DEFAULT_MAPPING);
    expect((await scansOf(messages)).filter((table) => OF_TABLES.test(table))).toHaveLength(1);
  });
});

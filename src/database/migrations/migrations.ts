import type { MigrationInterface, QueryRunner } from 'typeorm';
import { SegueError } from '../../errors/segue-error.js';
import type { EngineName } from '../dialect.js';
import { dialectOf } from '../dialects.js';
import { addedColumns, createOldTable, type OldTable } from '../old-table.js';
import { postgresTables } from './postgres-tables.js';
import { sqliteTables } from './sqlite-tables.js';

/** Our own tables of one engine: the statements that make them, in order, and what they are called. */
export interface OwnTables {
  readonly names: readonly string[];
  readonly create: readonly string[];
}

const OWN_TABLES: Record<EngineName, OwnTables> = {
  sqlite: sqliteTables,
  postgres: postgresTables,
};

/** What all of our tables are called, on both engines. */
export const OWN_TABLE_NAMES: readonly string[] = sqliteTables.names;

/**
 * The migrations, oldest first. All of them add; none rebuilds a table. On SQLite TypeORM's own addColumn would
 * rebuild `messages`, and triggers, CHECKs and AUTOINCREMENT would be gone afterwards without a word.
 *
 * Columns of different old tables are added by different migrations, so that on PostgreSQL no lock on one table is
 * held while another one is waited for.
 */
export function migrationsOf(
  engine: EngineName,
  keptTables: readonly OldTable[],
  oldTables: readonly OldTable[],
): (new () => MigrationInterface)[] {
  const own = OWN_TABLES[engine];
  return [
    /** The six kept tables, where there is no old app that made them. */
    class KeptTables1790000000001 implements MigrationInterface {
      name = 'KeptTables1790000000001';

      async up(runner: QueryRunner): Promise<void> {
        const missing = await missingTables(runner, keptTables);
        if (missing.length < keptTables.length) return;
        for (const table of keptTables) await runner.query(createOldTable(engine, table));
      }

      async down(runner: QueryRunner): Promise<void> {
        // With an old table of messages there is an old app, and these tables are its own.
        if ((await missingTables(runner, oldTables)).length === 0) return;
        for (const table of keptTables) await refuseToDropRows(runner, table.mapping.table);
        for (const table of keptTables.toReversed())
          await runner.query(`DROP TABLE "${table.mapping.table}"`);
      }
    },

    class OwnTables1790000000002 implements MigrationInterface {
      name = 'OwnTables1790000000002';

      async up(runner: QueryRunner): Promise<void> {
        for (const statement of own.create) await runner.query(statement);
      }

      async down(runner: QueryRunner): Promise<void> {
        // What has no old form would be gone for ever; the rest stands in the old table.
        await refuseToDropRows(runner, 'enhanced_messages', 'legacy_message_id IS NULL');
        for (const name of own.names.toReversed()) await runner.query(`DROP TABLE "${name}"`);
      }
    },

    ...oldTables
      .filter((table) => addedColumns(engine, table).length > 0)
      .map((table, index) => addColumns(engine, table, 1790000000003 + index)),
  ];
}

function addColumns(
  engine: EngineName,
  table: OldTable,
  timestamp: number,
): new () => MigrationInterface {
  return class implements MigrationInterface {
    name = `${table.entity}Columns${timestamp}`;

    async up(runner: QueryRunner): Promise<void> {
      if ((await missingTables(runner, [table])).length > 0) return;
      for (const { add } of addedColumns(engine, table)) await runner.query(add);
    }

    async down(runner: QueryRunner): Promise<void> {
      if ((await missingTables(runner, [table])).length > 0) return;
      for (const { name } of addedColumns(engine, table).toReversed())
        await runner.query(`ALTER TABLE "${table.mapping.table}" DROP COLUMN "${name}"`);
    }
  };
}

async function missingTables(
  runner: QueryRunner,
  tables: readonly OldTable[],
): Promise<OldTable[]> {
  const { driver } = runner.connection;
  const { hasTable } = dialectOf(driver.options.type === 'sqlite' ? 'sqlite' : 'postgres');
  const missing: OldTable[] = [];
  for (const table of tables) {
    // Not TypeORM's hasTable, which minds the case of a name on SQLite, where ALTER TABLE does not.
    const [statement, values] = driver.escapeQueryWithParameters(
      hasTable,
      { table: table.mapping.table },
      {},
    );
    const [row] = (await runner.query(statement, values)) as { present: number | string }[];
    if (Number(row?.present) === 0) missing.push(table);
  }
  return missing;
}

async function refuseToDropRows(runner: QueryRunner, table: string, which = 'true'): Promise<void> {
  const rows = (await runner.query(`SELECT count(*) AS count FROM "${table}" WHERE ${which}`)) as {
    count: number | string;
  }[];
  const count = Number(rows[0]?.count);
  if (count !== 0)
    throw new SegueError(
      'WOULD_LOSE_ROWS',
      `${count} rows of ${table} stand nowhere else and would be lost: export and delete them first.`,
    );
}

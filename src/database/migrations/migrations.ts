import type { QueryRunner } from 'typeorm';
import { SegueError } from '../../errors/segue-error.js';
import type { Dialect, EngineName } from '../dialect.js';
import { dialectOf } from '../dialects.js';
import type { MigrationChoice, PreviewedMigration } from '../migration-run.js';
import { addedColumns, createOldTable, type OldTable } from '../old-table.js';
import { postgresTables } from './postgres-tables.js';
import { sqliteTables } from './sqlite-tables.js';

/** Our own tables of one engine: the statements that make them, in order, and what they are called. */
export interface OwnTables {
  readonly names: readonly string[];
  readonly create: readonly string[];
}

/** What the last of the migrations makes of the tables, as `Schema.version`. */
export const SCHEMA_VERSION = 1;

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
): (new () => PreviewedMigration)[] {
  const own = OWN_TABLES[engine];
  return [
    /** The six kept tables, where there is no old app that made them. */
    class KeptTables1790000000001 implements PreviewedMigration {
      name = 'KeptTables1790000000001';

      statements(): string[] {
        return [];
      }

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

    class ConversationTables1790000000002 implements PreviewedMigration {
      name = 'ConversationTables1790000000002';

      statements(): readonly string[] {
        return own.create;
      }

      async up(runner: QueryRunner): Promise<void> {
        for (const statement of this.statements()) await runner.query(statement);
      }

      async down(runner: QueryRunner): Promise<void> {
        // What has no old form would be gone for ever; the rest stands in the old table.
        await refuseToDropRows(
          runner,
          'enhanced_messages',
          'legacy_message_id IS NULL AND removed_at IS NULL',
        );
        // Without the queue each write of the old app would fail.
        for (const table of oldTables) await dropCapture(runner, table);
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
): new () => PreviewedMigration {
  return class implements PreviewedMigration {
    name = `${table.entity}Columns${timestamp}`;

    async statements(
      { withoutColumns = false }: MigrationChoice,
      runner: QueryRunner,
    ): Promise<string[]> {
      // Noted in the transaction that notes this migration as done: a kill leaves no doubt what is there.
      if (withoutColumns)
        return [
          'UPDATE changeover_state SET adds_columns = false, fills_link = false WHERE id = 1',
        ];
      // A purge that did not drop them left them here.
      const left = await ask<{ name: string }>(runner, dialectOn(runner).markedColumns, table);
      return addedColumns(engine, table)
        .filter((column) => !left.some(({ name }) => name === column.name))
        .map(({ add }) => add);
    }

    async up(runner: QueryRunner): Promise<void> {
      if ((await missingTables(runner, [table])).length > 0) return;
      const { withoutColumns = false } = runner.data as MigrationChoice;
      // What an earlier run began without the columns goes on without them.
      const choice = { withoutColumns: withoutColumns || (await leavesColumnsOut(runner)) };
      for (const statement of await this.statements(choice, runner)) await runner.query(statement);
    }

    async down(runner: QueryRunner): Promise<void> {
      if ((await missingTables(runner, [table])).length > 0) return;
      // A column of that name is then the old app's own.
      if (await leavesColumnsOut(runner)) return;
      const present = await columnsOf(runner, table);
      for (const { name } of addedColumns(engine, table).toReversed())
        if (present.includes(name))
          await runner.query(`ALTER TABLE "${table.mapping.table}" DROP COLUMN "${name}"`);
    }
  };
}

/** Whether this database was expanded without our columns in the old tables: then it stays so. */
async function leavesColumnsOut(runner: QueryRunner): Promise<boolean> {
  const [state] = (await runner.query(
    'SELECT adds_columns AS adds FROM changeover_state WHERE id = 1',
  )) as { adds: boolean | number }[];
  return state !== undefined && !state.adds;
}

async function dropCapture(runner: QueryRunner, table: OldTable): Promise<void> {
  const dialect = dialectOn(runner);
  for (const { name } of await ask<{ name: string }>(runner, dialect.captureOn, table))
    for (const statement of dialect.dropCapture(table.mapping.table, name))
      await runner.query(statement);
}

async function columnsOf(runner: QueryRunner, table: OldTable): Promise<string[]> {
  const { describeTable } = dialectOn(runner);
  const columns = await ask<{ name: string }>(runner, describeTable, table);
  return columns.map(({ name }) => name);
}

async function missingTables(
  runner: QueryRunner,
  tables: readonly OldTable[],
): Promise<OldTable[]> {
  const { hasTable } = dialectOn(runner);
  const missing: OldTable[] = [];
  for (const table of tables) {
    // Not TypeORM's hasTable, which minds the case of a name on SQLite, where ALTER TABLE does not.
    const [row] = await ask<{ present: number | string }>(runner, hasTable, table);
    if (Number(row?.present) === 0) missing.push(table);
  }
  return missing;
}

function dialectOn({ connection }: QueryRunner): Dialect {
  return dialectOf(connection.driver.options.type === 'sqlite' ? 'sqlite' : 'postgres');
}

/** Runs one of the dialect's statements about `:table`. */
async function ask<Row>(runner: QueryRunner, sql: string, { mapping }: OldTable): Promise<Row[]> {
  const { driver } = runner.connection;
  const [statement, values] = driver.escapeQueryWithParameters(sql, { table: mapping.table }, {});
  return (await runner.query(statement, values)) as Row[];
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

import {
  type DataSource,
  MigrationExecutor,
  type MigrationInterface,
  type QueryRunner,
} from 'typeorm';

/** What the operator chose for the changeover's tables; a migration finds it in `QueryRunner.data`. */
export interface MigrationChoice {
  /** Leaves our columns out of the old tables: an old app's INSERT without column names would fail on SQLite. */
  readonly withoutColumns?: boolean;
}

/** A migration that says beforehand what it does. */
export interface PreviewedMigration extends MigrationInterface {
  /** The statements that `up` runs on the database of an old app, in order; `runner` is only read with. */
  statements(
    choice: MigrationChoice,
    runner: QueryRunner,
  ): readonly string[] | Promise<readonly string[]>;
}

/** Runs what is missing, in order. `each`: a transaction a migration; `none`: inside the caller's own. */
export async function runMigrations(
  source: DataSource,
  mode: 'each' | 'none',
  choice: MigrationChoice,
): Promise<void> {
  const runner = source.createQueryRunner();
  try {
    Object.assign(runner.data, choice);
    const executor = new MigrationExecutor(source, runner);
    executor.transaction = mode;
    await executor.executePendingMigrations();
  } finally {
    await runner.release();
  }
}

/** Takes back all that ran, newest first. */
export async function revertMigrations(source: DataSource, mode: 'each' | 'none'): Promise<void> {
  const table = source.driver.escape(source.options.migrationsTableName ?? 'migrations');
  for (;;) {
    const rows = await source.query<{ left: number | string }[]>(
      `SELECT count(*) AS "left" FROM ${table}`,
    );
    if (Number(rows[0]?.left ?? 0) === 0) break;
    await source.undoLastMigration({ transaction: mode });
  }
  await source.query(`DROP TABLE ${table}`);
}

/** The statements that `runMigrations` would run on the database of an old app; nothing is changed. */
export async function pendingStatements(
  source: DataSource,
  choice: MigrationChoice,
): Promise<string[]> {
  const runner = source.createQueryRunner();
  try {
    const executor = new PreviewingExecutor(source, runner);
    const bookkeeping = await executor.previewOwnTable(runner);
    const pending = await executor.getPendingMigrations();
    const statements = [...bookkeeping];
    for (const { instance } of pending)
      statements.push(...(await (instance as PreviewedMigration).statements(choice, runner)));
    return statements;
  } finally {
    await runner.release();
  }
}

class PreviewingExecutor extends MigrationExecutor {
  /** The statement that makes TypeORM's table of migrations, in TypeORM's own words. */
  async previewOwnTable(runner: QueryRunner): Promise<string[]> {
    runner.enableSqlMemory();
    try {
      await this.createMigrationsTableIfNotExist(runner);
      return runner.getMemorySql().upQueries.map(({ query }) => query);
    } finally {
      runner.clearSqlMemory();
      runner.disableSqlMemory();
    }
  }
}

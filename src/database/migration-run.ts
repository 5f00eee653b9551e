import type { DataSource } from 'typeorm';

/** Runs what is missing, in order. `each`: a transaction a migration; `none`: inside the caller's own. */
export async function runMigrations(source: DataSource, mode: 'each' | 'none'): Promise<void> {
  await source.runMigrations({ transaction: mode });
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

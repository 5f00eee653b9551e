import type { Database, Parameters, Queryable } from '../database/database.js';
import type { LegacySql } from '../legacy/legacy-sql.js';
import { hasReached, readState } from './stage.js';

/**
 * A database on which the statements of the new side (`from`) are answered by those of the old side (`to`) once the
 * stage has gone back: a rollback does not wait for the servers that read the new side. When the stage comes forward
 * again, so do they, unless it was with another LEGACY_TIMEZONE.
 *
 * The stage is read after the answer. A rollback sets it back in the transaction that takes the rows away, so an
 * answer after which it still stands was read from a whole side.
 */
export function fallingBack(
  database: Database,
  { from, to }: { readonly from: LegacySql; readonly to: LegacySql },
): Database {
  const names = Object.keys(from) as (keyof LegacySql)[];
  const onOldSide = new Map(names.map((name) => [from[name], to[name]]));
  const { reader } = database;
  const isOnNewSide = async (): Promise<boolean> => {
    const { stage, zone } = await readState(database);
    // Expanded anew in another zone, the new side has other instants than these statements write times from.
    return hasReached(stage, 'VERIFIED') && zone === database.dialect.zone.name;
  };

  const all = async <Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> => {
    const old = onOldSide.get(sql);
    if (old === undefined) return reader.all<Row>(sql, parameters);
    try {
      const rows = await reader.all<Row>(sql, parameters);
      if (await isOnNewSide()) return rows;
    } catch (error) {
      // The tables may be gone by now.
      if (await isOnNewSide()) throw error;
    }
    return reader.all<Row>(old, parameters);
  };
  const run: Queryable['run'] = (sql, parameters) => reader.run(sql, parameters);
  return Object.create(database, { reader: { value: { all, run } } }) as Database;
}

import type { Database, Parameters, Queryable } from '../database/database.js';
import type { LegacySql } from '../legacy/legacy-sql.js';
import { hasReached, readState, type Stage } from './stage.js';

/** The old queries on each side, and on the new one where there is no old table any more. */
export interface OldQuerySides {
  readonly old: LegacySql;
  readonly new: LegacySql;
  readonly alone: LegacySql;
}

/**
 * A database on which the statements of one side are answered by those of another one where the stage has moved under them:
 * neither a rollback nor the contract step waits for the servers. Those of the new side are answered by the old one once the
 * stage has gone back, and again by the new one when it comes forward, unless it was with another LEGACY_TIMEZONE; those
 * that read the old table by the new side alone once that table has another name.
 *
 * The stage is read after the answer. A rollback sets it back in the transaction that takes the rows away, so an
 * answer after which it still stands was read from a whole side.
 */
export function fallingBack(database: Database, sides: OldQuerySides): Database {
  const names = Object.keys(sides.new) as (keyof LegacySql)[];
  const ofOld = new Map(names.map((name) => [sides.old[name], name]));
  const ofNew = new Map(names.map((name) => [sides.new[name], name]));
  const { reader } = database;
  const standsAt = async (): Promise<{ stage: Stage; isInZone: boolean }> => {
    const { stage, zone } = await readState(database);
    // Expanded anew in another zone, the new side has other instants than these statements write times from.
    return { stage, isInZone: zone === database.dialect.zone.name };
  };

  const all = async <Row extends object>(sql: string, parameters?: Parameters): Promise<Row[]> => {
    const isOfNew = ofNew.has(sql);
    const name = ofNew.get(sql) ?? ofOld.get(sql);
    if (name === undefined) return reader.all<Row>(sql, parameters);
    const isWhole = ({ stage, isInZone }: Awaited<ReturnType<typeof standsAt>>): boolean =>
      hasReached(stage, 'VERIFIED') && isInZone;
    try {
      const rows = await reader.all<Row>(sql, parameters);
      if (!isOfNew || isWhole(await standsAt())) return rows;
    } catch (error) {
      // The tables may be gone by now.
      const now = await standsAt();
      if (now.stage === 'CONTRACTED') return reader.all<Row>(sides.alone[name], parameters);
      if (!isOfNew || isWhole(now)) throw error;
    }
    return reader.all<Row>(sides.old[name], parameters);
  };
  const run: Queryable['run'] = (sql, parameters) => reader.run(sql, parameters);
  return Object.create(database, { reader: { value: { all, run } } }) as Database;
}

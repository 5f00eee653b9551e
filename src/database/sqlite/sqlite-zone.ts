import { haveSameShifts, localRanges, UTC, type Zone } from '../../config/zone.js';
import type { Queryable } from '../database.js';
import type { Dialect } from '../dialect.js';
import { instantOfText, otherThanExact, sqliteDialect, zoneOfText } from './sqlite-dialect.js';

/** Before all that SQLite takes for a time, in seconds since 1970. */
const SINCE_EVER = -1_000_000_000_000;

/**
 * SQLite's words where old times are in another zone than UTC. The zone's shifts stand in temporary tables of each
 * connection, so that they are there before anything of ours is in the database: one look-up costs 0.2 µs, where the
 * same as a CASE costs twice that, and milliseconds each time a statement is read.
 */
export function sqliteDialectIn(zone: Zone): Dialect {
  return {
    ...sqliteDialect,
    zone,
    instantOf: (time) => `coalesce(${exactInstantOf(time)}, ${otherInstantOf(time)})`,
    exactInstantOf,
    otherInstantOf,
    legacyTime: (instant) => {
      const seconds = `${instant} / 1000000`;
      return `datetime(${seconds} + ${lookUp('segue_shifts', 'ahead', seconds)}, 'unixepoch')`;
    },
  };
}

/** Fills the tables that the statements of `sqliteDialectIn` look up. Nothing for UTC. */
export async function bringZone(connection: Queryable, { zone }: Dialect): Promise<void> {
  if (haveSameShifts(zone, UTC)) return;
  const shifts = zone.shifts.map(({ from, ahead }) => `(${from ?? SINCE_EVER}, ${ahead})`);
  const local = localRanges(zone).map(
    ({ from, ahead, isShown }) => `(${from ?? SINCE_EVER}, ${ahead}, ${isShown ? ahead : 'NULL'})`,
  );
  for (const statement of [
    'CREATE TEMPORARY TABLE segue_shifts (since INTEGER PRIMARY KEY, ahead INTEGER NOT NULL)',
    `INSERT INTO segue_shifts VALUES ${shifts.join(', ')}`,
    `CREATE TEMPORARY TABLE segue_local_times (since INTEGER PRIMARY KEY, ahead INTEGER NOT NULL, ahead_if_shown INTEGER)`,
    `INSERT INTO segue_local_times VALUES ${local.join(', ')}`,
  ])
    await connection.run(statement);
}

/** Null, and with it the instant, for a time that the clocks leapt over: it would come back as another one. */
function exactInstantOf(time: string): string {
  const ahead = lookUp('segue_local_times', 'ahead_if_shown', `unixepoch(${time})`);
  return `(${sqliteDialect.exactInstantOf(time)} - ${ahead} * 1000000)`;
}

function otherInstantOf(time: string): string {
  // Without a fraction, whose digits are not for unixepoch; all shifts are at whole seconds.
  const ahead = lookUp('segue_local_times', 'ahead', `unixepoch(substr(${time}, 1, 19))`);
  return otherThanExact(
    time,
    `(${instantOfText(time)}) - CASE WHEN (${zoneOfText(time)}) <> '' THEN 0 ELSE ${ahead} * 1000000 END`,
  );
}

function lookUp(table: string, column: string, seconds: string): string {
  return `(SELECT z.${column} FROM temp.${table} z WHERE z.since <= ${seconds} ORDER BY z.since DESC LIMIT 1)`;
}

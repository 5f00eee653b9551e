import { haveSameShifts, readShifts, type Zone } from '../config/zone.js';
import { SegueError } from '../errors/segue-error.js';
import type { Database, Queryable } from './database.js';
import type { Schema } from './schema.js';

/** The zone that old times were copied in, or null where none is settled. */
export async function findSettledZone(
  { dialect, reader }: Database,
  { settledZone: { table, find } }: Schema,
): Promise<Zone | null> {
  const [book] = await reader.all<{ present: number | string }>(dialect.hasTable, { table });
  return Number(book?.present) === 0 ? null : getSettledZone(reader, find);
}

/** As `findSettledZone`, where the books are known to be there. */
export async function getSettledZone(queryable: Queryable, find: string): Promise<Zone | null> {
  const [row] = await queryable.all<{ name: string; shifts: string }>(find);
  return row === undefined ? null : { name: row.name, shifts: readShifts(row.shifts) };
}

/**
 * Checks that a setting names the zone that old times were copied in, or one that never differed from it. In
 * another one each of them would be another instant than its copy.
 * @throws SegueError BAD_CONFIG.
 */
export function checkZoneIs(settled: Zone, configured: Zone, shown: string): void {
  if (settled.name === configured.name || haveSameShifts(settled, configured)) return;
  throw new SegueError(
    'BAD_CONFIG',
    `LEGACY_TIMEZONE is ${JSON.stringify(configured.name)}: ${shown} was expanded with ${JSON.stringify(settled.name)}, and its old times were read so. ` +
      `Set LEGACY_TIMEZONE=${settled.name}; if that was wrong, 'segue rollback --to LEGACY' with it (with --purge where people have made something on the new side), and expand anew with the right one.`,
  );
}

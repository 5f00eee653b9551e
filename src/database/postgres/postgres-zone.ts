import { localRanges, type Zone } from '../../config/zone.js';
import type { Dialect } from '../dialect.js';
import { postgresDialect } from './postgres-dialect.js';

/**
 * PostgreSQL's words where old times are in another zone than UTC. The zone's shifts are constants of the statement,
 * searched by halves: the server's own zone data may be another version's, and AT TIME ZONE takes the later of two
 * instants for some local times.
 */
export function postgresDialectIn(zone: Zone): Dialect {
  const { shifts } = zone;
  const local = localRanges(zone);
  const shown = array(
    local.map(({ isShown }) => String(isShown)),
    'boolean',
  );
  const ahead = array(
    local.map((range) => String(range.ahead * 1_000_000)),
    'bigint',
  );
  const leaps = array(boundaries(local).map(asTimestamp), 'timestamp');
  const instants = array(
    boundaries(shifts).map((from) => String(from * 1_000_000)),
    'bigint',
  );
  const intervals = array(
    shifts.map((shift) => `${shift.ahead} s`),
    'interval',
  );

  /** The place of a local time in the arrays above, counted from 1. */
  const placeOf = (time: string): string => `width_bucket(${time}, ${leaps}) + 1`;
  const inZone = (time: string): string =>
    `(${postgresDialect.exactInstantOf(time)} - (${ahead})[${placeOf(time)}])`;
  const exactInstantOf = (time: string): string =>
    `CASE WHEN (${shown})[${placeOf(time)}] THEN ${inZone(time)} END`;

  return {
    ...postgresDialect,
    zone,
    instantOf: inZone,
    exactInstantOf,
    // A time that the clocks leapt over is the only one that would come back as another.
    otherInstantOf: inZone,
    legacyTime: (instant) =>
      `(${postgresDialect.legacyTime(instant)} + (${intervals})[width_bucket(${instant}, ${instants}) + 1])`,
  };
}

function boundaries(ranges: readonly { readonly from: number | null }[]): number[] {
  return ranges.flatMap(({ from }) => (from === null ? [] : [from]));
}

function asTimestamp(seconds: number): string {
  return new Date(seconds * 1_000).toISOString().slice(0, 19);
}

function array(values: readonly string[], type: string): string {
  return `'{${values.join(',')}}'::${type}[]`;
}

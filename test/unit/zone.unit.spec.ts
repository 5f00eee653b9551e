import { describe, expect, it } from '@jest/globals';
import {
  findZone,
  localRanges,
  readShifts,
  UTC,
  writeShifts,
  type Zone,
} from '../../src/config/zone.js';

const at = (iso: string): number => Date.parse(iso) / 1_000;

/** What the zone's clocks show at an instant, by Intl, in seconds as if it were UTC. */
function clockOf(zone: string): (seconds: number) => number {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: zone,
    dateStyle: 'short',
    timeStyle: 'medium',
  });
  return (seconds) => at(`${format.format(seconds * 1_000).replace(' ', 'T')}Z`);
}

function find(name: string): Zone {
  const zone = findZone(name);
  if (zone === undefined) throw new Error(`no zone ${name}`);
  return zone;
}

describe('a time zone', () => {
  it('is the instants at which its clocks were shifted', () => {
    const { name, shifts } = find('Europe/Berlin');
    expect(name).toBe('Europe/Berlin');
    // Local mean time until 1893: 53 minutes and 28 seconds.
    expect(shifts.slice(0, 2)).toEqual([
      { from: null, ahead: 3_208 },
      { from: at('1893-03-31T23:06:32Z'), ahead: 3_600 },
    ]);
    expect(shifts).toContainEqual({ from: at('2021-03-28T01:00:00Z'), ahead: 7_200 });
    expect(shifts).toContainEqual({ from: at('2021-10-31T01:00:00Z'), ahead: 3_600 });
    expect(shifts.at(-1)).toEqual({ from: at('2100-10-31T01:00:00Z'), ahead: 3_600 });
  });

  it('has shifts that cancel each other within a week', () => {
    const { shifts } = find('America/Boa_Vista');
    expect(shifts).toContainEqual({ from: at('2000-10-08T04:00:00Z'), ahead: -10_800 });
    expect(shifts).toContainEqual({ from: at('2000-10-15T03:00:00Z'), ahead: -14_400 });
  });

  it('may be a distance', () => {
    expect(find('+02:00').shifts).toEqual([{ from: null, ahead: 7_200 }]);
    expect(find('-09:30').shifts).toEqual([{ from: null, ahead: -34_200 }]);
  });

  it.each(['UTC', 'Etc/UTC', 'GMT', '+00:00', '-00:00'])('%s is UTC', (name) => {
    expect(findZone(name)).toBe(UTC);
  });

  it.each(['Berlin', '+2', '+24:00', '+02:60', 'local', '../etc'])('%s is none', (name) => {
    expect(findZone(name)).toBeUndefined();
  });

  it('is written as a text, and read again', () => {
    for (const name of ['America/New_York', 'Asia/Kolkata', '-09:30']) {
      const { shifts } = find(name);
      expect(readShifts(writeShifts(shifts))).toEqual(shifts);
    }
    expect(readShifts('0')).toEqual(UTC.shifts);
  });

  // A day left out (Samoa), half an hour (Lord Howe), seconds (Amsterdam, Monrovia), four shifts a year (Casablanca).
  it.each([
    'Europe/Berlin',
    'America/New_York',
    'Asia/Kolkata',
    'Pacific/Apia',
    'Australia/Lord_Howe',
    'Europe/Amsterdam',
    'Africa/Monrovia',
    'Africa/Casablanca',
    'America/St_Johns',
    'America/Boa_Vista',
  ])(
    '%s has local times in the order of their instants, the first at which clocks show them',
    (name) => {
      const zone = find(name);
      const shows = clockOf(name);
      let before = -Infinity;
      const ranges = localRanges(zone);
      for (const [index, { from, ahead, isShown }] of ranges.entries()) {
        const start = from ?? at('1850-01-01T00:00:00Z');
        expect(start).toBeGreaterThan(before);
        before = start;
        const end = ranges[index + 1]?.from ?? at('2100-12-31T00:00:00Z');
        for (const local of [start, start + 1, Math.floor((start + end) / 2), end - 1]) {
          const instant = local - ahead;
          expect({ local, isShown: shows(instant) === local }).toEqual({ local, isShown });
          // Earlier by any shift, the clocks never showed it.
          for (const shift of new Set(zone.shifts.map((each) => each.ahead)))
            if (shift > ahead) expect(shows(local - shift)).not.toBe(local);
        }
      }
    },
  );
});

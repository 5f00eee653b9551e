/** From `from` on (seconds since 1970 UTC; null: since ever), the zone's clocks are `ahead` of UTC by so many seconds. */
export interface Shift {
  readonly from: number | null;
  readonly ahead: number;
}

/**
 * A time zone, as the instants at which its clocks were shifted, oldest first; the first is from null. Worked out
 * once and given to both engines, since the zone data of Node and of a PostgreSQL server may differ, and SQLite has
 * none. After 2100 the last shift lasts for ever.
 */
export interface Zone {
  readonly name: string;
  readonly shifts: readonly Shift[];
}

export const UTC: Zone = { name: 'UTC', shifts: [{ from: null, ahead: 0 }] };

/** Before the first zone left its local mean time (Manila, at the end of 1844), and as far as shifts are foretold. */
const FIRST_LOOK = Date.UTC(1840, 0, 1) / 1000;
const LAST_LOOK = Date.UTC(2101, 0, 1) / 1000;

/** Two shifts that cancel each other have to be seen: the closest lay 6.96 days apart, in Boa Vista in October 2000. */
const STEP = 5 * 86_400;

const FIXED = /^([+-])(\d\d):(\d\d)$/;

/**
 * The zone of a name of the IANA database (`Europe/Berlin`) or of a fixed distance (`+02:00`); undefined when there
 * is none. What never differs from UTC is `UTC`. Takes about 0.1 s for any other.
 */
export function findZone(name: string): Zone | undefined {
  const shifts = fixedShifts(name) ?? shiftsOf(name);
  if (shifts === undefined) return undefined;
  const zone = { name, shifts };
  return haveSameShifts(zone, UTC) ? UTC : zone;
}

/** Whether the clocks of two zones always show the same, whatever the zones are called. */
export function haveSameShifts(a: Zone, b: Zone): boolean {
  return writeShifts(a.shifts) === writeShifts(b.shifts);
}

/** The shifts as a text: `3208 -2422054408:3600 -1693706400:7200 …`. */
export function writeShifts(shifts: readonly Shift[]): string {
  return shifts.map(({ from, ahead }) => (from === null ? ahead : `${from}:${ahead}`)).join(' ');
}

/** The inverse of `writeShifts`. */
export function readShifts(text: string): Shift[] {
  return text.split(' ').map((shift) => {
    const numbers = shift.split(':').map(Number);
    const [from, ahead] = numbers.length === 1 ? [null, ...numbers] : numbers;
    return { from: from ?? null, ahead: ahead ?? 0 };
  });
}

/** A range of local times, in seconds as if they were UTC, up to the next range. */
export interface LocalRange {
  /** Null: since ever. */
  readonly from: number | null;
  /** What to take off a local time to have its instant, in seconds. */
  readonly ahead: number;
  /** False for the hour that a clock leaps over in spring: `ahead` is then that of before. */
  readonly isShown: boolean;
}

/**
 * The local times of a zone, each with the first instant at which the clocks show it: in the hour that comes twice in
 * autumn, the earlier one. So the order of local times is the order of their instants.
 */
export function localRanges({ shifts }: Zone): LocalRange[] {
  return shifts.flatMap(({ from, ahead }, index): LocalRange[] => {
    const before = shifts[index - 1]?.ahead;
    if (from === null || before === undefined) return [{ from: null, ahead, isShown: true }];
    const leapsTo = from + ahead;
    const leapsFrom = from + before;
    if (leapsTo < leapsFrom) return [{ from: leapsFrom, ahead, isShown: true }];
    return [
      { from: leapsFrom, ahead: before, isShown: false },
      { from: leapsTo, ahead, isShown: true },
    ];
  });
}

function fixedShifts(name: string): Shift[] | undefined {
  const [, sign, hours, minutes] = FIXED.exec(name) ?? [];
  if (sign === undefined || Number(hours) > 23 || Number(minutes) > 59) return undefined;
  const ahead = (Number(hours) * 60 + Number(minutes)) * (sign === '-' ? -60 : 60);
  return [{ from: null, ahead: ahead || 0 }];
}

/** Looks at the zone's clock every five days, and where it was shifted in between, halves them down to the second. */
function shiftsOf(name: string): Shift[] | undefined {
  const aheadAt = clockOf(name);
  if (aheadAt === undefined) return undefined;
  let ahead = aheadAt(FIRST_LOOK);
  const shifts: Shift[] = [{ from: null, ahead }];
  for (let low = FIRST_LOOK; low < LAST_LOOK;) {
    let high = Math.min(low + STEP, LAST_LOOK);
    if (aheadAt(high) !== ahead) {
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        if (aheadAt(middle) === ahead) low = middle;
        else high = middle;
      }
      ahead = aheadAt(high);
      shifts.push({ from: high, ahead });
    }
    low = high;
  }
  return shifts;
}

/** How far the zone's clocks are ahead of UTC at an instant, both in seconds; undefined for what is no zone. */
function clockOf(name: string): ((at: number) => number) | undefined {
  const options = {
    timeZone: name,
    // Not Gregorian: that one is Julian before 1582.
    calendar: 'iso8601',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  } as const;
  try {
    const format = new Intl.DateTimeFormat('en-US', options);
    return (at) => {
      const parts = new Map(
        format.formatToParts(at * 1000).map(({ type, value }) => [type, Number(value)]),
      );
      const part = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? NaN;
      const date = Date.UTC(part('year'), part('month') - 1, part('day'));
      return date / 1000 + (part('hour') * 60 + part('minute')) * 60 + part('second') - at;
    };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

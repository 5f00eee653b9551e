/**
 * Tests that end a step at each of its statements choose one in so many. SEGUE_TEST_KILLS=all takes every one, a number
 * another share: the default is always the same, so that a run says something of the change and not of the day.
 */
const KILLS = process.env.SEGUE_TEST_KILLS ?? '20780';

export const TAKES_ALL = KILLS === 'all';
export const SHARE = TAKES_ALL ? 0 : Number(KILLS);

/** Numbers from 1 on without end, of which one in `oneIn` is given. */
export function* momentsOneIn(oneIn: number): Generator<number> {
  const step = TAKES_ALL ? 1 : oneIn;
  for (let moment = 1 + (SHARE % step); ; moment += step) yield moment;
}

import Sequencer from '@jest/test-sequencer';

/** Files that take minutes: begun last, they would be waited for alone. The longest first. */
const SLOW = [
  'e2e/killed-at-statements',
  'medium/rows.property',
  'e2e/changeover',
  'e2e/resume',
  'medium/equivalence',
  'e2e/plan',
  'medium/rollback',
  'medium/verify',
  'e2e/rollback',
];

/** Begins with the files of which it is known that they take long, also on a fresh checkout. */
export default class SlowestFirst extends Sequencer {
  sort(tests) {
    const placeOf = ({ path }) => {
      const place = SLOW.findIndex((name) => path.includes(`/${name}.`));
      return place < 0 ? SLOW.length : place;
    };
    return [...super.sort(tests)].sort((a, b) => placeOf(a) - placeOf(b));
  }
}

import { describe, expect, it } from '@jest/globals';
import { linesOn } from '../../src/cli/watch.js';

describe('the lines that a text takes on a terminal', () => {
  it.each([
    ['', 80, 1],
    ['short', 80, 1],
    ['x'.repeat(80), 80, 1],
    ['x'.repeat(81), 80, 2],
    [`stage\n${'x'.repeat(200)}\nend`, 80, 5],
    ['a\n\nb', 80, 3],
    // Two units of UTF-16 each, and one column.
    ['𝒳'.repeat(80), 80, 1],
  ])('of %j at %i columns are counted', (text, columns, lines) => {
    expect(linesOn(columns, text)).toBe(lines);
  });
});

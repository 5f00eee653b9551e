import { describe, expect, it } from '@jest/globals';
import { nextSize } from '../../src/changeover/batch-size.js';

describe('the size of the next batch', () => {
  it('shrinks at once to what would have met the target', () => {
    expect(nextSize(40_000, 700)).toBe(20_000);
    expect(nextSize(40_000, 3_500)).toBe(4_000);
  });

  it('grows half of the way to what would have met the target', () => {
    expect(nextSize(40_000, 350)).toBe(40_000);
    expect(nextSize(40_000, 289)).toBe(44_019);
  });

  it('grows by a fifth of itself at most, and to a largest size', () => {
    expect(nextSize(5_000, 1)).toBe(6_000);
    expect(nextSize(90_000, 100)).toBe(100_000);
  });

  it('goes down to one row and up again', () => {
    expect(nextSize(1, 60_000)).toBe(1);
    expect(nextSize(1, 0)).toBe(2);
  });
});

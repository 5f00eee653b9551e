import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Place, readCursor, writeCursor } from '../../src/events/cursor.js';

const PLACE: Place = { epoch: '0123456789abcdef', id: 4_711, at: '1767323045678901' };

const place = fc.record({
  epoch: fc
    .uint8Array({ minLength: 8, maxLength: 8 })
    .map((bytes) => Buffer.from(bytes).toString('hex')),
  id: fc.nat(),
  at: fc.bigInt({ min: 0n, max: 36n ** 13n - 1n }).map(String),
});

describe('a cursor of the event log', () => {
  it('means the place that it was written for', () => {
    fc.assert(
      fc.property(place, (given) => {
        expect(readCursor(writeCursor(given))).toEqual(given);
      }),
    );
  });

  it('can stand before the first event, and at the highest id', () => {
    for (const given of [
      { ...PLACE, id: 0, at: '0' },
      { ...PLACE, id: 36 ** 10 - 1 },
    ])
      expect(readCursor(writeCursor(given))).toEqual(given);
  });

  it('is nothing but letters that a URL takes as they are', () => {
    expect(writeCursor(PLACE)).toMatch(/^[\w-]+$/);
  });

  it('means another place, or none, with one letter changed', () => {
    const cursor = writeCursor(PLACE);
    for (let n = 0; n < cursor.length; n += 1)
      for (const letter of 'Aa0Zz9-_=. ') {
        if (cursor[n] === letter) continue;
        const changed = cursor.slice(0, n) + letter + cursor.slice(n + 1);
        expect(readCursor(changed)).not.toEqual(PLACE);
      }
  });

  const encoded = (text: string): string => Buffer.from(text).toString('base64url');

  it.each([
    ['nothing', ''],
    ['some text', 'nonsense'],
    ['an id of the API', 'msg_1'],
    ['a cursor cut short', writeCursor(PLACE).slice(0, -4)],
    ['a cursor and more', `${writeCursor(PLACE)}AA`],
    ['a cursor with padding', `${writeCursor({ ...PLACE, id: 1 })}=`],
    ['a cursor with a space', ` ${writeCursor(PLACE)}`],
    ['another alphabet of the epoch', encoded('0123456789ABCDEF.1.1')],
    ['a number with a zero in front', encoded('0123456789abcdef.01.1')],
    ['a negative number', encoded('0123456789abcdef.-1.1')],
    ['two parts', encoded('0123456789abcdef.1')],
    ['four parts', encoded('0123456789abcdef.1.1.1')],
    ['numbers that are too long', encoded('0123456789abcdef.zzzzzzzzzzz.1')],
    ['the cursor of a list', encoded('12 34')],
  ])('is not %s', (_, text) => {
    expect(readCursor(text)).toBeNull();
  });
});

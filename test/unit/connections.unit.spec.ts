import { describe, expect, it } from '@jest/globals';
import { SegueError } from '../../src/errors/segue-error.js';
import {
  checkSize,
  connectionOf,
  readKey,
  readPageRequest,
  writeKey,
} from '../../src/graphql/connections.js';

const read = (cursor: string): string | null => (cursor.startsWith('c') ? cursor.slice(1) : null);

const refused = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof SegueError && error.code === 'BAD_USER_INPUT') return error.message;
    throw error;
  }
  throw new Error('It was not refused');
};

describe('the arguments of a connection', () => {
  it.each([
    [{}, { size: 30, direction: 'forward', after: null, before: null }],
    [{ first: 5 }, { size: 5, direction: 'forward', after: null, before: null }],
    [{ first: 0 }, { size: 0, direction: 'forward', after: null, before: null }],
    [{ first: 100 }, { size: 100, direction: 'forward', after: null, before: null }],
    [
      { first: 5, after: 'c1' },
      { size: 5, direction: 'forward', after: '1', before: null },
    ],
    [{ after: 'c1' }, { size: 30, direction: 'forward', after: '1', before: null }],
    [{ last: 5 }, { size: 5, direction: 'backward', after: null, before: null }],
    [{ last: 0 }, { size: 0, direction: 'backward', after: null, before: null }],
    [{ before: 'c2' }, { size: 30, direction: 'backward', after: null, before: '2' }],
    [
      { last: 5, before: 'c2' },
      { size: 5, direction: 'backward', after: null, before: '2' },
    ],
    [
      { first: 5, before: 'c2' },
      { size: 5, direction: 'forward', after: null, before: '2' },
    ],
    [
      { last: 5, after: 'c1' },
      { size: 5, direction: 'backward', after: '1', before: null },
    ],
    [
      { after: 'c1', before: 'c2' },
      { size: 30, direction: 'forward', after: '1', before: '2' },
    ],
    [
      { first: null, after: null, last: null, before: null },
      { size: 30, direction: 'forward', after: null, before: null },
    ],
  ] as const)('%j mean a page', (given, request) => {
    expect(readPageRequest(given, read)).toEqual(request);
  });

  it.each([
    [{ first: 1, last: 1 }, ['first is 1', 'last is 1']],
    [{ first: -1 }, ['first is -1', '0 to 100']],
    [{ first: 101 }, ['first is 101', '0 to 100']],
    [{ last: -1 }, ['last is -1', '0 to 100']],
    [{ last: 101 }, ['last is 101', '0 to 100']],
    [{ after: 'x' }, ['after is "x"']],
    [{ before: '' }, ['before is ""']],
  ] as const)('%j are refused, and the message says why', (given, words) => {
    const message = refused(() => readPageRequest(given, read));
    for (const word of words) expect(message).toContain(word);
  });

  it('have a size of 30 where none is given', () => {
    expect([checkSize('first', null), checkSize('last', undefined)]).toEqual([30, 30]);
  });
});

describe('the cursor of a list', () => {
  it('keeps numbers of 64 bits as they are', () => {
    const numbers = ['-9223372036854775808', '9223372036854775807', '0'];
    expect(readKey(writeKey(...numbers), 3)).toEqual(numbers);
  });

  it.each([
    ['another count of numbers', writeKey('1', '2', '3')],
    ['no number', writeKey('1', 'x')],
    ['an empty number', writeKey('1', '')],
    ['a fraction', writeKey('1', '2.5')],
    ['more digits than 64 bits have', writeKey('1', '12345678901234567890')],
    ['padding', `${writeKey('1', '2')}=`],
    ['nothing', ''],
    ['the cursor of the event log', Buffer.from('0123456789abcdef.1.1').toString('base64url')],
  ])('is none with %s', (_, cursor) => {
    expect(readKey(cursor, 2)).toBeNull();
  });
});

describe('a page', () => {
  const edgeOf = (row: number): { cursor: string; node: number } => ({
    cursor: `c${row}`,
    node: row,
  });
  const page = (
    direction: 'forward' | 'backward',
    size: number,
    rows: readonly number[],
    hasOther: boolean,
  ): unknown => {
    const { edges, pageInfo } = connectionOf({ size, direction }, rows, hasOther, edgeOf);
    const { hasPreviousPage, hasNextPage, startCursor, endCursor } = pageInfo;
    return [edges.map(({ node }) => node), hasPreviousPage, hasNextPage, startCursor, endCursor];
  };

  it('leaves out the one row more that says that there is a next page', () => {
    expect(page('forward', 2, [1, 2, 3], false)).toEqual([[1, 2], false, true, 'c1', 'c2']);
    expect(page('backward', 2, [1, 2, 3], false)).toEqual([[2, 3], true, false, 'c2', 'c3']);
  });

  it('says whether there is more at its other end', () => {
    expect(page('forward', 2, [1, 2], true)).toEqual([[1, 2], true, false, 'c1', 'c2']);
    expect(page('backward', 2, [1, 2], true)).toEqual([[1, 2], false, true, 'c1', 'c2']);
  });

  it('may have no rows, and then no cursors', () => {
    expect(page('forward', 2, [], false)).toEqual([[], false, false, null, null]);
    expect(page('forward', 0, [1], false)).toEqual([[], false, true, null, null]);
    expect(page('backward', 0, [1], false)).toEqual([[], true, false, null, null]);
  });
});

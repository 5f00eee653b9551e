import { describe, expect, it } from '@jest/globals';
import { explainDatabaseError, isPassing, refusalOf } from '../../src/database/database-errors.js';

const withCode = (code: string, message = 'the words of the database'): Error =>
  Object.assign(new Error(message), { code });

/** As TypeORM wraps an error of PostgreSQL's driver. */
const wrapped = (code: string): Error =>
  Object.assign(new Error('query failed'), { driverError: withCode(code) });

describe('an error of a database', () => {
  // A row that is blamed for one of these would go to quarantine, and with it all rows after it.
  it.each([
    ...[
      'SQLITE_FULL',
      'SQLITE_IOERR',
      'SQLITE_BUSY',
      'SQLITE_LOCKED',
      'SQLITE_NOMEM',
      'SQLITE_INTERRUPT',
    ],
    ...['SQLITE_READONLY', 'SQLITE_CANTOPEN', 'SQLITE_CORRUPT', 'SQLITE_PROTOCOL', 'SQLITE_ERROR'],
    ...[
      '53100',
      '53200',
      '53300',
      '53400',
      '57014',
      '57P01',
      '57P02',
      '57P03',
      '40001',
      '40P01',
      '40003',
    ],
    ...['55P03', '58030', '58P01', '25P02', '25P03', '08006', '42P01', '42501', 'XX000', 'XX001'],
    ...['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOSPC'],
  ])('is no refusal of a row when it is %s', (code) => {
    expect(refusalOf(withCode(code))).toBeNull();
    expect(refusalOf(wrapped(code))).toBeNull();
  });

  it.each([
    'SQLITE_CONSTRAINT',
    'SQLITE_TOOBIG',
    'SQLITE_MISMATCH',
    '22021',
    '23505',
    '23514',
    '54000',
    'P0001',
  ])('is the refusal of a row, in its own words, when it is %s', (code) => {
    expect(refusalOf(withCode(code, 'value too long'))).toBe('value too long');
  });

  it('is worth another try only where other transactions stood in the way', () => {
    for (const code of ['SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT', '40001', '40P01', '55P03'])
      expect(isPassing(wrapped(code))).toBe(true);
    for (const code of ['SQLITE_FULL', '53100', '57014', '57P01', '40003', '23505'])
      expect(isPassing(withCode(code))).toBe(false);
  });

  it.each([
    ['SQLITE_FULL', 'UNAVAILABLE', /no space left/],
    ['53100', 'UNAVAILABLE', /no space left/],
    ['53400', 'UNAVAILABLE', /no space left.*temporary files/],
    ['53200', 'UNAVAILABLE', /lacks memory/],
    ['58030', 'UNAVAILABLE', /cannot be read or written/],
    ['57014', 'UNAVAILABLE', /cancelled/],
    ['57P01', 'UNAVAILABLE', /ended the connection/],
    ['40P01', 'LOCK_TIMEOUT', /stood in the way/],
    ['SQLITE_BUSY', 'LOCK_TIMEOUT', /holds the lock/],
  ])('is explained when it is %s: %s', (code, as, sentence) => {
    for (const error of [withCode(code), wrapped(code)])
      expect(explainDatabaseError(error)).toMatchObject({
        code: as,
        message: expect.stringMatching(sentence),
      });
  });
});

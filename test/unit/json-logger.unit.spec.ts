import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { JsonLogger } from '../../src/web/json-logger.js';

/** What a driver's error carries along. */
const SECRET = 'dear Ada, call me at 08000000001';

describe('the log as JSON', () => {
  const logged = (work: (logger: JsonLogger) => void): Record<string, unknown>[] => {
    const stream = new PassThrough();
    work(new JsonLogger(['log', 'warn', 'error', 'fatal'], stream));
    const text = (stream.read() as Buffer | null)?.toString() ?? '';
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };

  it('has a line for each entry of the levels that are asked for, with level, time and context', () => {
    const lines = logged((logger) => {
      logger.log('it listens', 'Segue');
      logger.debug('not asked for');
      logger.warn('the database is away', 'Health');
      logger.error('it failed', 'Error: it failed\n    at somewhere', 'GraphQL');
    });
    expect(lines).toEqual([
      {
        level: 30,
        time: expect.any(Number),
        pid: process.pid,
        context: 'Segue',
        message: 'it listens',
      },
      {
        level: 40,
        time: expect.any(Number),
        pid: process.pid,
        context: 'Health',
        message: 'the database is away',
      },
      {
        level: 50,
        time: expect.any(Number),
        pid: process.pid,
        context: 'GraphQL',
        stack: 'Error: it failed\n    at somewhere',
        message: 'it failed',
      },
    ]);
  });

  it('writes nothing of what an error carries beside its sentence', () => {
    const error = Object.assign(new Error('invalid input'), {
      parameters: [SECRET],
      query: `INSERT INTO messages VALUES ('${SECRET}')`,
      driverError: { detail: SECRET },
    });
    const lines = logged((logger) => {
      logger.error(error, 'GraphQL');
      logger.error('it failed', error);
      logger.error({ text: SECRET });
    });
    expect(lines.map(({ message }) => message)).toEqual([
      'invalid input',
      'it failed',
      '[object Object]',
    ]);
    expect(JSON.stringify(lines)).not.toContain('Ada');
  });
});

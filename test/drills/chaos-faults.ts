/** Faults that the chaos has to notice; `faulty-server.ts` plants them. */
export const CHAOS_FAULTS = {
  'announce-before-commit': 'a message is told of before its transaction is rolled back',
  'acknowledge-before-commit': 'a message is acknowledged before it is committed',
  'cursor-by-id-only':
    'PostgreSQL: events are given their ids without the lock of the log; SQLite: a cursor is read one event too far',
} as const;

export type ChaosFault = keyof typeof CHAOS_FAULTS;

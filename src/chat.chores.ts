import { servedSidesAt } from './changeover/sides.js';
import { readState } from './changeover/stage.js';
import type { Database } from './database/database.js';
import { type Chore, Chores } from './database/chores.js';
import { tryAgain } from './database/try-again.js';
import { forgetEvents } from './events/event-log.js';
import type { DeprecatedCalls } from './legacy/deprecated-calls.js';
import type { PresenceService } from './presence/presence.service.js';
import type { ReceiptWriter } from './receipts/receipt-writer.js';

export interface ChatChoresParts {
  readonly database: Database;
  readonly receipts: ReceiptWriter;
  readonly presences: PresenceService;
  readonly deprecatedCalls: DeprecatedCalls;
  /** For how long events are kept, in seconds. */
  readonly eventRetention: number;
}

/** What a chat needs to be looked after: receipts that are still to be written on old rows, who came and went, events that are too old. */
export function chatChores(
  { database, receipts, presences, deprecatedCalls, eventRetention }: ChatChoresParts,
  warn: (message: string) => void,
): Chores {
  const isServed = async (): Promise<boolean> => servedSidesAt(await readState(database)) !== 'old';
  const chores: Chore[] = [
    {
      name: 'A receipt was not written on all of its old rows',
      restMs: 500,
      rests: 2,
      run: async (stopping) => {
        if (!(await isServed())) return;
        const isWaiting = async (): Promise<boolean> =>
          (await database.reader.all('SELECT 1 AS one FROM receipt_mirrors LIMIT 1')).length > 0;
        while (!stopping.aborted && (await isWaiting()))
          await tryAgain(() =>
            database.transaction((transaction) => receipts.raiseNext(transaction)),
          );
      },
    },
    {
      name: 'Who came and went was not written down',
      restMs: 250,
      rests: 2,
      run: () => presences.flush(),
    },
    {
      name: 'Who called the old API was not written down',
      restMs: 1_000,
      rests: 20,
      run: async () => {
        if ((await readState(database)).stage === 'LEGACY') deprecatedCalls.forget();
        else await deprecatedCalls.flush(database);
      },
    },
    {
      name: 'Old events were not forgotten',
      restMs: 60_000,
      rests: 20,
      run: async () => {
        if (await isServed()) await forgetEvents(database, eventRetention);
      },
    },
  ];
  return new Chores(chores, warn);
}

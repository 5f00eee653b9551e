import { describe, expect, it } from '@jest/globals';
import { appOn } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

describe.each(ENGINES)('who hangs up while nothing happens, on %s', (engine) => {
  it('is forgotten at once, and not only with the next event', async () => {
    const { database } = await legacyDatabase(engine, { messages: 0 });
    await migrate(database);
    const app = await appOn(database);
    for (const field of [
      'events { __typename }',
      'messageAdded { id }',
      'receiptUpdated { status }',
      'newMessage(userId: 1) { id }',
    ]) {
      const stream = await app.subscribe('1', `subscription { ${field} }`);
      if (!(Symbol.asyncIterator in stream)) throw new Error(`${field}: ${String(stream.message)}`);
      const waiting = stream.next();
      await stream.return(undefined);
      expect(await waiting).toMatchObject({ done: true });
    }
  });
});

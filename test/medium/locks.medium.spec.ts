import { describe, expect, it } from '@jest/globals';
import { expand } from '../../src/changeover/expand.js';
import { readState } from '../../src/changeover/stage.js';
import { ENGINES, open } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase } from '../helpers/legacy.js';

const onPostgres = ENGINES.includes('postgres') ? describe : describe.skip;

onPostgres('expand beside a long reader on PostgreSQL', () => {
  it('lets others read on while it waits for its lock, and gets it in the end', async () => {
    const { location, database } = await legacyDatabase('postgres', { messages: 20 });
    const [holder, reader] = [await open(location), await open(location)];

    let letGo: () => void = () => undefined;
    const hold = holder.transaction(async (transaction) => {
      await transaction.all('SELECT count(*) FROM messages');
      await new Promise<void>((resolve) => (letGo = resolve));
    });
    const expanding = expand(contextOf(database), EXPAND);

    // The reader holds messages: expand has added the rest and tries again and again.
    const triesSeen = async (): Promise<boolean> => {
      const [row] = await reader.reader.all<{ there: string }>(
        `SELECT count(*) AS there FROM information_schema.columns WHERE table_name = 'users' AND column_name = 'last_seen'`,
      );
      return Number(row?.there) === 1;
    };
    while (!(await triesSeen())) await new Promise((resolve) => setTimeout(resolve, 20));
    for (let i = 0; i < 20; i += 1) {
      // Without a lock_timeout this read would queue up behind the ALTER TABLE until the holder ends: for ever.
      await reader.reader.all('SELECT count(*) FROM messages');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect((await readState(reader)).stage).toBe('LEGACY');

    letGo();
    await hold;
    expect(await expanding).toBe('EXPANDED');
  });
});

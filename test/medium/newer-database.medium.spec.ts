import { describe, expect, it } from '@jest/globals';
import { expand } from '../../src/changeover/expand.js';
import { readState } from '../../src/changeover/stage.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { openDatabase } from '../../src/database/open-database.js';
import { schemaOf } from '../../src/schema.js';
import { ENGINES, open } from '../helpers/databases.js';
import { contextOf, EXPAND, legacyDatabase } from '../helpers/legacy.js';

describe.each(ENGINES)('a database that another version wrote, on %s', (engine) => {
  it('is not opened, and what is not known is named', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 5 });
    await expand(contextOf(database), EXPAND);
    await database.transaction((transaction) =>
      transaction.run(
        `INSERT INTO segue_migrations (timestamp, name) VALUES (1890000000001, 'Reactions1890000000001'), (5, 'Trial5')`,
      ),
    );
    await expect(open(location)).rejects.toMatchObject({
      code: 'NEWER_DATABASE',
      message: expect.stringMatching(
        /was written by another version of Segue: .* Reactions1890000000001, Trial5, which version [\d.]+ does not know/,
      ),
    });
    await database.transaction((transaction) =>
      transaction.run('DELETE FROM segue_migrations WHERE timestamp IN (1890000000001, 5)'),
    );
    expect((await readState(await open(location))).stage).toBe('EXPANDED');
  });

  it('may be an older one: what is missing is no hindrance', async () => {
    const { location } = await legacyDatabase(engine, { messages: 5 });
    const schema = schemaOf(engine, DEFAULT_MAPPING);
    const older = await openDatabase(location, {
      ...schema,
      migrations: schema.migrations.slice(0, -1),
    });
    await older.migrate();
    await older.close();
    const database = await open(location);
    expect(await expand(contextOf(database), EXPAND)).toBe('EXPANDED');
    expect(await readState(database)).toMatchObject({ addsColumns: true });
  });
});

import { describe, expect, it } from '@jest/globals';
import { irregularKinds } from '../../src/demo/irregular-rows.js';
import { ENGINES } from '../helpers/databases.js';
import { differences, differencesIn, readContents, readExpected } from '../helpers/contents.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

describe.each(ENGINES)('the rules for rows on %s', (engine) => {
  it('move regular rows as the model says', async () => {
    const { database, planted } = await legacyDatabase(engine, { messages: 2_000 });
    expect(planted).toEqual([]);
    expect(await migrate(database)).toMatchObject({ mismatches: 0, migratedMessages: 2_000 });
    expect(await differencesIn(database.reader, engine)).toEqual([]);
  });

  it('move each kind of irregular row as the manifest and the model say', async () => {
    const { database, planted } = await legacyDatabase(engine, {
      messages: 3_000,
      seed: 5,
      irregular: { share: 0.3 },
    });
    expect(new Set([...planted.map(({ kind }) => kind), 'hole'])).toEqual(
      new Set(irregularKinds(engine)),
    );
    expect(await migrate(database)).toMatchObject({ mismatches: 0 });
    const contents = await readContents(database.reader, engine);
    const expected = await readExpected(database.reader, engine);
    expect(differences(contents, expected)).toEqual([]);
    for (const { id, kind, expect: side, note } of planted) {
      const [message, quarantined] = [
        contents.enhanced_messages[id],
        contents.changeover_quarantine[id],
      ];
      expect({ id, kind, is: message === undefined ? 'quarantined' : 'migrated' }).toEqual({
        id,
        kind,
        is: side,
      });
      if (side === 'quarantined') expect(quarantined).toEqual({ reason: JSON.stringify(note) });
    }
  });
});

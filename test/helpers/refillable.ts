import type { DatabaseLocation } from '../../src/config/config.js';
import { UTC } from '../../src/config/zone.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import { expand } from '../../src/changeover/expand.js';
import type { Database, Queryable } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { OWN_TABLE_NAMES } from '../../src/database/migrations/migrations.js';
import type { OldRow } from '../../src/demo/irregular-rows.js';
import { generateLegacy } from '../../src/demo/legacy-generator.js';
import { insertRows, literal } from '../../src/demo/old-values.js';
import { LEGACY_COLUMNS, PLAIN_NAMES } from '../../src/legacy/old-rows.js';
import { emptyDatabase, open } from './databases.js';
import { contextOf, EXPAND } from './legacy.js';

/** How the old table of messages was declared, where that makes a difference. */
export const SHAPES: Readonly<Record<EngineName, readonly string[]>> = {
  sqlite: ['typed', 'untyped', 'nocase', 'texts'],
  postgres: ['typed'],
};

const COLUMNS: Readonly<Record<string, string>> = {
  'sqlite typed': `id INTEGER PRIMARY KEY AUTOINCREMENT, sender_id INTEGER, recipient_id INTEGER, group_id INTEGER,
    content TEXT, type TEXT, status TEXT, created_at DATETIME`,
  'sqlite untyped': `id INTEGER PRIMARY KEY, sender_id, recipient_id, group_id, content, type, status, created_at`,
  'sqlite nocase': `id INTEGER PRIMARY KEY, sender_id INTEGER, recipient_id INTEGER, group_id INTEGER,
    content TEXT COLLATE NOCASE, type TEXT COLLATE NOCASE, status TEXT COLLATE RTRIM, created_at TEXT COLLATE NOCASE`,
  'sqlite texts': `id INTEGER PRIMARY KEY, sender_id TEXT, recipient_id TEXT, group_id TEXT, content TEXT, type TEXT, status TEXT,
    created_at TEXT`,
  'postgres typed': `id BIGINT PRIMARY KEY, sender_id BIGINT, recipient_id BIGINT, group_id BIGINT, content TEXT,
    type TEXT, status TEXT, created_at TIMESTAMP`,
};

/** An expanded database that is filled with other old rows again and again: a new one each time takes much longer. */
export interface Refillable {
  readonly location: DatabaseLocation;
  readonly database: Database;
  /** Takes back all that a changeover did after expand, and puts other rows into the old table. */
  refill(rows: readonly OldRow[]): Promise<void>;
  /** Puts other rows into the old table, as its own app would that no trigger saw. */
  rewrite(rows: readonly OldRow[]): Promise<void>;
}

/** Makes one whose old table has the columns of a shape and no constraint, and these people in `users`. */
export async function refillable(
  engine: EngineName,
  shape: string,
  accounts: readonly bigint[],
  zone = UTC,
): Promise<Refillable> {
  const location = await emptyDatabase(engine);
  const database = await open(location, { create: true, zone });
  await generateLegacy(database, DEFAULT_MAPPING, { messages: 0, seed: 1 });
  await database.transaction(async (transaction) => {
    await transaction.run('DROP TABLE messages');
    await transaction.run(`CREATE TABLE messages (${COLUMNS[`${engine} ${shape}`]})`);
    for (const table of ['settings', 'devices', 'contacts', 'call_logs', 'verification_codes'])
      await transaction.run(`DELETE FROM ${table}`);
    await transaction.run('DELETE FROM users');
    if (engine === 'postgres')
      await transaction.run('ALTER TABLE users ALTER COLUMN id TYPE bigint');
    for (const id of accounts)
      await transaction.run(`INSERT INTO users (id, phone) VALUES (${id}, 'phone ${id}')`);
  });
  await expand(contextOf(database), EXPAND);
  await database.transaction((transaction) =>
    transaction.run('CREATE TABLE test_state AS SELECT * FROM changeover_state'),
  );
  const replace = async (transaction: Queryable, rows: readonly OldRow[]): Promise<void> => {
    await transaction.run('DELETE FROM messages');
    await insertRows(transaction, 'messages', Object.values(PLAIN_NAMES), rows.map(valuesOf));
    // As if no trigger had seen it.
    await transaction.run('DELETE FROM changeover_queue');
  };
  return {
    location,
    database,
    rewrite: (rows) => database.transaction((transaction) => replace(transaction, rows)),
    refill: (rows) =>
      database.transaction(async (transaction) => {
        await replace(transaction, rows);
        for (const table of OWN_TABLE_NAMES) await transaction.run(`DELETE FROM ${table}`);
        await transaction.run('INSERT INTO changeover_state SELECT * FROM test_state');
      }),
  };
}

/** The rows as a statement, to be tried by hand. */
export function asSql(rows: readonly OldRow[]): string {
  const values = rows.map((row) => `  (${valuesOf(row).map(literal).join(', ')})`);
  return `INSERT INTO messages (${Object.values(PLAIN_NAMES).join(', ')}) VALUES\n${values.join(',\n')};`;
}

function valuesOf(row: OldRow): OldRow[keyof OldRow][] {
  return LEGACY_COLUMNS.map((name) => row[name]);
}

import type { Queryable } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { type Cell, integer, NULL, readCells, show } from './cells.js';
import { type Contents, expectedContents, type OldCells, type Table } from './model.js';

/** The old table, with types kept. */
export async function readOldRows(queryable: Queryable, engine: EngineName): Promise<OldCells[]> {
  const columns = {
    id: 'integer',
    sender_id: 'integer',
    recipient_id: 'integer',
    group_id: 'integer',
    content: 'text',
    type: 'text',
    status: 'text',
    created_at: 'text',
  } as const;
  const cells = await readCells(queryable, engine, 'messages', columns);
  const texts = await queryable.all<Record<'id' | 'content' | 'created', string | null>>(
    TEXTS[engine],
  );
  const byId = new Map(texts.map((row) => [row.id, row]));
  return cells.map((row) => {
    const found = byId.get(show(row.id));
    return {
      ...row,
      content_text: bytesOf(found?.content ?? null),
      created_text: bytesOf(found?.created ?? null),
    };
  });
}

/** What the database itself gives as a value's text, in hexadecimal digits. */
const TEXTS: Record<EngineName, string> = {
  sqlite: `SELECT CAST(id AS TEXT) AS id, CASE WHEN content IS NOT NULL THEN hex(CAST(content AS TEXT)) END AS content,
      CASE WHEN created_at IS NOT NULL THEN hex(CAST(created_at AS TEXT)) END AS created FROM messages`,
  postgres: `SELECT id::text AS id, encode(convert_to(content, 'UTF8'), 'hex') AS content,
      encode(convert_to(created_at::text, 'UTF8'), 'hex') AS created FROM messages`,
};

function bytesOf(hex: string | null): Cell {
  return hex === null ? NULL : { type: 'text', bytes: Buffer.from(hex, 'hex') };
}

/** What the model says of the old table as it is now. */
export async function readExpected(queryable: Queryable, engine: EngineName): Promise<Contents> {
  const users = await queryable.all<{ id: string }>('SELECT CAST(id AS text) AS id FROM users');
  const [state] = await queryable.all<{ at: string; zone: string }>(
    'SELECT CAST(started_at AS text) AS at, zone FROM changeover_state',
  );
  return expectedContents(
    engine,
    await readOldRows(queryable, engine),
    new Set(users.map(({ id }) => BigInt(id))),
    BigInt(state?.at ?? 0),
    state?.zone ?? 'UTC',
  );
}

/** What the changeover made of it. */
export async function readContents(queryable: Queryable, engine: EngineName): Promise<Contents> {
  const read = <Name extends string>(
    table: string,
    columns: Readonly<Record<Name, 'integer' | 'text'>>,
  ): Promise<Record<Name, Cell>[]> => readCells(queryable, engine, table, columns);
  const [int, texts] = ['integer', 'text'] as const;

  const conversations = await read('conversations', {
    id: int,
    kind: texts,
    pair_low: int,
    pair_high: int,
    legacy_group_id: int,
    name: texts,
    created_at: int,
    last_position: int,
  });
  const names = new Map(
    conversations.map((row) => [
      show(row.id),
      row.legacy_group_id.type === 'null'
        ? `pair ${show(row.pair_low)} ${show(row.pair_high)}`
        : `group ${show(row.legacy_group_id)}`,
    ]),
  );
  const nameOf = (id: Cell): string =>
    id.type === 'null' ? 'null' : (names.get(show(id)) ?? `none: ${show(id)}`);

  const participants = await read('conversation_participants', {
    conversation_id: int,
    user_id: int,
    role: texts,
    has_written: texts,
    left_at: int,
  });
  const messages = await read('enhanced_messages', {
    id: int,
    conversation_id: int,
    sender_id: int,
    legacy_message_id: int,
    client_id: texts,
    kind: texts,
    text: texts,
    sent_at: int,
    position: int,
    status: int,
    raw_mask: int,
    removed_at: int,
  });
  const raw = await read('legacy_raw_values', {
    message_id: int,
    conversation_id: int,
    sender_id: texts,
    recipient_id: texts,
    group_id: texts,
    content: texts,
    type: texts,
    status: texts,
    created_at: texts,
    created_text: texts,
  });
  const quarantine = await read('changeover_quarantine', { legacy_id: int, reason: texts });
  const links = await read('messages', { id: int, conversation_id: int });

  return {
    conversations: tableOf(conversations, ({ id, ...row }) => [nameOf(id), row]),
    conversation_participants: tableOf(
      participants,
      ({ conversation_id, user_id, has_written, ...row }) => [
        `${nameOf(conversation_id)} ${show(user_id)}`,
        { ...row, has_written: FLAGS[show(has_written)] ?? has_written },
      ],
    ),
    enhanced_messages: tableOf(messages, ({ conversation_id, ...row }) => [
      show(row.id),
      row,
      nameOf(conversation_id),
    ]),
    legacy_raw_values: tableOf(raw, ({ message_id, conversation_id, ...row }) => [
      show(message_id),
      row,
      nameOf(conversation_id),
    ]),
    changeover_quarantine: tableOf(quarantine, ({ legacy_id, ...row }) => [show(legacy_id), row]),
    links: tableOf(links, ({ id, conversation_id }) => [show(id), {}, nameOf(conversation_id)]),
  };
}

/** A flag is a number on SQLite and a truth value on PostgreSQL. */
const FLAGS: Readonly<Record<string, Cell>> = { '"true"': integer(1n), '"false"': integer(0n) };

type Shown = [key: string, row: Readonly<Record<string, Cell>>, conversation?: string];

function tableOf<Row>(rows: readonly Row[], shownOf: (row: Row) => Shown): Table {
  const table: Table = {};
  for (const row of rows) {
    const [key, cells, conversation] = shownOf(row);
    if (key in table) throw new Error(`${key} is there twice`);
    table[key] = {
      ...(conversation === undefined ? {} : { conversation }),
      ...Object.fromEntries(Object.entries(cells).map(([name, cell]) => [name, show(cell)])),
    };
  }
  return table;
}

/** Where the tables differ from what the model says. */
export async function differencesIn(queryable: Queryable, engine: EngineName): Promise<string[]> {
  return differences(await readContents(queryable, engine), await readExpected(queryable, engine));
}

/** Where the two differ, value by value; empty when they are the same. */
export function differences(actual: Contents, expected: Contents): string[] {
  const found: string[] = [];
  for (const name of keysOf(actual, expected)) {
    const [tableIs, tableMust] = [actual[name as keyof Contents], expected[name as keyof Contents]];
    for (const key of keysOf(tableIs, tableMust)) {
      const [is, must] = [tableIs[key], tableMust[key]];
      if (is === undefined || must === undefined) {
        const row = JSON.stringify(is ?? must);
        found.push(`${name} ${key}: ${is === undefined ? 'missing' : 'must not be there'}: ${row}`);
        continue;
      }
      for (const column of keysOf(is, must))
        if (is[column] !== must[column])
          found.push(
            `${name} ${key}: ${column} is ${String(is[column])}, must be ${String(must[column])}`,
          );
    }
  }
  return found;
}

function keysOf(a: object, b: object): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])];
}

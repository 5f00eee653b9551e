import type { Queryable } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { show } from './cells.js';
import { differences, readContents, readExpected, readOldRows } from './contents.js';
import { type Contents, instantOf } from './model.js';

/** `raw_mask` of a message that came when its conversation was further on. */
const LATE = 128n;

type Row = Record<string, string>;

/**
 * Where the new side is not what the model says of the old table as it is now, though the old app wrote while it was
 * copied and since. What depends on the order of the writes is held against what is said of it instead: a late message
 * stands behind its time, one without a time stands anywhere, a conversation that lost its messages has tombstones.
 */
export async function outOfStep(queryable: Queryable, engine: EngineName): Promise<string[]> {
  const is = await readContents(queryable, engine);
  const must = await readExpected(queryable, engine);
  const [state] = await queryable.all<{ at: string; zone: string; fills: boolean | number }>(
    'SELECT CAST(started_at AS text) AS at, zone, fills_link AS fills FROM changeover_state',
  );
  // Where an old trigger might act on it, the link stays empty.
  if (!state?.fills) for (const link of Object.values(must.links)) link.conversation = 'null';
  const startedAt = BigInt(state?.at ?? 0);
  const old = new Map(
    (await readOldRows(queryable, engine)).map((row) => {
      const instant = instantOf(engine, row.created_at, state?.zone ?? 'UTC');
      const usable = instant !== null && instant <= startedAt ? instant : null;
      return [show(row.id), { usable, createdText: show(row.created_text) }];
    }),
  );
  const complaints: string[] = [];
  const check = (holds: boolean, complaint: string): void => {
    if (!holds) complaints.push(complaint);
  };

  const places = new Map<string, bigint[]>();
  for (const [id, row] of Object.entries(is.enhanced_messages)) {
    const conversation = row.conversation ?? '';
    const position = BigInt(row.position ?? 0);
    places.set(conversation, [...(places.get(conversation) ?? []), position]);
    if (row.legacy_message_id === 'null') {
      check(row.text === 'null' && row.raw_mask === '0', `tombstone ${id}: ${JSON.stringify(row)}`);
      remove(is.enhanced_messages, id);
      continue;
    }
    const expected = must.enhanced_messages[id];
    const from = old.get(id);
    if (expected === undefined || from === undefined) continue;
    const mask = BigInt(row.raw_mask ?? 0);
    const isLate = (mask & LATE) !== 0n;
    if (isLate) {
      row.raw_mask = String(mask & ~LATE);
      check(
        is.legacy_raw_values[id]?.created_text === from.createdText,
        `message ${id} came late, and its old time is not beside it`,
      );
      // Kept for the sake of its time alone.
      if (row.raw_mask === '0') {
        const raw = Object.entries(is.legacy_raw_values[id] ?? {});
        check(
          raw.every(
            ([column, value]) =>
              ['conversation', 'created_text'].includes(column) || value === 'null',
          ),
          `message ${id} came late, and has raw values: ${JSON.stringify(raw)}`,
        );
        remove(is.legacy_raw_values, id);
      }
    }
    const { usable } = from;
    if (usable === null) check(row.sent_at === row.position, `message ${id}: sent_at`);
    else if (isLate) check(position >= usable, `late message ${id} stands before its time`);
    if (isLate || usable === null) row.position = expected.position ?? '';
    if (usable === null) row.sent_at = expected.sent_at ?? '';
  }

  for (const [name, row] of Object.entries(is.conversations)) {
    const all = places.get(name) ?? [];
    const last = all.reduce((a, b) => (a > b ? a : b), 0n);
    check(all.length > 0, `conversation ${name} has no message`);
    check(row.last_position === String(last), `conversation ${name}: last_position is not ${last}`);
    check(
      all.every((place) => place >= BigInt(row.created_at ?? 0)),
      `conversation ${name} was made after its messages`,
    );
    const expected = must.conversations[name];
    if (expected === undefined) remove(is.conversations, name);
    else for (const column of ['last_position', 'created_at']) row[column] = expected[column] ?? '';
  }
  checkParticipants(is, must, check);
  return [...complaints, ...differences(is, must)];
}

/** Who is admin depends on who wrote first at the time; that there is one does not. */
function checkParticipants(
  is: Contents,
  must: Contents,
  check: (holds: boolean, complaint: string) => void,
): void {
  const admins = new Map<string, number>();
  for (const [key, row] of Object.entries(is.conversation_participants)) {
    const conversation = key.replace(/ \S+$/, '');
    admins.set(conversation, (admins.get(conversation) ?? 0) + (row.role === '"admin"' ? 1 : 0));
    const expected = must.conversation_participants[key];
    if (expected !== undefined) row.role = expected.role ?? '';
    else if (!(conversation in must.conversations)) {
      // The two of it stay beside its tombstones.
      check(
        conversation.startsWith('pair') && row.has_written === '0',
        `participant ${key}: ${JSON.stringify(row)}, though nothing is left that he wrote`,
      );
      remove(is.conversation_participants, key);
    }
  }
  for (const [conversation, count] of admins)
    check(
      count === (conversation.startsWith('group') ? 1 : 0),
      `conversation ${conversation} has ${count} admins`,
    );
}

function remove(table: Record<string, Row>, key: string): void {
  Reflect.deleteProperty(table, key);
}

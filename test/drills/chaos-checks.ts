import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import { readCursor } from '../../src/events/cursor.js';
import { globalId } from '../../src/graphql/global-ids.js';
import type { Reader, Sent, Told, Writer } from './chaos-clients.js';

/** What the journals and the database say against each other. */
export interface Findings {
  /** Acknowledged, and not there as it was sent; or not told to somebody who had to be told. */
  lost: string[];
  /** There more than once, told more than once, or answered with two messages. */
  doubled: string[];
  outOfOrder: string[];
  /** Told of what is not in the log, does not exist, is otherwise, or is not his to see. */
  wronglyTold: string[];
  resyncs: number;
}

interface EventRow {
  readonly id: number;
  readonly kind: string;
  readonly conversationId: string | null;
  readonly userId: string | null;
  readonly messageId: string | null;
  readonly at: string;
}

interface MessageRow {
  readonly id: string;
  readonly conversationId: string;
  readonly senderId: string | null;
  readonly clientId: string | null;
  readonly text: string | null;
  readonly position: string;
  readonly removedAt: string | null;
}

interface Membership {
  readonly joined: number | null;
  readonly left: number | null;
}

/** All that is compared, read when nobody writes any more. */
export class State {
  /** By message, its last removal. */
  readonly removals: ReadonlyMap<string, number>;
  /** By conversation and user. */
  private readonly leavers: ReadonlySet<string>;

  private constructor(
    readonly events: ReadonlyMap<number, EventRow>,
    readonly messages: ReadonlyMap<string, MessageRow>,
    readonly oldRows: readonly Record<'id' | 'senderId' | 'content', string | null>[],
    /** By conversation and user. */
    private readonly members: ReadonlyMap<string, Membership>,
    /**
     * By conversation, whether it is a group of the old app: who has written in one is in it, and the old app writes and
     * deletes. With the last message of a conversation of its own, the conversation goes too.
     */
    private readonly isOldGroup: ReadonlyMap<string, boolean>,
    /** By conversation and user: who was in them in the beginning. */
    private readonly firstMembers: ReadonlySet<string>,
  ) {
    this.removals = new Map(
      [...events.values()]
        .filter(({ kind }) => kind === 'MessageRemoved')
        .map(({ id, messageId }) => [messageId ?? '', id]),
    );
    this.leavers = new Set(
      [...events.values()]
        .filter(({ kind }) => kind === 'ConversationLeft')
        .map(({ conversationId, userId }) => `${conversationId ?? ''} ${userId ?? ''}`),
    );
  }

  /** @param firstMembers as `membersOf` gave them before anybody wrote */
  static async read({ reader }: Database, firstMembers: ReadonlySet<string>): Promise<State> {
    const id = (column: string, name: string): string => `CAST(${column} AS text) AS "${name}"`;
    const events = await reader.all<Omit<EventRow, 'id'> & { id: number | string }>(
      `SELECT id, kind, ${id('conversation_id', 'conversationId')}, ${id('user_id', 'userId')}, ${id('message_id', 'messageId')}, ${id('at', 'at')} FROM events ORDER BY id`,
    );
    const messages = await reader.all<MessageRow>(
      `SELECT ${id('id', 'id')}, ${id('conversation_id', 'conversationId')}, ${id('sender_id', 'senderId')}, client_id AS "clientId", text,
         ${id('position', 'position')}, ${id('removed_at', 'removedAt')} FROM enhanced_messages`,
    );
    const { table, columns } = DEFAULT_MAPPING.messages;
    const oldRows = await reader.all<Record<'id' | 'senderId' | 'content', string | null>>(
      `SELECT ${id(columns.id, 'id')}, ${id(columns.senderId, 'senderId')}, ${columns.content} AS content FROM ${table}`,
    );
    const members = await reader.all<{
      conversationId: string;
      userId: string;
      joined: string | null;
      left: string | null;
    }>(
      `SELECT ${id('conversation_id', 'conversationId')}, ${id('user_id', 'userId')}, ${id('joined_event', 'joined')}, ${id('left_event', 'left')} FROM conversation_participants`,
    );
    const conversations = await reader.all<{ id: string; isOldGroup: boolean | number }>(
      `SELECT ${id('id', 'id')}, kind = 'group' AND NOT made_here AS "isOldGroup" FROM conversations`,
    );
    const numberOf = (text: string | null): number | null => (text === null ? null : Number(text));
    return new State(
      new Map(events.map((event) => [Number(event.id), { ...event, id: Number(event.id) }])),
      new Map(messages.map((message) => [message.id, message])),
      oldRows,
      new Map(
        members.map(({ conversationId, userId, joined, left }) => [
          `${conversationId} ${userId}`,
          { joined: numberOf(joined), left: numberOf(left) },
        ]),
      ),
      new Map(conversations.map((each) => [each.id, Boolean(each.isOldGroup)])),
      firstMembers,
    );
  }

  membershipOf({ conversationId }: EventRow, userId: string): Membership | undefined {
    return this.members.get(`${conversationId ?? ''} ${userId}`);
  }

  /** Whether an event is a person's to see; null where nobody can say any more. */
  isFor(event: EventRow, userId: string): boolean | null {
    if (event.userId !== null) return event.userId === userId;
    const { conversationId } = event;
    if (conversationId === null) return false;
    const membership = this.membershipOf(event, userId);
    if (membership === undefined)
      return this.isOldGroup.get(conversationId) === false ? false : null;
    const { joined, left } = membership;
    return (joined === null || event.id > joined) && (left === null || event.id <= left);
  }

  /** The events that a reader must have been told of: of messages that are still where they were. */
  *dueTo({ options: { person, cursor } }: Reader): Generator<EventRow> {
    const start = readCursor(cursor)?.id ?? 0;
    for (const event of this.events.values()) {
      if (event.id <= start || !/^Message(Added|Changed)$/.test(event.kind)) continue;
      const message = this.messages.get(event.messageId ?? '');
      if (message?.removedAt !== null || message.conversationId !== event.conversationId) continue;
      if (this.isFor(event, person.id) === true && this.hasStayed(event, person.id)) yield event;
    }
  }

  /** Whether he was in the event's conversation all the time. */
  private hasStayed({ conversationId }: EventRow, userId: string): boolean {
    const key = `${conversationId ?? ''} ${userId}`;
    return (
      this.isOldGroup.get(conversationId ?? '') === false ||
      (this.firstMembers.has(key) && !this.leavers.has(key))
    );
  }
}

/** By conversation and user: who is in them now. */
export async function membersOf({ reader }: Database): Promise<ReadonlySet<string>> {
  const rows = await reader.all<{ key: string }>(
    `SELECT CAST(conversation_id AS text) || ' ' || CAST(user_id AS text) AS key FROM conversation_participants`,
  );
  return new Set(rows.map(({ key }) => key));
}

/** How many events a reader still has to be told of. */
export function missingOf(state: State, reader: Reader): EventRow[] {
  const told = new Set(reader.journal.map(({ cursor }) => readCursor(cursor)?.id));
  return [...state.dueTo(reader)].filter(({ id }) => !told.has(id));
}

export function compare(
  state: State,
  writers: readonly Writer[],
  readers: readonly Reader[],
): Findings {
  const findings: Findings = {
    lost: [],
    doubled: [],
    outOfOrder: [],
    wronglyTold: [],
    resyncs: 0,
  };
  compareSent(state, writers, findings);
  readers.forEach((reader, n) => {
    compareTold(state, reader, `reader ${n}`, findings);
  });
  return findings;
}

function compareSent(state: State, writers: readonly Writer[], findings: Findings): void {
  const byClientId = groupedBy(state.messages.values(), ({ clientId }) => clientId);
  const byText = groupedBy(state.messages.values(), ({ text }) => text);
  const oldByText = groupedBy(state.oldRows, ({ content }) => content);
  const additions = groupedBy(
    [...state.events.values()].filter(({ kind }) => kind === 'MessageAdded'),
    ({ messageId }) => messageId,
  );
  for (const { journal } of writers) {
    const last = new Map<string, bigint>();
    for (const sent of journal) {
      const { clientId, text, conversationId, answers } = sent;
      const rows = byClientId.get(clientId) ?? [];
      const oldRows = oldByText.get(text) ?? [];
      const [row] = rows;
      if (rows.length > 1 || (byText.get(text)?.length ?? 0) > 1 || oldRows.length > 1)
        findings.doubled.push(
          `${clientId} is there ${rows.length} times, in the old table ${oldRows.length} times`,
        );
      if (new Set(answers).size > 1)
        findings.doubled.push(`${clientId} was answered with ${answers.join(' and ')}`);
      if (answers.length > 0) {
        if (!isAsSent(row, sent)) findings.lost.push(`${clientId} is not on the new side as sent`);
        const [oldRow] = oldRows;
        if (
          oldRow?.senderId !== sent.senderId ||
          globalId('Message', oldRow.id ?? '') !== answers[0]
        )
          findings.lost.push(`${clientId} is not in the old table as sent`);
      }
      if (row === undefined) continue;
      const events = additions.get(row.id)?.filter((event) => isOfThisRow(state, event)) ?? [];
      if (events.length === 0) findings.lost.push(`${clientId} has no event`);
      if (events.length > 1) findings.doubled.push(`${clientId} has ${events.length} events`);
      const position = BigInt(row.position);
      if (position <= (last.get(conversationId) ?? 0n))
        findings.outOfOrder.push(`${clientId} is before what its writer sent before it`);
      last.set(conversationId, position);
    }
  }
}

function isAsSent(row: MessageRow | undefined, sent: Sent): boolean {
  return (
    row?.removedAt === null &&
    row.text === sent.text &&
    row.senderId === sent.senderId &&
    globalId('Conversation', row.conversationId) === sent.conversationId &&
    globalId('Message', row.id) === sent.answers[0]
  );
}

/** SQLite gives the number of a row that the old app deleted out again: what was told of that one is not of this. */
function isOfThisRow({ removals }: State, { id, messageId }: EventRow): boolean {
  return (removals.get(messageId ?? '') ?? 0) < id;
}

function compareTold(state: State, reader: Reader, name: string, findings: Findings): void {
  const { journal, options } = reader;
  const seen = new Set<number>();
  let last = 0;
  for (const told of journal) {
    const place = readCursor(told.cursor);
    if (place === null) {
      findings.wronglyTold.push(`${name} was given ${told.cursor}, which is no cursor`);
      continue;
    }
    if (told.type === 'ResyncRequired') {
      findings.resyncs += 1;
      continue;
    }
    if (seen.has(place.id)) findings.doubled.push(`${name} was told of event ${place.id} again`);
    else if (place.id <= last)
      findings.outOfOrder.push(`${name} was told of event ${place.id} after ${last}`);
    seen.add(place.id);
    last = Math.max(last, place.id);
    const wrong = wrongIn(state, told, place, options.person.id);
    if (wrong !== null) findings.wronglyTold.push(`${name}, event ${place.id}: ${wrong}`);
  }
  for (const { id, kind } of missingOf(state, reader))
    findings.lost.push(
      id < last
        ? `${name} was told of event ${last} and not of ${id}, ${kind}`
        : `${name} did not come to event ${id}, ${kind}`,
    );
}

function wrongIn(
  state: State,
  { type, messageId, text }: Told,
  { id, at }: { id: number; at: string },
  userId: string,
): string | null {
  const event = state.events.get(id);
  if (event === undefined) return 'it is not in the log';
  if (event.at !== at || event.kind !== type) return 'the log has another one in its place';
  if (state.isFor(event, userId) === false)
    return `it is not his to see: ${JSON.stringify({ event, membership: state.membershipOf(event, userId) })}`;
  if (messageId === undefined) return null;
  if (messageId !== globalId('Message', event.messageId ?? ''))
    return `it told of ${messageId}, and the log says ${String(event.messageId)}`;
  const row = state.messages.get(event.messageId ?? '');
  if (row?.removedAt !== null)
    return isOfThisRow(state, event) && type !== 'MessageRemoved'
      ? `${messageId} does not exist, and nothing removed it`
      : null;
  return row.clientId !== null && isOfThisRow(state, event) && text !== row.text
    ? `the text of ${messageId} is another one`
    : null;
}

function groupedBy<Item>(
  items: Iterable<Item>,
  keyOf: (item: Item) => string | null,
): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    if (key === null) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

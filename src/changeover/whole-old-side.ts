import type { Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import { inRange, nextAfter, oldRows } from '../legacy/old-rows.js';
import { IS_OF_ACCOUNT } from './capture.js';
import type { ChangeoverContext } from './context.js';
import type { Lease } from './lease.js';
import { Meter } from './progress.js';

/** Messages per statement: a long read would hold the WAL back on SQLite, and vacuum on PostgreSQL. */
const ROWS_PER_RANGE = 50_000;

/** What was proved: that each of so many messages on the new side has its old row, of all that the log told up to then. */
export interface Proof {
  readonly messages: number;
  /** The newest event that there was before the first of them was looked at; 0: none. */
  readonly throughEvent: string;
}

/** Things of one kind that the old table has no form for. */
export interface MadeHere {
  readonly what: string;
  readonly count: number;
}

/**
 * What people can only have made on the new side, in words, with what it is read FROM: where there is any of it,
 * a rollback lays the new side aside instead of taking it away. Sign-in codes, sessions and who was there when are not
 * among it: they go with a purge, and that is no reason to refuse a way back.
 */
const MADE_HERE: readonly [rows: string, from: string][] = [
  [
    "messages that were sent here, whose mirrors do not hold their clients' ids (enhanced_messages.made_here)",
    'FROM enhanced_messages WHERE made_here',
  ],
  ['receipts (message_status)', 'FROM message_status'],
  [
    'names and pictures of conversations (conversations.name, avatar_url)',
    'FROM conversations WHERE name IS NOT NULL OR avatar_url IS NOT NULL',
  ],
  [
    'conversations that were made here (conversations.made_here)',
    'FROM conversations WHERE made_here',
  ],
  [
    'answers to a message (enhanced_messages.reply_to_id)',
    'FROM enhanced_messages WHERE reply_to_id IS NOT NULL AND removed_at IS NULL',
  ],
  [
    // The copy lets nobody leave, and only writers into groups.
    'people who joined or left a conversation (conversation_participants)',
    `FROM conversation_participants p JOIN conversations c ON c.id = p.conversation_id
     WHERE p.left_at IS NOT NULL OR (c.kind = 'group' AND NOT p.has_written)`,
  ],
];

/**
 * Proves that the old side holds each message of the new side, which can then be gone without. What is left of a message
 * that the old app deleted is no message: there is nothing in it to lose.
 *
 * Reads in ranges of 50,000 messages and takes no lock; the lease is kept alive in between.
 * @param expected the number of messages, as far as known, to tell progress by.
 * @throws SegueError WOULD_LOSE_ROWS naming what stands on the new side only, with counts; LEASE_LOST.
 */
export async function checkOldSideIsWhole(
  context: ChangeoverContext,
  lease: Lease,
  expected: number,
): Promise<Proof> {
  const { database, mapping, report } = context;
  const rows = oldRows(database.dialect, mapping);
  const m = rows.of('m');
  const rangeEnd = `SELECT CAST(id AS text) AS range_end FROM enhanced_messages
    WHERE id >= CAST(:from AS bigint) ORDER BY id LIMIT 1 OFFSET :size - 1`;
  // What the old app has deleted stands in the queue until that is applied: in one statement, since it goes on deleting.
  const isDeleted = `EXISTS (SELECT 1 FROM changeover_queue q
      WHERE q.legacy_id = e.legacy_message_id OR (q.legacy_id IS NULL AND NOT ${IS_OF_ACCOUNT}))`;
  const count = `SELECT count(*) AS copies, count(e.legacy_message_id) AS mirrored,
      count(CASE WHEN ${m.id} IS NOT NULL THEN 1 WHEN e.legacy_message_id IS NOT NULL AND ${isDeleted} THEN 1 END) AS held
    FROM enhanced_messages e LEFT JOIN ${rows.table} m ON ${m.id} = e.legacy_message_id
    WHERE ${inRange('e.id')} AND e.removed_at IS NULL`;
  const meter = new Meter('proof', expected, report);
  const [newest] = await database.reader.all<{ id: string }>(
    `SELECT CAST(coalesce(max(id), 0) AS text) AS id FROM events`,
  );
  let [messages, neverOld, oldGone] = [0, 0, 0];
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const [end] = await database.reader.all<{ range_end: string }>(rangeEnd, {
      from,
      size: ROWS_PER_RANGE,
    });
    const upTo: string = end?.range_end ?? HIGHEST_ID;
    const [found] = await database.reader.all<
      Record<'copies' | 'mirrored' | 'held', number | string>
    >(count, { from, upTo });
    const copies = Number(found?.copies);
    const mirrored = Number(found?.mirrored);
    const held = Number(found?.held);
    messages += copies;
    neverOld += copies - mirrored;
    oldGone += mirrored - held;
    meter.add(copies);
    await lease.keepAlive(database);
    from = nextAfter(upTo);
  }
  refuseToLose([
    ['messages that never had an old row (enhanced_messages without legacy_message_id)', neverOld],
    ["messages whose old row is gone ('segue verify' lists them)", oldGone],
  ]);
  return { messages, throughEvent: newest?.id ?? '0' };
}

/**
 * Checks, in the transaction that takes the new side away, that it still is what was proved to stand on the old one.
 * On PostgreSQL its tables have to be locked by then.
 * @throws SegueError WOULD_LOSE_ROWS.
 */
export async function checkUnchangedSince(
  transaction: Queryable,
  { messages }: Pick<Proof, 'messages'>,
): Promise<void> {
  const [row] = await transaction.all<{ count: number | string }>(
    'SELECT count(*) AS count FROM enhanced_messages WHERE removed_at IS NULL',
  );
  if (Number(row?.count) !== messages)
    throw new SegueError(
      'WOULD_LOSE_ROWS',
      `The new side had ${messages} messages when they were looked at, and has ${Number(row?.count)} now: somebody writes to it. ` +
        `Nothing was changed; stop who writes, and run this again.`,
    );
}

/**
 * Checks, in the transaction that lays the new side aside, that what was sent since the proof stands on the old side too.
 * What the old app has deleted of it meanwhile stands in the queue.
 * @throws SegueError WOULD_LOSE_ROWS.
 */
export async function checkSentSince(
  transaction: Queryable,
  { database: { dialect }, mapping }: ChangeoverContext,
  { throughEvent }: Proof,
): Promise<void> {
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const [lost] = await transaction.all<{ count: number | string }>(
    `SELECT count(DISTINCT e.id) AS count FROM events l JOIN enhanced_messages e ON e.id = l.message_id
     WHERE l.id > CAST(:throughEvent AS bigint) AND l.kind = 'MessageAdded' AND e.removed_at IS NULL
       AND NOT EXISTS (SELECT 1 FROM ${rows.table} m WHERE ${m.id} = e.legacy_message_id)
       AND NOT EXISTS (SELECT 1 FROM changeover_queue q WHERE q.legacy_id = e.legacy_message_id)`,
    { throughEvent },
  );
  refuseToLose([['messages without an old row that were sent meanwhile', Number(lost?.count)]]);
}

/** What has no old form, each kind with how much of it there is; nothing: the old table says it all. */
export async function findMadeHere(queryable: Queryable): Promise<MadeHere[]> {
  const found: MadeHere[] = [];
  for (const [what, from] of MADE_HERE) {
    const [row] = await queryable.all<{ count: number | string }>(
      `SELECT count(*) AS count ${from}`,
    );
    if (Number(row?.count) > 0) found.push({ what, count: Number(row?.count) });
  }
  return found;
}

/** Whether there is anything of it: found at once where there is, without counting under a lock. */
export async function isAnythingMadeHere(queryable: Queryable): Promise<boolean> {
  for (const [, from] of MADE_HERE)
    if ((await queryable.all(`SELECT 1 AS one ${from} LIMIT 1`)).length > 0) return true;
  return false;
}

/** What has no old form, as one text for messages. */
export function listMadeHere(found: readonly MadeHere[]): string {
  return found.map(({ what, count }) => `${count} ${what}`).join(', ');
}

function refuseToLose(found: readonly [rows: string, count: number][]): void {
  const lost = found.filter(([, count]) => count > 0);
  if (lost.length > 0)
    throw new SegueError(
      'WOULD_LOSE_ROWS',
      `${lost.map(([rows, count]) => `${count} ${rows}`).join(', ')}: this stands on the new side only and would be lost. ` +
        `Nothing was changed; export and delete it first.`,
    );
}

import { beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { DataSource } from 'typeorm';
import { Applier, applyQueued } from '../../src/changeover/apply.js';
import { backfill } from '../../src/changeover/backfill.js';
import { putCaptureOn } from '../../src/changeover/capture.js';
import { expand } from '../../src/changeover/expand.js';
import { Lease } from '../../src/changeover/lease.js';
import { rollback, type RollbackTarget } from '../../src/changeover/rollback.js';
import { compareNext } from '../../src/changeover/rolling-compare.js';
import { getState, hasReached, readState, type Stage } from '../../src/changeover/stage.js';
import { verify } from '../../src/changeover/verify.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { setCutover } from '../../src/changeover/cutover.js';
import { StagedSides } from '../../src/changeover/sides.js';
import { ConversationWriter } from '../../src/conversations/conversation-writer.js';
import { GroupedWrites } from '../../src/database/grouped-writes.js';
import { SegueError } from '../../src/errors/segue-error.js';
import {
  type MessageDraft,
  MessageWriter,
  type WrittenMessage,
} from '../../src/messages/message-writer.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { CALLERS, GROUPS, PEERS } from '../helpers/arbitrary-rows.js';
import { readOldRows } from '../helpers/contents.js';
import { atTheEnd, ENGINES, failingAt, untilCrash, watching } from '../helpers/databases.js';
import { outOfStep } from '../helpers/in-step.js';
import { contextOf, EXPAND } from '../helpers/legacy.js';
import { differingAnswers } from '../helpers/old-answers.js';
import {
  lineOf,
  oldInserts,
  OldTables,
  type OldWrite,
  oldWrites,
  sqlOf,
  type Written,
} from '../helpers/old-writes.js';
import { type Refillable, refillable } from '../helpers/refillable.js';

/** Runs for each old table. The long form: SEGUE_MODEL_RUNS=500, with a seed of its own each time. */
const LONG = Number(process.env.SEGUE_MODEL_RUNS ?? 0);
const RUNS = LONG || 10;
const SEED = Number(process.env.SEGUE_TEST_SEED ?? (LONG > 0 ? Date.now() % 2 ** 31 : 1));
const MILLISECONDS_PER_RUN = 10_000;

/** Rows of a batch, a range, a page or a slice: so few that a dozen rows make several of each. */
const FEW = 4;

/** Entries of a slice: fewer than one transaction of the old app leaves. */
const SLICE = 2;

const PEOPLE = [1, 2, 3];

const TABLES = ENGINES.flatMap((engine): [EngineName, string][] =>
  engine === 'sqlite'
    ? [
        [engine, 'typed'],
        [engine, 'nocase'],
      ]
    : [[engine, 'typed']],
);

/** What has to be there, as far as the verbs have come: all that is known beside the database itself. */
interface Model {
  stage: Stage;
  /** A crash may have ended a rollback before its end; it says LEGACY by then. */
  isWayBack: boolean;
  old: OldTables;
  /** What was sent on the new side: clients' ids, with the messages'. */
  sent: Map<string, string>;
  /** Ids of rows that the old app has deleted, or made anew. */
  reused: Set<number>;
}

interface Real {
  /** Works in small steps. */
  readonly database: Database;
  readonly oldApp: OldApp;
}

/** A step of an old app or of an operator, in any order that their verbs allow. */
class Step implements fc.AsyncCommand<Model, Real> {
  constructor(
    private readonly name: string,
    private readonly may: (model: Model) => boolean,
    private readonly act: (model: Model, real: Real) => Promise<void>,
  ) {}

  check(model: Readonly<Model>): boolean {
    return this.may(model);
  }

  async run(model: Model, real: Real): Promise<void> {
    await this.act(model, real);
    const complaints = await brokenInvariants(model, real.database);
    if (complaints.length > 0) throw new Error(`after ${this.name}:\n${complaints.join('\n')}`);
  }

  toString(): string {
    return this.name;
  }
}

/** Its connection is its own: raw SQL, nothing of ours in between. */
class OldApp {
  private constructor(
    private readonly source: DataSource,
    private readonly engine: EngineName,
  ) {}

  static async on(location: DatabaseLocation): Promise<OldApp> {
    const source = new DataSource(
      location.engine === 'sqlite'
        ? { type: 'sqlite', database: location.path, busyTimeout: 1_000 }
        : { type: 'postgres', url: location.url, poolSize: 1 },
    );
    await source.initialize();
    atTheEnd(() => source.destroy());
    return new OldApp(source, location.engine);
  }

  async write(writes: readonly OldWrite[], ending: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    const runner = this.source.createQueryRunner();
    try {
      await runner.query(this.engine === 'sqlite' ? 'BEGIN IMMEDIATE' : 'BEGIN');
      for (const write of writes) await runner.query(sqlOf(this.engine, write));
      await runner.query(ending);
    } finally {
      await runner.release();
    }
  }
}

/** What must be so at every instant, also right after a crash. */
async function brokenInvariants(model: Model, database: Database): Promise<string[]> {
  const { reader, dialect } = database;
  const complaints: string[] = [];
  const state = await readState(database);
  if (state.stage !== model.stage)
    complaints.push(`the stage is ${state.stage}, must be ${model.stage}`);

  // 1: the old side is what its app made of it.
  const rows = await readOldRows(reader, dialect.engine);
  const is = rows.map((row) =>
    lineOf([
      row.id,
      row.sender_id,
      row.recipient_id,
      row.group_id,
      row.content,
      row.type,
      row.status,
      row.created_at,
    ]),
  );
  complaints.push(...surplus('the old table lacks', model.old.lines, is));
  complaints.push(...surplus('the old table has too much', is, model.old.lines));
  const people = (
    await reader.all<{ line: string }>(`SELECT CAST(id AS text) || ' ' || phone AS line FROM users`)
  ).map(({ line }) => line);
  complaints.push(...surplus('users lacks', model.old.people, people));
  complaints.push(...surplus('users has too much', people, model.old.people));

  // 3: each row is copied once, or in quarantine once, or still to do; 5: what the checkpoint claims is there.
  const read = async (statement: string): Promise<string[]> =>
    (await reader.all<{ id: string | null }>(statement)).map(({ id }) => String(id));
  const copies = await read(
    'SELECT CAST(legacy_message_id AS text) AS id FROM enhanced_messages WHERE legacy_message_id IS NOT NULL',
  );
  const quarantined = await read('SELECT CAST(legacy_id AS text) AS id FROM changeover_quarantine');
  const told = [...copies, ...quarantined];
  if (new Set(told).size !== told.length) complaints.push(`twice on the new side: ${told.join()}`);
  // What a rollback laid aside counts again when it was compared.
  const isAside = state.keptSince !== null;
  const ofOldApp =
    copies.length -
    Number(
      (
        await read(
          'SELECT CAST(count(*) AS text) AS id FROM enhanced_messages WHERE made_here AND legacy_message_id IS NOT NULL',
        )
      )[0],
    );
  if (!isAside && (state.migrated !== ofOldApp || state.quarantined !== quarantined.length))
    complaints.push(
      `the books say ${state.migrated} and ${state.quarantined}, there are ${ofOldApp} and ${quarantined.length}`,
    );
  if (!hasReached(state.stage, 'BACKFILLING')) {
    if (told.length > 0 && !isAside) complaints.push(`copies at ${state.stage}: ${told.join()}`);
    const links = await read(
      'SELECT CAST(id AS text) AS id FROM messages WHERE conversation_id IS NOT NULL',
    );
    if (links.length > 0 && !model.isWayBack) complaints.push(`links left: ${links.join()}`);
    return complaints;
  }
  // What was sent is there under its client's id, until the old app gives the number of a deleted row out again.
  const clients = new Map(
    (
      await reader.all<{ clientId: string; id: string }>(
        `SELECT client_id AS "clientId", CAST(id AS text) AS id FROM enhanced_messages WHERE client_id IS NOT NULL`,
      )
    ).map(({ clientId, id }) => [clientId, id]),
  );
  for (const [clientId, id] of model.sent)
    if (clients.get(clientId) !== id && !model.reused.has(Number(id)))
      complaints.push(`${clientId} was sent as ${id}, and is ${String(clients.get(clientId))}`);
  const pending = new Set(
    await read(
      `SELECT CAST(legacy_id AS text) AS id FROM changeover_queue WHERE source <> 'users'`,
    ),
  );
  // The whole table was emptied: each row is pending.
  if (pending.has('null')) return complaints;
  const isToDo = (id: string): boolean =>
    state.stage === 'BACKFILLING' &&
    state.doneAbove !== null &&
    BigInt(id) <= BigInt(state.doneAbove);
  const onNewSide = new Set(told);
  for (const id of model.old.ids.map(String))
    if (!onNewSide.has(id) && !pending.has(id) && !isToDo(id))
      complaints.push(`row ${id} is neither copied, nor in quarantine, nor still to do`);
  const ids = new Set(model.old.ids.map(String));
  for (const id of told)
    if (!ids.has(id) && !pending.has(id)) complaints.push(`row ${id} is gone, and its copy is not`);
  return complaints;
}

function surplus(what: string, lines: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others);
  return lines.filter((line) => !known.has(line)).map((line) => `${what} ${line}`);
}

/** The same database, of which each batch, range, page and look takes a few rows. */
function inSmallSteps(database: Database): Database {
  return watching(database, (sql, parameters) =>
    // Who drains the queue takes less than a slice for its end.
    parameters?.size === undefined || sql.includes('FROM changeover_queue LIMIT')
      ? parameters
      : { ...parameters, size: Math.min(Number(parameters.size), FEW) },
  );
}

/** A database of which one read of the queue gives a few entries only. */
function withSmallSlices(database: Database): Database {
  return watching(database, (_, parameters) =>
    parameters?.size === undefined ? parameters : { ...parameters, size: SLICE },
  );
}

/** Every command, with what it may be told. */
function stepsOf(engine: EngineName, shape: string): fc.Arbitrary<Step>[] {
  const cut = fc.option(fc.integer({ min: 1, max: 90 }), { freq: 1 });
  /** Runs a verb to its end or to the n-th statement, and takes the stage over that it came to. */
  const verb = (
    name: string,
    cutAt: number | null,
    may: (stage: Stage) => boolean,
    run: (database: Database) => Promise<unknown>,
    came: (before: Stage) => { end: Stage; between: readonly Stage[] },
  ): Step =>
    new Step(
      cutAt === null ? name : `${name}, crash at ${cutAt}`,
      ({ stage }) => may(stage),
      async (model, { database }) => {
        const { end, between } = came(model.stage);
        const isDone = await untilCrash(() =>
          run(cutAt === null ? database : failingAt(database, cutAt)),
        );
        const { stage } = await getState(database.reader);
        expect(isDone ? [end] : [model.stage, ...between, end]).toContain(stage);
        if (isDone && stage !== 'LEGACY') model.isWayBack = false;
        else if (!isDone && stage === 'LEGACY') model.isWayBack = true;
        model.stage = stage;
      },
    );
  const from = (least: Stage) => (stage: Stage) => hasReached(stage, least);
  const keeps = (stage: Stage): { end: Stage; between: readonly Stage[] } => ({
    end: stage,
    between: [],
  });
  const back = (to: RollbackTarget, cutAt: number | null): Step =>
    verb(
      `rollback --to ${to}`,
      cutAt,
      (stage) => stage !== to && hasReached(stage, to),
      (database) => rollback(contextOf(database), { to, migrationsTable: EXPAND.migrationsTable }),
      () => ({ end: to, between: hasReached(to, 'BACKFILLED') ? [] : ['LEGACY'] }),
    );
  const write = fc
    .record({
      writes: fc.array(oldWrites(engine, shape), { minLength: 1, maxLength: 6, size: 'max' }),
      commits: fc.nat(5).map((n) => n > 0),
    })
    .map(({ writes, commits }) => {
      const ending = commits ? 'COMMIT' : 'ROLLBACK';
      return new Step(
        `[${writes.map((each) => sqlOf(engine, each)).join('; ')}; ${ending}]`,
        () => true,
        async (model, { oldApp }) => {
          const after = model.old.copy();
          await oldApp.write(
            writes.filter((each) => after.write(each)),
            ending,
          );
          if (!commits) return;
          // What it does with a number that it had deleted, or given to another row, is its own.
          for (const id of model.sent.values())
            if (
              writes.some((each) => 'id' in each || each.kind === 'delete' || each.kind === 'empty')
            )
              model.reused.add(Number(id));
          model.old = after;
        },
      );
    });
  const slice = cut.map((cutAt) =>
    verb(
      'apply a slice',
      cutAt,
      from('EXPANDED'),
      (database) =>
        new Applier(contextOf(database)).applySlice(withSmallSlices(database).reader, (work) =>
          Lease.once(database, work),
        ),
      keeps,
    ),
  );
  const send = fc.constantFrom(['1', '2'], ['2', '1'], ['1', '3']).map(
    ([from = '', to = '']) =>
      new Step(
        `send from ${from} to ${to}`,
        ({ stage }) => hasReached(stage, 'BACKFILLED'),
        (model, { database }) => sendMessage(model, database, from, to),
      ),
  );
  return [
    write,
    write,
    write,
    cut.map((cutAt) =>
      verb(
        'expand',
        cutAt,
        (stage) => stage === 'LEGACY',
        (database) => expand(contextOf(database), EXPAND),
        () => ({ end: 'EXPANDED', between: [] }),
      ),
    ),
    cut.map((cutAt) =>
      verb(
        'backfill',
        cutAt,
        (stage) => stage === 'EXPANDED' || stage === 'BACKFILLING',
        (database) => backfill(contextOf(database)),
        () => ({ end: 'BACKFILLED', between: ['BACKFILLING'] }),
      ),
    ),
    // Those that are cut off somewhere in the batches make most of what may go wrong.
    fc.integer({ min: 20, max: 110 }).map((cutAt) =>
      verb(
        'backfill',
        cutAt,
        (stage) => stage === 'EXPANDED' || stage === 'BACKFILLING',
        (database) => backfill(contextOf(database)),
        () => ({ end: 'BACKFILLED', between: ['BACKFILLING'] }),
      ),
    ),
    slice,
    slice,
    fc.constant(verb('apply all', null, from('EXPANDED'), drain, keeps)),
    fc.tuple(cut, fc.boolean()).map(([cutAt, repair]) =>
      verb(
        repair ? 'verify --repair' : 'verify',
        cutAt,
        from('BACKFILLED'),
        async (database) => {
          const { found, mismatches } = await verify(contextOf(database), { repair });
          expect(found).toEqual([]);
          expect(mismatches).toBe(0);
        },
        (before) => ({
          end: hasReached(before, 'CUTTING_OVER') ? before : 'VERIFIED',
          between: [],
        }),
      ),
    ),
    send,
    send,
    fc.constantFrom(0, 50, 100).map(
      (percent) =>
        new Step(
          `cutover --percent ${percent}`,
          ({ stage }) => hasReached(stage, 'BACKFILLED'),
          async (model, { database }) => {
            const { stage } = await setCutover(contextOf(database), { percent }, { force: true });
            const may: Stage[] =
              percent === 0
                ? ['BACKFILLED', 'VERIFIED']
                : [percent === 100 ? 'COMPLETE' : 'CUTTING_OVER'];
            expect(may).toContain(stage);
            model.stage = stage;
          },
        ),
    ),
    fc.constant(
      verb(
        'a look of the rolling compare',
        null,
        from('BACKFILLED'),
        async (database) => {
          expect((await compareNext(contextOf(database)))?.found).toEqual([]);
        },
        keeps,
      ),
    ),
    fc
      .tuple(
        fc.constantFrom<RollbackTarget>('LEGACY', 'LEGACY', 'EXPANDED', 'BACKFILLED', 'VERIFIED'),
        cut,
      )
      .map(([to, cutAt]) => back(to, cutAt)),
  ];
}

/** Sends a message as a new client does; where one of the two has no account it is refused, and nothing is written. */
async function sendMessage(
  model: Model,
  database: Database,
  from: string,
  to: string,
): Promise<void> {
  const { dialect } = database;
  const sides = new StagedSides(dialect, DEFAULT_MAPPING);
  const clientId = `message ${model.sent.size + 1}`;
  try {
    const conversationId = await database.transaction((transaction) =>
      new ConversationWriter(dialect, DEFAULT_MAPPING, sides).startDirect(transaction, from, to),
    );
    const writer = new MessageWriter(dialect, DEFAULT_MAPPING, sides);
    const sends = new GroupedWrites<MessageDraft, WrittenMessage>(
      database,
      (transaction, drafts) => writer.write(transaction, drafts),
      () => undefined,
    );
    const draft = { senderId: from, conversationId, clientId, text: clientId, kind: 'text' };
    const { messageId } = await sends.write({ ...draft, replyToId: null });
    const [row] = await database.reader.all<Written>(
      `SELECT sender_id, recipient_id, group_id, content, type, status, CAST(created_at AS text) AS created_at
       FROM messages WHERE id = ${messageId}`,
    );
    if (row === undefined) throw new Error(`${clientId} has no old row`);
    model.sent.set(clientId, messageId);
    const whole = (value: Written['sender_id']): Written['sender_id'] =>
      value === null ? null : Number(value);
    model.old.adopt(Number(messageId), {
      ...row,
      sender_id: whole(row.sender_id),
      recipient_id: whole(row.recipient_id),
      group_id: whole(row.group_id),
    });
  } catch (error) {
    if (!(error instanceof SegueError && ['NOT_FOUND', 'RECIPIENT_GONE'].includes(error.code)))
      throw error;
  }
}

async function drain(database: Database): Promise<void> {
  await applyQueued(contextOf(database));
}

/**
 * Without what is said of messages that were sent here, and of conversations that were begun here: the old rows are not all of
 * them, and verify compares what is.
 */
async function ofOldApp(
  { reader }: Database,
  complaints: readonly string[],
): Promise<readonly string[]> {
  const sent = await reader.all<{ id: string }>(
    'SELECT CAST(id AS text) AS id FROM enhanced_messages WHERE made_here',
  );
  const begun = await reader.all<{ name: string }>(
    `SELECT 'pair ' || CAST(pair_low AS text) || ' ' || CAST(pair_high AS text) AS name FROM conversations WHERE made_here`,
  );
  const about = [
    ...sent.flatMap(({ id }) => [
      `enhanced_messages ${id}:`,
      `legacy_raw_values ${id}:`,
      `message ${id}`,
    ]),
    ...begun.map(({ name }) => `conversation ${name} has no message`),
  ];
  return complaints.filter((complaint) => !about.some((start) => complaint.startsWith(start)));
}

/** Goes on to VERIFIED from wherever it stands, and compares everything. */
async function finish(model: Model, { database }: Real, engine: EngineName): Promise<void> {
  const context = contextOf(database);
  if (model.stage === 'LEGACY') await expand(context, EXPAND);
  await backfill(context);
  await drain(database);
  const complaints = [
    ...(await ofOldApp(database, await outOfStep(database.reader, engine))),
    ...(await differingAnswers(database, { callers: CALLERS, peers: PEERS, groups: GROUPS })),
  ];
  const { stage, pending, found } = await verify(context).then(async (verification) => ({
    ...verification,
    stage: (await readState(database)).stage,
  }));
  for (let isRound = false; !isRound;) {
    const look = await compareNext(context);
    if (look === null) throw new Error('Nothing is compared');
    complaints.push(...look.found.map((each) => `rolling compare: ${JSON.stringify(each)}`));
    ({ isRound } = look);
  }
  complaints.push(...found.map((each) => `verify: ${JSON.stringify(each)}`));
  if (!hasReached(stage, 'VERIFIED') || pending > 0)
    complaints.push(`${stage} with ${pending} pending`);
  model.stage = stage;
  complaints.push(...(await brokenInvariants(model, database)));
  if (complaints.length > 0) throw new Error(`at the end:\n${complaints.join('\n')}`);
}

describe.each(TABLES)('any changeover of any old table on %s, %s', (engine, shape) => {
  let table: Refillable;
  let real: Real;

  beforeAll(async () => {
    table = await refillable(engine, shape, []);
    real = { database: inSmallSteps(table.database), oldApp: await OldApp.on(table.location) };
  });

  /** The database as it was right after expand, or after the way back from there, whatever the run before left. */
  async function begin(inserts: readonly OldWrite[], stage: Stage): Promise<Model> {
    const { database } = table;
    await database.restructure(async (transaction) => {
      for (const statement of database.dialect.lateIndexes.build) await transaction.run(statement);
      await transaction.run('DELETE FROM users');
    });
    await table.refill([]);
    await putCaptureOn(database, DEFAULT_MAPPING);
    if (stage === 'LEGACY')
      await rollback(contextOf(database), {
        to: 'LEGACY',
        migrationsTable: EXPAND.migrationsTable,
      });
    const old = new OldTables();
    const writes = [...PEOPLE.map((id): OldWrite => ({ kind: 'addUser', id })), ...inserts];
    for (const write of writes) old.write(write);
    await real.oldApp.write(writes, 'COMMIT');
    return { stage, isWayBack: false, old, sent: new Map(), reused: new Set() };
  }

  it(
    'loses nothing, doubles nothing and leaves the old side alone, in any order of verbs, crashes and writes',
    async () => {
      const limit = RUNS * MILLISECONDS_PER_RUN;
      await fc.assert(
        fc.asyncProperty(
          oldInserts(engine, shape),
          fc.constantFrom<Stage>('LEGACY', 'EXPANDED', 'EXPANDED'),
          fc.commands(stepsOf(engine, shape), { maxCommands: 24, size: 'max' }),
          async (inserts, stage, steps) => {
            const model = await begin(inserts, stage);
            await fc.asyncModelRun(() => ({ model, real }), steps);
            await finish(model, real, engine);
          },
        ),
        // What shrinks for too long is told as it is by then.
        { seed: SEED, numRuns: RUNS, interruptAfterTimeLimit: limit, markInterruptAsFailure: true },
      );
    },
    30_000 + RUNS * MILLISECONDS_PER_RUN,
  );
});

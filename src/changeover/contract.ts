import type { Queryable } from '../database/database.js';
import { messageOf, SegueError } from '../errors/segue-error.js';
import { Applier } from './apply.js';
import { captureStatements, dropCapture } from './capture.js';
import { voidCertificates } from './certificate.js';
import type { ChangeoverContext } from './context.js';
import { exportRetired } from './export-retired.js';
import { type GateAssurances, QUEUES, readGate } from './gate.js';
import { LaidAside } from './laid-aside.js';
import { Lease } from './lease.js';
import { noteAction } from './log.js';
import { retiredMapping, retiredName } from './retired.js';
import { addedColumnsOf, hasColumn, hasTable } from './shape.js';
import { endShadow } from './shadow.js';
import { changeStage, getState, readState } from './stage.js';

/** How often the queues are drained and looked at again, while somebody fills them. */
const TRIES = 10;

/** Our tables that whoever writes a message locks before he asks which sides there are. */
const WRITTEN = [
  'conversations',
  'enhanced_messages',
  'message_status',
  'receipt_mirrors',
] as const;

export interface RetireResult {
  readonly stage: 'CONTRACTED';
  /** What the old table is called from now on. */
  readonly table: string;
}

/**
 * The contract step, as long as there is a way back: gives the old table another name, so that whoever still uses it is
 * found out, and takes capture off. Servers go on: they write mirrors under the new name, so that `restoreOldTable` only
 * has to give the old one back, and nothing is missing.
 *
 * Refused while anything of the gate is open. Takes the lease. On PostgreSQL no lock of the old table is waited for longer
 * than 50 ms at a time; on SQLite views and triggers of the old app that name the table are rewritten by the engine.
 * @param quietTime as `readGate` has it
 * @throws SegueError GATE_CLOSED naming what is open; NAME_TAKEN; RUNNER_ACTIVE, LEASE_LOST; LOCK_TIMEOUT;
 *   UNSUPPORTED_DATABASE when something of the old app's is in the way.
 */
export async function retire(
  context: ChangeoverContext,
  quietTime: number,
  assurances: GateAssurances,
): Promise<RetireResult> {
  const { database, mapping } = context;
  const { dialect } = database;
  await checkGate(context, quietTime, assurances);
  const table = retiredName(mapping);
  if (await isTaken(context, table))
    throw new SegueError(
      'NAME_TAKEN',
      `There is a ${table} already, which ${mapping.messages.table} would be called: rename or drop that first. Nothing was changed.`,
    );
  const aside = new LaidAside(context);
  const applier = new Applier(context);
  return Lease.hold(database, async (lease) => {
    await database.transaction((transaction) => transaction.run(dialect.empty('known_accounts')));
    await aside.noteAccounts(lease);
    for (let attempt = 1; ; attempt += 1) {
      await aside.raiseReceipts(lease);
      await applier.drain(database.reader, (work) => lease.fenced(database, work));
      // What is asked for may not be so any more.
      await checkGate(context, quietTime, assurances);
      const isDone = await database
        .restructure(async (transaction) => {
          await lease.renew(transaction);
          await transaction.run('UPDATE changeover_state SET changed_at = changed_at WHERE id = 1');
          for (const statement of dialect.lockTables(WRITTEN)) await transaction.run(statement);
          await renameTable(context, transaction, mapping.messages.table, table);
          // From here on nobody writes to it but us: what is in the queue now, we have to take up first.
          const [left] = await transaction.all<{ count: number | string }>(
            'SELECT (SELECT count(*) FROM changeover_queue) + (SELECT count(*) FROM receipt_mirrors) AS count',
          );
          if (Number(left?.count) > 0) throw new QueueIsFilled();
          await dropCapture(transaction, dialect, retiredMapping(mapping));
          await changeStage(transaction, dialect.now, 'COMPLETE', 'CONTRACTED');
          await endShadow(transaction);
          await transaction.run(
            `UPDATE changeover_state SET retired_at = ${dialect.now} WHERE id = 1`,
          );
          await noteAction(transaction, dialect.now, {
            who: context.who,
            did: `contract: ${mapping.messages.table} is called ${table}; backup ${String(assurances.backup)}`,
          });
          return true;
        })
        .catch((error: unknown) => {
          if (!(error instanceof QueueIsFilled)) throw error;
          if (attempt < TRIES) return false;
          throw new SegueError(
            'GATE_CLOSED',
            `The queues were filled each of ${TRIES} times that they had been drained: run this again when less is written. Nothing was changed.`,
          );
        });
      if (isDone) return { stage: 'CONTRACTED', table };
    }
  });
}

/**
 * The way back from there: gives the old table its name back and puts capture on, in one transaction; the stage is COMPLETE
 * again. Certificates are void: nobody knows what was written under the other name.
 * @throws SegueError NAME_TAKEN when there is another table of that name by now; LEASE_LOST, LOCK_TIMEOUT.
 */
export async function restoreOldTable(context: ChangeoverContext, lease: Lease): Promise<void> {
  const { database, mapping } = context;
  const { dialect } = database;
  const table = retiredName(mapping);
  if ((await readState(database)).sealedAt !== null)
    throw new SegueError(
      'WRONG_STAGE',
      `The stage is CONTRACTED, and ${table} is about to be dropped: what was sent since does not stand in it. 'segue contract --drop' goes on.`,
    );
  if (await isTaken(context, mapping.messages.table))
    throw new SegueError(
      'NAME_TAKEN',
      `There is a ${mapping.messages.table} by now, which ${table} would be called again: rename or drop that first. Nothing was changed.`,
    );
  await database.restructure(async (transaction) => {
    await lease.renew(transaction);
    await transaction.run('UPDATE changeover_state SET changed_at = changed_at WHERE id = 1');
    for (const statement of dialect.lockTables(WRITTEN)) await transaction.run(statement);
    await renameTable(context, transaction, table, mapping.messages.table);
    for (const statement of captureStatements(dialect, mapping)) await transaction.run(statement);
    await changeStage(transaction, dialect.now, 'CONTRACTED', 'COMPLETE');
    await transaction.run('UPDATE changeover_state SET retired_at = NULL WHERE id = 1');
    await new LaidAside(context).queueDepartures(transaction);
    await transaction.run(dialect.empty('known_accounts'));
    await voidCertificates(
      transaction,
      dialect.now,
      `${mapping.messages.table} was called ${table}, where nothing is captured`,
    );
    await noteAction(transaction, dialect.now, {
      who: context.who,
      did: `contract: ${table} is called ${mapping.messages.table} again`,
    });
  });
}

export interface DropResult {
  readonly stage: 'CONTRACTED';
  /** Old rows that stand in the file. */
  readonly exported: number;
  /** Those of our columns that stay in the old tables, as `table.column`. */
  readonly columnsLeft: readonly string[];
}

/**
 * The one step without a way back: writes the old table into a file, then drops it, with our columns in the old tables. On
 * SQLite those of `users` stay unless `dropColumns`: dropping them writes that table anew under a lock.
 * From its first transaction on nothing is written to the old table any more. Ended at any moment, the same call goes on, or
 * where the file is whole already, one with another file.
 * @param quietTime for how long the table has to have had its other name, in seconds
 * @param options.confirm `CONTRACTED`, typed
 * @throws SegueError BAD_USER_INPUT; WRONG_STAGE; GATE_CLOSED before its time; WOULD_LOSE_ROWS when somebody wrote to the
 *   table meanwhile, and then nothing was dropped; UNSUPPORTED_DATABASE when something of the old app's needs it.
 */
export async function dropOldTable(
  context: ChangeoverContext,
  quietTime: number,
  options: {
    readonly exportTo: string;
    readonly confirm: string | undefined;
    readonly dropColumns?: boolean;
  },
): Promise<DropResult> {
  const { database, mapping } = context;
  const { dialect } = database;
  if (options.confirm !== 'CONTRACTED')
    throw new SegueError(
      'BAD_USER_INPUT',
      `--confirm is ${JSON.stringify(options.confirm ?? '')}: it takes CONTRACTED, typed, since there is no way back from here. Nothing was dropped.`,
    );
  const { stage, retiredAt } = await readState(database);
  if (stage !== 'CONTRACTED' || retiredAt === null)
    throw new SegueError(
      'WRONG_STAGE',
      stage === 'CONTRACTED'
        ? 'There is no old table any more.'
        : `The stage is ${stage}: 'segue contract --retire' comes first. Nothing was dropped.`,
    );
  const [clock] = await database.reader.all<{ age: number | string }>(
    `SELECT ${dialect.now} - retired_at AS age FROM changeover_state WHERE id = 1`,
  );
  if (Number(clock?.age) < quietTime * 1_000_000)
    throw new SegueError(
      'GATE_CLOSED',
      `The old table has had its other name since ${new Date(retiredAt / 1_000).toISOString()}: it is dropped after ${Number((quietTime / 86_400).toFixed(5))} days without a complaint (CONTRACT_QUIET_DAYS). Nothing was dropped.`,
    );
  const table = retiredName(mapping);
  return Lease.hold(database, async (lease) => {
    // Only of a table that nobody writes to a file says all: servers write mirrors until here. A file that cannot be written
    // is found before, while there is a way back.
    const exported = await exportRetired(context, options.exportTo, () =>
      lease.fenced(database, async (transaction) => {
        await transaction.run('UPDATE changeover_state SET changed_at = changed_at WHERE id = 1');
        for (const statement of dialect.lockTables(WRITTEN)) await transaction.run(statement);
        await transaction.run(
          `UPDATE changeover_state SET sealed_at = coalesce(sealed_at, ${dialect.now}) WHERE id = 1`,
        );
      }),
    );
    const drops = dialect.dropsColumnsCheaply || options.dropColumns === true;
    const columns = addedColumnsOf(mapping).filter(
      ({ table: of }) => of !== mapping.messages.table,
    );
    await database.restructure(async (transaction) => {
      await lease.renew(transaction);
      await changeStage(transaction, dialect.now, 'CONTRACTED', 'CONTRACTED');
      const [rows] = await transaction.all<{ count: number | string }>(
        `SELECT count(*) AS count FROM ${dialect.name(table)}`,
      );
      if (Number(rows?.count) !== exported)
        throw new SegueError(
          'WOULD_LOSE_ROWS',
          `${table} has ${Number(rows?.count)} rows and ${exported} stand in ${options.exportTo}: somebody writes to it. Nothing was dropped.`,
        );
      try {
        await transaction.run(`DROP TABLE ${dialect.name(table)}`);
        if (drops && (await getState(transaction)).addsColumns)
          for (const { table: of, column } of columns.toReversed())
            if (await hasColumn(transaction, dialect, { table: of, column }))
              await transaction.run(
                `ALTER TABLE ${dialect.name(of)} DROP COLUMN ${dialect.name(column)}`,
              );
      } catch (error) {
        throw inTheWay(table, error);
      }
      await transaction.run(
        `UPDATE changeover_state SET retired_at = NULL, sealed_at = NULL${drops ? ', adds_columns = false' : ''} WHERE id = 1`,
      );
      await noteAction(transaction, dialect.now, {
        who: context.who,
        did: `contract: ${table} is dropped; ${exported} rows stand in ${options.exportTo}`,
      });
    });
    const left = [];
    for (const name of columns)
      if (await hasColumn(database.reader, dialect, name))
        left.push(`${name.table}.${name.column}`);
    return { stage: 'CONTRACTED', exported, columnsLeft: drops ? [] : left };
  });
}

/**
 * Checks all but the queues, which `retire` drains itself, and looks at under the locks.
 * @throws SegueError GATE_CLOSED.
 */
async function checkGate(
  context: ChangeoverContext,
  quietTime: number,
  assurances: GateAssurances,
): Promise<void> {
  const { stage } = await readState(context.database);
  if (stage === 'CONTRACTED')
    throw new SegueError('WRONG_STAGE', 'The stage is CONTRACTED already. Nothing was changed.');
  const open = (await readGate(context, quietTime, assurances)).filter(
    ({ name, met }) => !met && name !== QUEUES,
  );
  if (open.length > 0)
    throw new SegueError(
      'GATE_CLOSED',
      `The contract step waits for ${open.map(({ name, detail }) => `${name} (${detail})`).join('; ')}. Nothing was changed.`,
    );
}

async function isTaken({ database }: ChangeoverContext, table: string): Promise<boolean> {
  const [name] = await database.reader.all<{ present: number | string }>(
    database.dialect.isNameTaken,
    { table },
  );
  return Number(name?.present) > 0 || hasTable(database, table);
}

async function renameTable(
  { database: { dialect } }: ChangeoverContext,
  transaction: Queryable,
  from: string,
  to: string,
): Promise<void> {
  try {
    await transaction.run(`ALTER TABLE ${dialect.name(from)} RENAME TO ${dialect.name(to)}`);
  } catch (error) {
    // SQLite rewrites whatever names the table, and does not where something of it is broken.
    if (/error in (view|trigger)/i.test(messageOf(error))) throw inTheWay(from, error);
    throw error;
  }
}

function inTheWay(table: string, error: unknown): unknown {
  if (!/error in (view|trigger)|depend/i.test(messageOf(error))) return error;
  return new SegueError(
    'UNSUPPORTED_DATABASE',
    `Something of the old app's needs ${table}, or is broken (${messageOf(error)}): mend or drop that. The table is there as it was.`,
    { cause: error },
  );
}

/** The queue was filled at the last moment. */
class QueueIsFilled extends Error {}

import { explainDatabaseError } from '../database/database-errors.js';
import { OWN_TABLE_NAMES } from '../database/migrations/migrations.js';
import { SegueError } from '../errors/segue-error.js';
import type { ChangeoverContext } from './context.js';
import { bytesToWrite, measureTable, type TableSize } from './estimate.js';
import { checkNamesAreFree, checkShape, hasTable, isEmpty, listOldTriggers } from './shape.js';
import { readState } from './stage.js';

export interface ReadinessOptions {
  readonly migrationsTable: string;
  readonly withoutColumns: boolean;
}

/** Bytes that the changeover takes. */
export interface Space {
  readonly bytesToWrite: number;
  /** Twice that: the estimate is one, and the old app goes on writing. */
  readonly bytesNeeded: number;
  /** null: the disk could not be asked. */
  readonly bytesFree: number | null;
}

/** What is looked at, in this order; each after the first two needs the shape. */
export const CHECKS = ['rights', 'shape', 'names', 'mode', 'space'] as const;

export type CheckName = (typeof CHECKS)[number];

/** Whether a database can be expanded. */
export interface Readiness {
  /** What came of each check that could be made: null is well. */
  readonly checks: ReadonlyMap<CheckName, SegueError | null>;
  /** What would make expand fail, in the order of the checks. */
  readonly problems: readonly SegueError[];
  /** False where an old trigger would fire on the column, or where there is none to fill. */
  readonly fillsLink: boolean;
  /** null where the old table cannot be read. */
  readonly size: TableSize | null;
  readonly space: Space | null;
}

/**
 * Looks at all that expand needs, and changes nothing. It reads the old table of messages once, in ranges of 50,000
 * rows, without its texts.
 */
export async function examine(
  context: ChangeoverContext,
  { migrationsTable, withoutColumns }: ReadinessOptions,
): Promise<Readiness> {
  const { database, mapping } = context;
  const checks = new Map<CheckName, SegueError | null>();
  const check = async (name: CheckName, work: () => Promise<void>): Promise<boolean> => {
    const problem = await problemOf(work);
    checks.set(name, problem);
    return problem === null;
  };
  const conclude = (
    known: Pick<Readiness, 'fillsLink' | 'size' | 'space'> = NOTHING_KNOWN,
  ): Readiness => ({
    checks,
    problems: [...checks.values()].filter((problem) => problem !== null),
    ...known,
  });

  const altered = withoutColumns ? [] : [mapping.users.table, mapping.messages.table];
  const all = (Object.values(mapping) as { table: string }[]).map(({ table }) => table);
  const isAllowed = await check('rights', () =>
    database.checkRights({ read: all, alter: altered }),
  );
  const hasShape = await check('shape', async () => {
    await checkIsNotEmpty(context);
    await checkShape(database, mapping);
  });
  if (!hasShape) return conclude();
  await check('names', () => checkNames(context, { migrationsTable, withoutColumns }));
  await check('mode', () => database.checkMode());

  const triggers = await listOldTriggers(database, mapping);
  // What an old trigger does when conversation_id is filled, nobody asked for.
  const fillsLink = !withoutColumns && !triggers.some(({ acts }) => Boolean(acts));
  let size: TableSize;
  try {
    size = await measureTable(context);
  } catch (error) {
    // What may not be read has been told already.
    if (isAllowed) throw error;
    return conclude();
  }
  const space = await measureSpace(context, size, fillsLink);
  if (space.bytesFree !== null) checks.set('space', shortageOf(context, space));
  return conclude({ fillsLink, size, space });
}

const NOTHING_KNOWN = { fillsLink: false, size: null, space: null };

/** The error for people that `work` ends with; null when it ends well. */
async function problemOf(work: () => Promise<void>): Promise<SegueError | null> {
  try {
    await work();
    return null;
  } catch (error) {
    const explained = explainDatabaseError(error);
    if (explained === null) throw error;
    return explained;
  }
}

/** What the changeover of a table of this size writes, beside what is free. */
export async function measureSpace(
  { database }: ChangeoverContext,
  size: TableSize,
  fillsLink: boolean,
): Promise<Space> {
  const { dialect, reader } = database;
  const [log] = await reader.all<{ bytes: number | string }>(dialect.largestLog);
  const bytes = bytesToWrite(dialect.engine, size, {
    fillsLink,
    largestLog: Number(log?.bytes),
  });
  return {
    bytesToWrite: bytes,
    bytesNeeded: 2 * bytes,
    bytesFree: await database.freeBytes(),
  };
}

async function checkIsNotEmpty({ database }: ChangeoverContext): Promise<void> {
  if (await isEmpty(database))
    throw new SegueError(
      'NO_SUCH_TABLE',
      `${database.shown} is empty: there is nothing to move. 'segue serve' sets a new chat up in it.`,
    );
}

/** A run that was killed may have made some of what is ours; its own book says which. */
async function checkNames(
  { database, mapping }: ChangeoverContext,
  { migrationsTable, withoutColumns }: ReadinessOptions,
): Promise<void> {
  if (!(await hasTable(database, migrationsTable)))
    return checkNamesAreFree(database, mapping, OWN_TABLE_NAMES, withoutColumns).catch(
      async (error: unknown) => {
        // Or one that began at the same moment: its book is there before its tables.
        if (!(await hasTable(database, migrationsTable))) throw error;
      },
    );
  if (!withoutColumns || !(await readState(database)).addsColumns) return;
  const [added] = await database.reader.all<{ name: string }>(
    `SELECT name FROM ${database.dialect.name(migrationsTable)} WHERE name LIKE '%Columns%'`,
  );
  if (added !== undefined)
    throw new SegueError(
      'NAME_TAKEN',
      `An earlier expand has added columns already (${added.name}): run 'segue expand' without --without-columns, or first 'segue rollback --purge --drop-columns'.`,
    );
}

/** NO_SPACE, where it is known that less is free than is needed; else null. */
export function shortageOf(
  { database }: ChangeoverContext,
  { bytesToWrite: written, bytesNeeded, bytesFree }: Space,
): SegueError | null {
  if (bytesFree === null || bytesFree >= bytesNeeded) return null;
  return new SegueError(
    'NO_SPACE',
    `The changeover would write about ${written} bytes, and twice that has to be free: ${bytesNeeded} bytes. The disk of ${database.shown} has ${bytesFree} free. ` +
      `Make room on it, or move the database to a larger one. Nothing was changed.`,
  );
}

import type { Zone } from '../config/zone.js';
import { explainDatabaseError } from '../database/database-errors.js';
import { type ErrorCode, SegueError } from '../errors/segue-error.js';
import { captureStatements } from './capture.js';
import type { ChangeoverContext } from './context.js';
import { type Duration, secondsFor, timeSample } from './estimate.js';
import { type Inspection, inspect } from './inspect.js';
import { Lease } from './lease.js';
import {
  type CheckName,
  CHECKS,
  examine,
  measureSpace,
  type Readiness,
  shortageOf,
} from './readiness.js';
import { hasTable, isEmpty, listOldTriggers } from './shape.js';
import { type ChangeoverState, hasReached, readState } from './stage.js';

export interface PlanOptions {
  readonly migrationsTable: string;
  /** Plan for `expand --without-columns`. */
  readonly withoutColumns?: boolean;
}

/** Something that was found, with a code for machines and a sentence for people. */
export interface Finding<Code extends string = string> {
  readonly code: Code;
  readonly message: string;
}

/** What the old app, or the database, must be like. */
export interface Precondition {
  readonly name: string;
  /** null: it cannot be checked from here, and the operator has to know. */
  readonly holds: boolean | null;
  readonly says: string;
}

/** All that an operator wants to know before he moves a live database. */
export interface Plan extends Inspection {
  /** What expand looks at, and whether it is well; null: it could not be looked at. */
  readonly checks: readonly { readonly name: CheckName; readonly holds: boolean | null }[];
  /** What would make expand fail; none at a later stage. */
  readonly problems: readonly Finding<ErrorCode>[];
  /** What would not, and is worth a thought. */
  readonly warnings: readonly Finding[];
  readonly preconditions: readonly Precondition[];
  /** The old app's triggers on its messages; `fires` where filling our column would set one off: it stays empty. */
  readonly oldTriggers: readonly { readonly name: string; readonly fires: boolean }[];
  /** What is still to be written, twice that, and what is free; null where it cannot be told. */
  readonly bytesToWrite: number | null;
  readonly bytesNeeded: number | null;
  readonly bytesFree: number | null;
  /** Seconds for what is still to be done, when nothing else uses the machine; null where it cannot be told. */
  readonly estimateSeconds: Duration | null;
  /** The statements that expand would run, in order. */
  readonly ddl: readonly string[];
  /** What the changeover does not do, or not as one may think. */
  readonly limits: readonly string[];
}

const limitsIn = ({ name }: Zone): readonly string[] => [
  'The participants of a group are those who wrote in it: the old tables name no members. Who only read is none.',
  'The first writer of a group becomes its admin.',
  'Messages of groups that are moved are never unread, whatever their old status says.',
  'Rows with a time that is missing, unreadable or in the future have no place of their own in the order of their conversation.',
  'An image, audio, video or file keeps its content as text: no attachment is made of it.',
  `Old times that name no zone are taken as ${name}; one that its clocks showed twice, as the earlier.`,
  "What the old app writes from expand on is applied by a running 'segue serve': keep one running.",
];

/**
 * Looks at a database before a changeover, or in the middle of one, and changes nothing. It reads the old table of
 * messages some times, in ranges of 50,000 rows, and takes no lock.
 * @throws SegueError WRONG_STAGE where there is no old side.
 */
export async function plan(
  context: ChangeoverContext,
  { migrationsTable, withoutColumns = false }: PlanOptions,
): Promise<Plan> {
  const { database } = context;
  const state = await readState(database);
  if (state.stage === 'CONTRACTED')
    throw new SegueError(
      'WRONG_STAGE',
      `${database.shown} is at CONTRACTED: it has no old side, and there is nothing to plan.`,
    );
  const isToExpand = state.stage === 'LEGACY';
  // Once it was chosen, it stays so.
  const choice = {
    withoutColumns: isToExpand ? withoutColumns || !state.addsColumns : !state.addsColumns,
  };
  const readiness = await examine(context, { migrationsTable, ...choice });
  const found = readiness.problems.map(asFinding);
  const work = await measureWork(context, state, readiness);
  const oldTriggers = await listTriggers(context, readiness, choice.withoutColumns);
  const byPosition = choice.withoutColumns ? [] : await listPositionalTriggers(context);
  return {
    ...((await inspectIfPossible(context, readiness)) ?? (await describe(context, state))),
    checks: CHECKS.map((name) => ({ name, holds: outcomeOf(readiness, name) })),
    problems: isToExpand ? found : [],
    warnings: [
      ...(isToExpand ? [] : found.filter(({ code }) => code !== 'NO_SPACE')),
      ...(await warnOfOthers(context, state)),
      ...warnOfTriggers(oldTriggers, byPosition),
      ...warnOfSpace(context, state, work),
    ],
    preconditions: database.dialect.asksOfOldApp
      .filter(({ becauseOfColumns }) => !(becauseOfColumns && choice.withoutColumns))
      .map(({ name, says, check }) => ({
        name,
        says,
        holds: {
          mode: outcomeOf(readiness, 'mode'),
          // None in the database's own triggers says nothing of the old app's code.
          triggers: byPosition.length > 0 ? false : null,
          unknown: null,
        }[check ?? 'unknown'],
      })),
    oldTriggers,
    ...work,
    ddl: isToExpand
      ? [
          ...(await database.pendingStatements(choice)),
          ...captureStatements(database.dialect, context.mapping),
        ]
      : [],
    limits: limitsIn(database.dialect.zone),
  };
}

type Work = Pick<Plan, 'bytesToWrite' | 'bytesNeeded' | 'bytesFree' | 'estimateSeconds'>;

/** How much is still to be written, and how long it takes. */
async function measureWork(
  context: ChangeoverContext,
  state: ChangeoverState,
  readiness: Readiness,
): Promise<Work> {
  const { size, space } = readiness;
  if (size === null || space === null)
    return { bytesToWrite: null, bytesNeeded: null, bytesFree: null, estimateSeconds: null };
  const isToExpand = state.stage === 'LEGACY';
  const fillsLink = isToExpand ? readiness.fillsLink : state.fillsLink;
  const rowsLeft = hasReached(state.stage, 'BACKFILLED')
    ? 0
    : Math.max(size.rows - state.migrated - state.quarantined, 0);
  const left = { rows: rowsLeft, textBytes: (size.textBytes / Math.max(size.rows, 1)) * rowsLeft };
  const estimateSeconds = secondsFor(
    context.database.dialect.engine,
    { toCopy: left, toCompare: size, fillsLink },
    await timeSample(context),
  );
  return {
    ...(isToExpand ? space : await measureSpace(context, left, fillsLink)),
    estimateSeconds,
  };
}

/** Whether a check went well; null: an earlier one did not let it be made. */
function outcomeOf({ checks }: Readiness, name: CheckName): boolean | null {
  const problem = checks.get(name);
  return problem === undefined ? null : problem === null;
}

function asFinding({ code, message }: SegueError): Finding<ErrorCode> {
  return { code, message };
}

/** null where a problem that was found keeps the tables from being read. */
async function inspectIfPossible(
  context: ChangeoverContext,
  { problems }: Readiness,
): Promise<Inspection | null> {
  try {
    return await inspect(context);
  } catch (error) {
    if (problems.length === 0 || explainDatabaseError(error) === null) throw error;
    return null;
  }
}

/** What can be told of a database whose old tables cannot be read. */
async function describe(
  { database }: ChangeoverContext,
  { stage }: ChangeoverState,
): Promise<Inspection> {
  const [version] = await database.reader.all<{ version: string }>(database.dialect.version);
  return {
    database: database.shown,
    engine: version?.version ?? '',
    stage,
    empty: await isEmpty(database),
    tables: {},
    lowId: null,
    highId: null,
    irregular: {},
    quarantined: {},
    triggers: [],
  };
}

async function listTriggers(
  { database, mapping }: ChangeoverContext,
  { checks }: Readiness,
  withoutColumns: boolean,
): Promise<Plan['oldTriggers']> {
  if (checks.get('shape') !== null) return [];
  const triggers = await listOldTriggers(database, mapping);
  return triggers.map(({ name, acts }) => ({ name, fires: Boolean(acts) && !withoutColumns }));
}

/** Old triggers that count the columns of a table which gets more. Found by their words: a comment may be meant. */
async function listPositionalTriggers({
  database,
  mapping,
}: ChangeoverContext): Promise<readonly string[]> {
  const triggers = await database.reader.all<{ name: string; text: string }>(
    database.dialect.triggerTexts,
  );
  const tables = [mapping.users.table, mapping.messages.table].map(
    (table) => `["'\`[]?${table.replaceAll(/[^\w]/g, '\\$&')}["'\`\\]]?`,
  );
  const table = `(?:${tables.join('|')})`;
  const words = new RegExp(
    `\\binto\\s+${table}\\s+(?:values|select)\\b|\\binsert\\b[^;]*\\bselect\\s+\\*\\s+from\\s+${table}(?!\\w)`,
    'i',
  );
  return triggers.filter(({ text }) => words.test(text)).map(({ name }) => name);
}

async function warnOfOthers(
  { database }: ChangeoverContext,
  { stage }: ChangeoverState,
): Promise<Finding[]> {
  if (stage === 'LEGACY' || !(await hasTable(database, 'changeover_lease'))) return [];
  const conflict = await Lease.findConflict(database);
  return conflict === null ? [] : [asFinding(conflict)];
}

function warnOfTriggers(
  oldTriggers: Plan['oldTriggers'],
  byPosition: readonly string[],
): Finding[] {
  const firing = oldTriggers.filter(({ fires }) => fires).map(({ name }) => name);
  return [
    ...(firing.length === 0
      ? []
      : [
          {
            code: 'TRIGGER_WOULD_FIRE',
            message: `Filling our column would set off ${firing.join(', ')}, once for each old row: the column is added and stays empty.`,
          },
        ]),
    ...(byPosition.length === 0
      ? []
      : [
          {
            code: 'COUNTS_COLUMNS',
            message: `${byPosition.join(', ')} of the old app seems to write by the position of columns, and would fail when they are more: choose --without-columns, or mend it first.`,
          },
        ]),
  ];
}

function warnOfSpace(
  context: ChangeoverContext,
  { stage }: ChangeoverState,
  { bytesToWrite, bytesNeeded, bytesFree }: Work,
): Finding[] {
  if (bytesToWrite === null || bytesNeeded === null) return [];
  if (bytesFree === null)
    return [
      {
        code: 'FREE_SPACE_UNKNOWN',
        message: `The server does not say how much space is free on its disk: see that ${bytesNeeded} bytes are.`,
      },
    ];
  // Before expand it is a problem, and told among those.
  const shortage =
    stage === 'LEGACY' ? null : shortageOf(context, { bytesToWrite, bytesNeeded, bytesFree });
  return shortage === null ? [] : [asFinding(shortage)];
}

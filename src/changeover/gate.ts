import type { Queryable } from '../database/database.js';
import { readDeprecatedUsage } from '../legacy/deprecated-calls.js';
import { findCertificate } from './certificate.js';
import type { ChangeoverContext } from './context.js';
import { type ChangeoverState, readState } from './stage.js';

/** What an operator has to type on SQLite, which does not know who else has its file open. */
export const OLD_APP_IS_GONE = 'the old app is gone';

/** The name of the condition that nothing waits to be applied, or to be mirrored. */
export const QUEUES = 'queues drained';

/** One thing that the contract step waits for. */
export interface GateCondition {
  readonly name: string;
  readonly met: boolean;
  /** What was found, and where it is not met the way out. */
  readonly detail: string;
}

/** What an operator says for the contract step. */
export interface GateAssurances {
  /** What he would restore if all went wrong. */
  readonly backup?: string | undefined;
  /** As he typed it, where the database cannot tell. */
  readonly oldAppIsGone?: string | undefined;
}

/**
 * Everything that the contract step waits for, each shown as met or not. Takes no lock.
 * @param quietTime for how long nobody may have called the old API or written to the old table, in seconds
 */
export async function readGate(
  { database, mapping }: Pick<ChangeoverContext, 'database' | 'mapping'>,
  quietTime: number,
  { backup, oldAppIsGone }: GateAssurances = {},
): Promise<GateCondition[]> {
  const state = await readState(database);
  const { reader, dialect } = database;
  const isOver = state.stage === 'CONTRACTED';
  if (state.stage === 'LEGACY' || isOver)
    return [
      {
        name: 'stage',
        met: isOver,
        detail: isOver
          ? state.retiredAt === null
            ? 'CONTRACTED: there is no old side any more'
            : `CONTRACTED since ${iso(state.retiredAt)}; the old table is there under another name, and can be given back`
          : "LEGACY: 'segue migrate' begins",
      },
    ];
  const now = await readNow(reader, dialect.now);
  const since = now - quietTime * 1_000_000;
  return [
    {
      name: 'stage',
      met: state.stage === 'COMPLETE',
      detail:
        state.stage === 'COMPLETE'
          ? 'COMPLETE: everybody is answered from the new side'
          : `${state.stage}: 'segue cutover --percent 100' leads to COMPLETE`,
    },
    await verification(reader, dialect.now),
    await quarantine(reader),
    quiet('deprecated calls', await lastDeprecatedCall(database), state, { now, since, quietTime }),
    quiet('foreign writes', lastForeignWrite(state, mapping.messages.table), state, {
      now,
      since,
      quietTime,
    }),
    await sessions(reader, dialect.foreignSessions, oldAppIsGone),
    await queues(reader),
    {
      name: 'backup',
      met: backup !== undefined && backup !== '',
      detail:
        backup === undefined || backup === ''
          ? "name it with 'segue contract --retire --backup NAME'"
          : backup,
    },
  ];
}

async function verification(reader: Queryable, now: string): Promise<GateCondition> {
  const certificate = await findCertificate(reader, { now });
  const name = 'verified within 24 hours';
  if (certificate === null) return { name, met: false, detail: "never: run 'segue verify'" };
  const { mismatches, isStale, isVoid, text } = certificate;
  const met = mismatches === 0 && !isStale && !isVoid;
  return { name, met, detail: met ? text : `${text}: run 'segue verify'` };
}

async function quarantine(reader: Queryable): Promise<GateCondition> {
  const [row] = await reader.all<{ rows: number | string; open: number | string }>(
    'SELECT count(*) AS rows, count(CASE WHEN signed_off IS NULL THEN 1 END) AS open FROM changeover_quarantine',
  );
  const [rows, open] = [Number(row?.rows), Number(row?.open)];
  return {
    name: 'quarantine',
    met: open === 0,
    detail:
      open === 0
        ? `${rows} rows, all of them signed off`
        : `${open} of ${rows} rows are not signed off: mend them in the old table, or 'segue quarantine sign-off ID REASON'`,
  };
}

/** The last time that something happened which should not any more, and what it was; null: never. */
interface Last {
  readonly at: number;
  readonly what: string;
}

async function lastDeprecatedCall(database: ChangeoverContext['database']): Promise<Last | null> {
  const [last] = await readDeprecatedUsage(database);
  return last === undefined
    ? null
    : { at: Date.parse(last.lastCalledAt) * 1_000, what: `${last.operation} by ${last.client}` };
}

function lastForeignWrite(
  { foreignWrites, foreignWrittenAt }: ChangeoverState,
  table: string,
): Last | null {
  return foreignWrittenAt === null
    ? null
    : { at: foreignWrittenAt, what: `to ${table}, one of ${foreignWrites}` };
}

function quiet(
  name: string,
  last: Last | null,
  { expandedAt }: ChangeoverState,
  { since, quietTime }: { now: number; since: number; quietTime: number },
): GateCondition {
  const days = `${Number((quietTime / 86_400).toFixed(5))} days`;
  if (last !== null && last.at > since)
    return {
      name,
      met: false,
      detail: `the last one ${iso(last.at)}, ${last.what}: none for ${days} is asked for`,
    };
  // Nobody knows of what was before it was counted.
  if (expandedAt === null || expandedAt > since)
    return {
      name,
      met: false,
      detail: `none, but counted only since ${expandedAt === null ? 'now' : iso(expandedAt)}: none for ${days} is asked for`,
    };
  return { name, met: true, detail: last === null ? 'none' : `the last one ${iso(last.at)}` };
}

async function sessions(
  reader: Queryable,
  statement: string | null,
  typed: string | undefined,
): Promise<GateCondition> {
  if (statement === null) {
    const met = typed === OLD_APP_IS_GONE;
    return {
      name: 'old app',
      met,
      detail: met
        ? 'gone, as the operator says'
        : `SQLite does not know who has its file open: say --old-app-is-gone "${OLD_APP_IS_GONE}"`,
    };
  }
  const found = await reader.all<{ who: string; count: number | string }>(statement);
  const list = found.map(({ who, count }) => `${Number(count)} ${who}`).join(', ');
  return {
    name: 'foreign sessions',
    met: found.length === 0,
    detail: found.length === 0 ? 'none' : `${list}: end them; ours are called segue`,
  };
}

async function queues(reader: Queryable): Promise<GateCondition> {
  const [row] = await reader.all<{ changes: number | string; mirrors: number | string }>(
    'SELECT (SELECT count(*) FROM changeover_queue) AS changes, (SELECT count(*) FROM receipt_mirrors) AS mirrors',
  );
  const [changes, mirrors] = [Number(row?.changes), Number(row?.mirrors)];
  return {
    name: QUEUES,
    met: changes === 0 && mirrors === 0,
    detail:
      changes === 0 && mirrors === 0
        ? 'nothing waits'
        : `${changes} changes of the old app and ${mirrors} receipts wait: a running 'segue serve' takes them up`,
  };
}

async function readNow(reader: Queryable, now: string): Promise<number> {
  const [row] = await reader.all<{ now: number | string }>(`SELECT ${now} AS now`);
  return Number(row?.now);
}

function iso(microseconds: number): string {
  return new Date(microseconds / 1_000).toISOString();
}

import type { Database } from '../database/database.js';
import type { Dialect } from '../database/dialect.js';
import { SegueError } from '../errors/segue-error.js';
import { HIGHEST_ID, LOWEST_ID } from '../database/ids.js';
import {
  inRange,
  LEGACY_COLUMNS,
  type LegacyColumn,
  nextAfter,
  oldRows,
} from '../legacy/old-rows.js';
import { inParts } from './content-bytes.js';
import { applyUnlessOthersDo } from './apply.js';
import type { ChangeoverContext } from './context.js';
import { noteAction } from './log.js';
import { rowRules } from './row-rules.js';
import { type Settled, settleRows } from './settle.js';
import { hasReached, readState } from './stage.js';

const ROWS_PER_PAGE = 1_000;

/** Rows of an export at a time, where their texts are not large. */
const EXPORTED_PER_PAGE = 100;

/** An old row that could not be moved, and why. */
export interface QuarantinedRow {
  readonly legacyId: string;
  readonly reason: string;
  readonly detail: string;
  /** Why an operator says that it may be left behind with the old table; left out where nobody has. */
  readonly signedOff?: string;
}

/** A value of an old row without loss: its type, and its text, or its bytes in hex where they are no text. */
export type ExportedValue =
  | { readonly type: string; readonly text: string }
  | { readonly type: string; readonly hex: string };

/** A row in quarantine with all that the old table holds of it; null for a row that is not there any more. */
export interface ExportedRow extends QuarantinedRow {
  readonly row: Readonly<Record<LegacyColumn, ExportedValue | null>> | null;
}

/**
 * All rows in quarantine by id, a page at a time: there may be as many as there are messages.
 * @throws SegueError WRONG_STAGE before expand, when there is no quarantine.
 */
export async function* listQuarantine(database: Database): AsyncGenerator<QuarantinedRow[]> {
  await checkExpanded(database);
  for await (const page of pages<StoredRow>(
    database,
    `SELECT CAST(q.legacy_id AS text) AS "legacyId", q.reason, q.detail, q.signed_off AS "signedOff" FROM changeover_quarantine q
     WHERE q.legacy_id >= CAST(:from AS bigint) ORDER BY q.legacy_id LIMIT :size`,
    ROWS_PER_PAGE,
  ))
    yield page.map(signed);
}

/**
 * A page of them, behind an id.
 * @param question.reason only those with this reason; null: with any
 */
export async function readQuarantine(
  database: Database,
  { after, reason, size }: { after: string | null; reason: string | null; size: number },
): Promise<QuarantinedRow[]> {
  if ((await readState(database)).stage === 'LEGACY') return [];
  const rows = await database.reader.all<StoredRow>(
    `SELECT CAST(q.legacy_id AS text) AS "legacyId", q.reason, q.detail, q.signed_off AS "signedOff" FROM changeover_quarantine q
     WHERE (CAST(:after AS bigint) IS NULL OR q.legacy_id > CAST(:after AS bigint)) AND (CAST(:reason AS text) IS NULL OR q.reason = CAST(:reason AS text))
     ORDER BY q.legacy_id LIMIT :size`,
    { after, reason, size },
  );
  return rows.map(signed);
}

type StoredRow = Omit<QuarantinedRow, 'signedOff'> & { readonly signedOff: string | null };

function signed({ signedOff, ...row }: StoredRow): QuarantinedRow {
  return signedOff === null ? row : { ...row, signedOff };
}

/**
 * As `listQuarantine`, with the old rows themselves, so that somebody can see what to mend. Ids, times and bytes leave
 * the database as text or hex: nothing is rounded on the way.
 * @throws SegueError WRONG_STAGE before expand.
 */
export async function* exportQuarantine({
  database,
  mapping,
}: ChangeoverContext): AsyncGenerator<ExportedRow[]> {
  await checkExpanded(database);
  const { dialect } = database;
  const rows = oldRows(dialect, mapping);
  const m = rows.of('m');
  const columns = exportedColumns(
    dialect,
    LEGACY_COLUMNS.map((column) => [column, m[column]]),
  );
  const statement = `SELECT CAST(q.legacy_id AS text) AS "legacyId", q.reason, q.detail, q.signed_off AS "signedOff", ${columns}
    FROM changeover_quarantine q LEFT JOIN ${rows.table} m ON ${m.id} = q.legacy_id
    WHERE q.legacy_id IN (${dialect.idsIn('ids')}) ORDER BY q.legacy_id`;
  type Row = StoredRow & Readonly<Record<string, string | null>>;
  const ids = `SELECT CAST(q.legacy_id AS text) AS "legacyId" FROM changeover_quarantine q
    WHERE q.legacy_id >= CAST(:from AS bigint) ORDER BY q.legacy_id LIMIT :size`;
  for await (const page of exportedPages<Row>({ database, mapping }, ids, statement))
    yield page.map((found) => ({
      ...signed({
        legacyId: found.legacyId,
        reason: found.reason,
        detail: found.detail,
        signedOff: found.signedOff,
      }),
      row: found.idHex === '' || found.idHex === null ? null : exportedRow(found),
    }));
}

/**
 * All old rows by id, a page at a time, each by the names of the table's own columns: those that no mapping names too,
 * which stand nowhere else.
 */
export async function* exportOldRows({
  database,
  mapping,
}: Pick<ChangeoverContext, 'database' | 'mapping'>): AsyncGenerator<
  Readonly<Record<string, ExportedValue | null>>[]
> {
  const { dialect } = database;
  const rows = oldRows(dialect, mapping);
  const { table } = rows;
  const { id } = rows.of('m');
  const names = (
    await database.reader.all<{ name: string }>(dialect.describeTable, {
      table: mapping.messages.table,
    })
  ).map(({ name }) => name);
  const columns = exportedColumns(
    dialect,
    names.map((name, n) => [`c${n}`, `m.${dialect.name(name)}`]),
  );
  const ids = `SELECT CAST(${id} AS text) AS "legacyId" FROM ${table} m
    WHERE ${id} >= CAST(:from AS bigint) ORDER BY ${id} LIMIT :size`;
  const statement = `SELECT CAST(${id} AS text) AS "legacyId", ${columns}
    FROM ${table} m WHERE ${id} IN (${dialect.idsIn('ids')}) ORDER BY ${id}`;
  type Row = Readonly<Record<string, string | null>> & { readonly legacyId: string };
  for await (const page of exportedPages<Row>({ database, mapping }, ids, statement))
    yield page.map((found) =>
      Object.fromEntries(
        names.map((name, n) => [name, toExported(found[`c${n}Type`], found[`c${n}Hex`])]),
      ),
    );
}

/** Each column with its type and its bytes, as `toExported` takes them. */
function exportedColumns(
  dialect: Dialect,
  columns: readonly (readonly [alias: string, value: string])[],
): string {
  return columns
    .map(
      ([alias, value]) =>
        `${dialect.typeOf(value)} AS "${alias}Type", ${dialect.hexOf(value)} AS "${alias}Hex"`,
    )
    .join(', ');
}

function exportedRow(
  found: Readonly<Record<string, string | null>>,
): Record<LegacyColumn, ExportedValue | null> {
  return Object.fromEntries(
    LEGACY_COLUMNS.map((column) => [
      column,
      toExported(found[`${column}Type`], found[`${column}Hex`]),
    ]),
  ) as Record<LegacyColumn, ExportedValue | null>;
}

/**
 * Says of a row in quarantine that it may be left behind with the old table, and why. It holds until the row changes.
 * @throws SegueError BAD_USER_INPUT without a reason; NOT_FOUND; WRONG_STAGE.
 */
export async function signOff(
  { database, who }: ChangeoverContext,
  legacyId: string,
  reason: string,
): Promise<void> {
  await checkExpanded(database);
  if (reason.trim() === '')
    throw new SegueError(
      'BAD_USER_INPUT',
      'The reason is empty: say why the row may be left behind.',
    );
  await database.transaction(async (transaction) => {
    const changed = /^-?\d{1,19}$/.test(legacyId)
      ? await transaction.run(
          `UPDATE changeover_quarantine SET signed_off = CAST(:reason AS text) WHERE CAST(legacy_id AS text) = CAST(:legacyId AS text)`,
          { legacyId, reason },
        )
      : 0;
    if (changed === 0)
      throw new SegueError(
        'NOT_FOUND',
        `There is no message ${JSON.stringify(legacyId)} in quarantine: 'segue quarantine list' shows them.`,
      );
    await noteAction(transaction, database.dialect.now, {
      who,
      did: `quarantine: message ${legacyId} is signed off: ${reason}`,
    });
  });
}

export interface Replay {
  /** Rows that are migrated now. */
  readonly migrated: number;
  /** Rows that were looked at, and stay, for a new reason or the old one. */
  readonly quarantined: number;
  /** Rows that the old table does not have any more. */
  readonly removed: number;
}

/**
 * Takes up rows of the quarantine that were mended: whose thread is clear by now, or whose keys changed. A row that was
 * copied too is left alone: that is a fault, for verify to find. Reads the quarantined rows; takes the runner's lease
 * only where there is something to do.
 * @param options.all also rows that the old table does not have any more, and those that the database refused, though
 *   nothing tells that it would not refuse them again
 * @throws SegueError WRONG_STAGE before the backfill is done or after the contract; RUNNER_ACTIVE, LEASE_LOST.
 */
export async function replayQuarantine(
  context: ChangeoverContext,
  { all = true } = {},
): Promise<Replay> {
  const { database, mapping } = context;
  const { stage, startedAt } = await readState(database);
  if (!hasReached(stage, 'BACKFILLED') || stage === 'CONTRACTED')
    throw new SegueError(
      'WRONG_STAGE',
      `The stage is ${stage}: rows in quarantine are taken up between BACKFILLED and CONTRACTED.`,
    );
  const candidates = replayable(database, mapping, all);
  const settled: Settled[] = [];
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const page: { legacyId: string }[] = await database.reader.all(candidates, {
      from,
      upTo: HIGHEST_ID,
      size: ROWS_PER_PAGE,
      now: startedAt,
    });
    if (page.length > 0)
      settled.push(
        ...(await settleRows(
          context,
          page.map(({ legacyId }) => legacyId),
        )),
      );
    from = page.length < ROWS_PER_PAGE ? null : nextAfter(page.at(-1)?.legacyId ?? HIGHEST_ID);
  }
  // Who mends a row leaves an entry for it. Afterwards: rows that are taken up here go where their time puts them.
  if (settled.length > 0) await applyUnlessOthersDo(context);
  const count = (became: Settled['became']): number =>
    settled.filter((row) => row.became === became).length;
  return {
    migrated: count('migrated'),
    quarantined: count('quarantined'),
    removed: count('removed'),
  };
}

/** The ids of quarantined rows of which something else would come now, as `{legacyId}`. */
function replayable(
  { dialect }: Database,
  mapping: ChangeoverContext['mapping'],
  all: boolean,
): string {
  const rules = rowRules(dialect, mapping);
  const changed = ['sender_id', 'recipient_id', 'group_id'].map(
    (column) => `q.${column} IS DISTINCT FROM ${dialect.keyText(`o.${column}`)}`,
  );
  return `SELECT CAST(q.legacy_id AS text) AS "legacyId" FROM changeover_quarantine q
      LEFT JOIN ${rules.read((id) => `${id} IN (SELECT i.legacy_id FROM changeover_quarantine i WHERE ${inRange('i.legacy_id')})`)}
        ON o.id = q.legacy_id
    WHERE ${inRange('q.legacy_id')}
      AND NOT EXISTS (SELECT 1 FROM enhanced_messages e WHERE e.legacy_message_id = q.legacy_id)
      AND ((o.id IS NOT NULL AND ((q.reason <> 'refused' AND ${rules.isPlaced}) OR ${changed.join(' OR ')}))
        OR ${all ? `o.id IS NULL OR q.reason = 'refused'` : 'false'})
    ORDER BY q.legacy_id LIMIT :size`;
}

/** As `pages` of `ids`, each with what `statement` says of `:ids`, and with no more rows than fit into memory. */
async function* exportedPages<Row extends object>(
  { database, mapping }: Pick<ChangeoverContext, 'database' | 'mapping'>,
  ids: string,
  statement: string,
): AsyncGenerator<Row[]> {
  const { dialect, reader } = database;
  for await (const page of pages<{ legacyId: string }>(database, ids, EXPORTED_PER_PAGE)) {
    const listed = page.map(({ legacyId }) => legacyId);
    for (const part of await inParts(reader, { dialect, mapping }, listed))
      yield await reader.all<Row>(statement, { ids: JSON.stringify(part) });
  }
}

async function* pages<Row extends { readonly legacyId: string }>(
  database: Database,
  statement: string,
  size: number,
): AsyncGenerator<Row[]> {
  for (let from: string | null = LOWEST_ID; from !== null;) {
    const page: Row[] = await database.reader.all<Row>(statement, { from, size });
    if (page.length > 0) yield page;
    from = page.length < size ? null : nextAfter(page.at(-1)?.legacyId ?? HIGHEST_ID);
  }
}

async function checkExpanded(database: Database): Promise<void> {
  if ((await readState(database)).stage === 'LEGACY')
    throw new SegueError(
      'WRONG_STAGE',
      `${database.shown} is at LEGACY: nothing was moved yet. 'segue inspect' says which rows are irregular.`,
    );
}

function toExported(
  type: string | null | undefined,
  hex: string | null | undefined,
): ExportedValue | null {
  if (type == null || type === 'null' || hex == null) return null;
  const bytes = Buffer.from(hex, 'hex');
  const text = bytes.toString('utf8');
  return type !== 'blob' && Buffer.from(text, 'utf8').equals(bytes)
    ? { type, text }
    : { type, hex: hex.toLowerCase() };
}

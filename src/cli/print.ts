import type { BackfillResult } from '../changeover/backfill.js';
import type { Inspection } from '../changeover/inspect.js';
import type { Stage } from '../changeover/stage.js';
import type { QuarantinedRow, Replay } from '../changeover/quarantine.js';
import type { CutoverResult } from '../changeover/cutover.js';
import type { DropResult, RetireResult } from '../changeover/contract.js';
import type { GateCondition } from '../changeover/gate.js';
import type { RollbackResult } from '../changeover/rollback.js';
import type { ShadowReport } from '../changeover/shadow.js';
import type { Status } from '../changeover/status.js';
import type { Verification } from '../changeover/verify.js';

/** How many mismatches are printed; the database lists more. */
const SHOWN = 20;

export function inspection(found: Inspection): string {
  if (found.empty)
    return `${found.database} (${found.engine}) is empty: nothing to move. 'segue serve' sets a new chat up in it.`;
  const irregular = Object.entries(found.irregular);
  const quarantined = Object.entries(found.quarantined);
  return lines(
    `${found.database} (${found.engine}), stage ${found.stage}`,
    '',
    ...Object.entries(found.tables).map(([table, rows]) => `  ${number(rows)}  ${table}`),
    '',
    found.lowId === null
      ? 'No messages yet.'
      : `Message ids from ${found.lowId} to ${found.highId}.`,
    irregular.length === 0
      ? 'All rows are regular.'
      : 'Irregular rows, which are migrated with their old values kept beside them:',
    ...irregular.map(([what, rows]) => `  ${number(rows)}  ${what}`),
    ...(quarantined.length === 0
      ? []
      : ['Rows that would go to quarantine, and stay visible to old clients:']),
    ...quarantined.map(([obstacle, rows]) => `  ${number(rows)}  ${obstacle}`),
    ...(found.triggers.length === 0
      ? []
      : [`Triggers of the old app on its messages: ${found.triggers.join(', ')}.`]),
    ...(found.stage === 'LEGACY'
      ? ['', "Next: 'segue migrate --backup NAME'; the old app may write on."]
      : []),
  );
}

export function stage({ stage: reached }: { stage: Stage }): string {
  return `The stage is ${reached}.`;
}

export function backfill({ migrated, quarantined }: BackfillResult): string {
  return `${count(migrated)} messages migrated, ${count(quarantined)} in quarantine. Next: 'segue verify'.`;
}

export function verification(result: Verification): string {
  const { found, mismatches } = result;
  return lines(
    `${count(result.legacyMessages)} legacy = ${count(result.migratedMessages)} migrated + ${count(result.quarantinedMessages)} quarantined, ` +
      `${count(mismatches)} mismatches` +
      (result.pending > 0 ? `, ${count(result.pending)} pending and left out` : ''),
    ...found
      .slice(0, SHOWN)
      .map(({ legacyId, kind, detail }) => `  message ${legacyId}: ${kind}: ${detail}`),
    ...(mismatches > SHOWN ? [`  and ${count(mismatches - SHOWN)} more`] : []),
    ...(result.repaired > 0
      ? [`${count(result.repaired)} rows were repaired; changeover_repairs lists all of them:`]
      : []),
    ...result.repairs
      .slice(0, SHOWN)
      .map(({ legacyId, kind, did }) => `  message ${legacyId}: ${kind}: ${did}`),
    result.certificate,
  );
}

export function quarantined({ legacyId, reason, detail, signedOff }: QuarantinedRow): string {
  const signed = signedOff === undefined ? '' : ` (signed off: ${signedOff})`;
  return `message ${legacyId}: ${reason}: ${detail}${signed}\n`;
}

export function replay({ migrated, quarantined, removed }: Replay): string {
  return (
    `${count(migrated)} rows migrated now, ${count(quarantined)} looked at and still in quarantine, ` +
    `${count(removed)} gone from the old table.${migrated > 0 ? " Next: 'segue verify'." : ''}`
  );
}

export function status(now: Status): string {
  return lines(
    `stage        ${now.stage}`,
    `legacy       ${number(now.legacyMessages)}`,
    `migrated     ${number(now.migratedMessages)}`,
    `quarantined  ${number(now.quarantinedMessages)}`,
    ...(now.rowsPerSecond > 0
      ? [`rate         ${count(now.rowsPerSecond)}/s, ${now.etaSeconds} s left`]
      : []),
    ...(now.cutoverPercent > 0 || now.cutoverUsers > 0
      ? [`cutover      ${onNewSide(now.cutoverPercent, now.cutoverUsers)}`]
      : []),
    ...(now.shadowCompared > 0
      ? [
          `shadow       ${count(now.shadowCompared)} old calls compared, ${count(now.shadowMismatches)} different`,
        ]
      : []),
    ...(now.backup === null ? [] : [`backup       ${now.backup}`]),
    ...(now.paused ? ["paused       the copy rests until 'segue resume'"] : []),
    ...(now.throttledBy === null ? [] : [`throttled by ${throttle(now.throttledBy)}`]),
    ...(now.lockWaitMs === null
      ? []
      : [`lock held    ${count(Math.round(now.lockWaitMs))} ms by the last batch`]),
    ...(now.oldSideLagMs === null
      ? []
      : [
          `pending      ${number(now.pendingChanges).trimStart()} changes of the old app, the oldest ${(now.oldSideLagMs / 1_000).toFixed(1)} s`,
        ]),
    ...(now.keptSince === null
      ? []
      : [
          `laid aside   since ${now.keptSince}: what people made on the new side; 'segue migrate' brings it back`,
        ]),
    ...(now.retiredAt === null
      ? []
      : [
          `put away     since ${now.retiredAt}: 'segue rollback --to COMPLETE' gives the old table back`,
        ]),
    now.certificate ?? 'not verified yet',
  );
}

/** What a copy rests for, for people. */
export function throttle(by: string): string {
  return by === 'disk' ? 'disk: it waits until there is room' : by;
}

export function rollback(result: RollbackResult): string {
  const { from, columnsLeft } = result;
  const head =
    from === result.stage ? stage(result) : `The stage is ${result.stage}; it was ${from}.`;
  if (result.stage === 'COMPLETE')
    return lines(head, "The old table has its name back. Next: 'segue verify'.");
  if (result.stage === 'BACKFILLED' || result.stage === 'VERIFIED')
    return lines(head, "Old clients are answered from the old table. Next: 'segue verify'.");
  return lines(
    head,
    ...(result.kept.length > 0
      ? [
          'The old table has every message. What has no form in it:',
          ...result.kept.map(({ what, count: some }) => `  ${count(some)} ${what}`),
          result.purged
            ? 'It stands in the file that --export named.'
            : "It is kept, with all of the new side, and read by nobody: 'segue migrate' brings it back.",
          `Emptied: ${count(result.links)} links.`,
        ]
      : [takenAway(result)]),
    ...(result.purged ? ['Our tables are dropped.'] : []),
    ...(result.stage === 'LEGACY' && columnsLeft.length > 0
      ? [`Our columns stay in the old tables, empty: ${columnsLeft.join(', ')}.`]
      : []),
  );
}

function takenAway(result: RollbackResult): string {
  return (
    `Taken away: ${count(result.messages)} copied messages, ${count(result.conversations)} conversations, ` +
    `${count(result.quarantined)} entries of the quarantine, ${count(result.links)} links. The old table has all its rows.`
  );
}

export function cutover({ stage: now, percent, users, ignored }: CutoverResult): string {
  return lines(
    `The stage is ${now}. ${onNewSide(percent, users)}`,
    ...ignored.map((obstacle) => `Ignored: ${obstacle}.`),
  );
}

export function gate({ gate: conditions }: { readonly gate: readonly GateCondition[] }): string {
  return lines(
    ...conditions.map(({ name, met, detail }) => `${met ? 'met ' : 'OPEN'}  ${name}: ${detail}`),
  );
}

export function retired({ table }: RetireResult): string {
  return lines(
    `The stage is CONTRACTED, and the old table is called ${table}. Whoever still uses it fails from now on;`,
    "'segue rollback --to COMPLETE' gives it its name back. Next, in some days: 'segue contract --drop'.",
  );
}

export function dropped({ exported, columnsLeft }: DropResult): string {
  return lines(
    `The old table is dropped. Its ${count(exported)} rows stand in the file.`,
    ...(columnsLeft.length > 0
      ? [`Our columns stay in the old tables: ${columnsLeft.join(', ')}.`]
      : []),
  );
}

/** Differences that are shown, and characters of each answer. */
const DIFFERENCES = 10;
const ANSWER = 300;

export function shadowReport(report: ShadowReport): string {
  const { sample, compared, mismatches, noise, undecided, differences } = report;
  const known = differences.filter(({ reason }) => reason !== null);
  const open = differences.filter(({ reason }) => reason === null);
  const shown = open.slice(0, DIFFERENCES);
  return lines(
    `Old calls that are compared with the other side: ${sample} %.`,
    `Compared ${count(compared)}, different ${count(mismatches)}, not decided ${count(undecided)}; the old side differed from itself in ${count(noise)}.`,
    ...shown.flatMap(({ id, operation, userId, at, times, oldAnswer, newAnswer }) => [
      `${id}: ${operation} of user ${userId}, ${count(times)} times, last ${at}`,
      `  old: ${shorten(oldAnswer)}`,
      `  new: ${shorten(newAnswer)}`,
    ]),
    ...(open.length > shown.length
      ? [`and ${count(open.length - shown.length)} more: --json gives all of them, whole.`]
      : []),
    ...known.map(
      ({ id, operation, userId, reason }) =>
        `${id}: ${operation} of user ${userId} is right so: ${String(reason)}`,
    ),
  );
}

function shorten(answer: string): string {
  return answer.length <= ANSWER ? answer : `${answer.slice(0, ANSWER)} …`;
}

function onNewSide(percent: number, users: number): string {
  const named = users === 0 ? '' : `, and ${count(users)} by name`;
  return `Old clients on the new side: ${percent} % of all people${named}.`;
}

export function operator({
  userId,
  isOperator,
}: {
  readonly userId: string;
  readonly isOperator: boolean;
}): string {
  return `User ${userId} is ${isOperator ? 'an operator now' : 'no operator any more'}.`;
}

const BAR_WIDTH = 40;

/** How far it is, drawn; full only when nothing is left. */
export function bar(done: number, total: number): string {
  const share = total === 0 ? 1 : Math.min(done / total, 1);
  const full = Math.floor(share * BAR_WIDTH);
  return `[${'='.repeat(full)}${' '.repeat(BAR_WIDTH - full)}] ${Math.floor(share * 100)} %  ${count(done)} of ${count(total)}`;
}

export function number(value: number): string {
  return count(value).padStart(12);
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

export function lines(...all: string[]): string {
  return all.join('\n');
}

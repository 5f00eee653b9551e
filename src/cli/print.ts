import type { BackfillResult } from '../changeover/backfill.js';
import type { Inspection } from '../changeover/inspect.js';
import type { Stage } from '../changeover/stage.js';
import type { QuarantinedRow } from '../changeover/quarantine.js';
import type { Status } from '../changeover/status.js';
import type { Verification } from '../changeover/verify.js';

/** How many mismatches are printed; the database lists more. */
const SHOWN = 20;

export function inspection(found: Inspection): string {
  if (found.empty)
    return `${found.database} (${found.engine}) is empty: nothing to move. 'segue serve' sets a new chat up in it.`;
  const irregular = Object.entries(found.irregular);
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
      : 'Rows that would go to quarantine, and stay visible to old clients:',
    ...irregular.map(([rule, rows]) => `  ${number(rows)}  ${rule}`),
    ...(found.triggers.length === 0
      ? []
      : [`Triggers of the old app on its messages: ${found.triggers.join(', ')}.`]),
    ...(found.stage === 'LEGACY'
      ? ['', "Next: 'segue migrate --backup NAME', while the old app does not write."]
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
      `${count(mismatches)} mismatches`,
    ...found
      .slice(0, SHOWN)
      .map(({ legacyId, kind, detail }) => `  message ${legacyId}: ${kind}: ${detail}`),
    ...(mismatches > SHOWN ? [`  and ${count(mismatches - SHOWN)} more`] : []),
    result.certificate,
  );
}

export function quarantined({ legacyId, reason, detail }: QuarantinedRow): string {
  return `message ${legacyId}: ${reason}: ${detail}\n`;
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
    now.certificate ?? 'not verified yet',
  );
}

function number(value: number): string {
  return count(value).padStart(12);
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

function lines(...all: string[]): string {
  return all.join('\n');
}

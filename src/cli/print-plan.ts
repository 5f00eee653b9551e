import type { Finding, Plan, Precondition } from '../changeover/plan.js';
import { count, lines, number } from './print.js';

const MEGABYTE = 1_000_000;

/** A plan for people: what was found first, the long lists last. */
export function plan(found: Plan): string {
  const rows = (counts: Readonly<Record<string, number>>): string[] =>
    Object.entries(counts).map(([what, count]) => `  ${number(count)}  ${what}`);
  return lines(
    `${found.database} (${found.engine}), stage ${found.stage}`,
    ...section(
      'Checked',
      found.checks.map(({ name, holds }) => `  ${mark(holds)}  ${WORDS[name]}`),
    ),
    ...section('Problems: expand would refuse', found.problems.map(finding)),
    ...section('Worth a thought', found.warnings.map(finding)),
    ...section('Rows', rows(found.tables)),
    ...section(
      'Irregular rows, which are migrated with their old values kept beside them',
      rows(found.irregular),
    ),
    ...section(
      'Rows that would go to quarantine, and stay visible to old clients',
      rows(found.quarantined),
    ),
    ...section(
      'Triggers of the old app on its messages',
      found.oldTriggers.map(({ name, fires }) => `  ${name}${fires ? ': would fire' : ''}`),
    ),
    ...section('Space and time', spaceAndTime(found)),
    ...section('What has to be so, or the old app sees errors', found.preconditions.map(duty)),
    ...section(
      'Limits',
      found.limits.map((limit) => `  - ${limit}`),
    ),
    ...section(
      'Statements that expand would run',
      found.ddl.map((statement) => `  ${statement};`),
    ),
    ...(found.stage === 'LEGACY' && found.problems.length === 0
      ? ['', "Nothing was changed. Next: 'segue migrate --backup NAME'."]
      : ['', 'Nothing was changed.']),
  );
}

const WORDS: Record<Plan['checks'][number]['name'], string> = {
  rights: 'rights to the database',
  shape: 'shape of the old tables',
  names: 'names that ours would have',
  mode: 'journal mode',
  space: 'space on the disk',
};

function section(title: string, content: readonly string[]): string[] {
  return content.length === 0 ? [] : ['', `${title}:`, ...content];
}

function mark(holds: boolean | null): string {
  if (holds === null) return '?      ';
  return holds ? 'well   ' : 'problem';
}

function finding({ code, message }: Finding): string {
  return `  ${code}: ${message}`;
}

function duty({ holds, says }: Precondition): string {
  if (holds === null) return `  only you know  ${says}`;
  return `  ${holds ? 'is so        ' : 'IS NOT SO    '}  ${says}`;
}

function spaceAndTime({ bytesToWrite, bytesNeeded, bytesFree, estimateSeconds }: Plan): string[] {
  if (bytesToWrite === null || bytesNeeded === null || estimateSeconds === null) return [];
  const free = bytesFree === null ? 'unknown' : megabytes(bytesFree);
  return [
    `  ${megabytes(bytesToWrite)} would be written; twice that has to be free: ${megabytes(bytesNeeded)}; free: ${free}`,
    `  about ${seconds(estimateSeconds.backfill)} for the backfill and ${seconds(estimateSeconds.verify)} for verify, when nothing else uses the machine`,
  ];
}

function megabytes(bytes: number): string {
  return `${count(Math.ceil(bytes / MEGABYTE))} MB`;
}

function seconds(value: number): string {
  const whole = Math.ceil(value);
  return whole < 120 ? `${whole} s` : `${Math.ceil(whole / 60)} min`;
}

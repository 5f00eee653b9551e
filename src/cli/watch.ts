import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeoverContext } from '../changeover/context.js';
import { type Status, status } from '../changeover/status.js';
import * as print from './print.js';

const EVERY_MS = 1_000;

/**
 * Shows the status anew every second, until the process is told to end: on a terminal in the same place, else, and for
 * machines, below the last one whenever something has changed.
 */
export async function watchStatus(
  { database, mapping }: ChangeoverContext,
  json: boolean,
): Promise<void> {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      stopping.abort();
    });
  let shown = '';
  while (!stopping.signal.aborted) {
    const now = await status(database, mapping, { fromBooks: true });
    const text = json ? JSON.stringify(now) : format(now);
    if (text !== shown) {
      // Up to the first line of what was shown, and clear from there.
      if (process.stdout.isTTY && shown !== '')
        process.stdout.write(`\u001B[${linesOn(process.stdout.columns, shown)}A\u001B[0J`);
      process.stdout.write(`${text}\n`);
      shown = text;
    }
    // Rejects when it is told to end.
    await sleep(EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
  }
}

/** How many lines of a terminal a text takes: one that is longer than the terminal is wide goes on in the next. */
export function linesOn(columns: number, text: string): number {
  const lines = text
    .split('\n')
    .map((line) => Math.ceil(Array.from(line).length / Math.max(columns, 1)));
  return lines.reduce((sum, count) => sum + Math.max(count, 1), 0);
}

function format(now: Status): string {
  const { legacyMessages: total, migratedMessages, quarantinedMessages } = now;
  return `${print.bar(migratedMessages + quarantinedMessages, total)}\n${print.status(now)}`;
}

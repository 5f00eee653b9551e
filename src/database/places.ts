import type { Parameters } from './database.js';

/** What stands between the places of a statement, and their names: one piece more than names. */
interface Template {
  readonly pieces: readonly string[];
  readonly names: readonly string[];
}

/** Statements whose texts are remembered; most of ours are made once, and some for each number of rows. */
const MOST_TEMPLATES = 1_000;

const templates = new Map<string, Template>();

/**
 * A statement with the engine's own places for those of its `:name`s that are given; others, like the minutes of a time,
 * stay as they are.
 * @param placeOf the engine's place for a name's value, which it notes
 */
export function withPlaces(
  sql: string,
  parameters: Parameters,
  placeOf: (name: string) => string,
): string {
  const { pieces, names } = templateOf(sql);
  let text = pieces[0] ?? '';
  names.forEach((name, n) => {
    text += (Object.hasOwn(parameters, name) ? placeOf(name) : `:${name}`) + (pieces[n + 1] ?? '');
  });
  return text;
}

/** A statement is thousands of characters long at times, and searched once. */
function templateOf(sql: string): Template {
  const known = templates.get(sql);
  if (known !== undefined) return known;
  const [first = '', ...rest] = sql.split(/(?<!:):(?=[A-Za-z0-9_])/);
  const pieces = [first];
  const names: string[] = [];
  for (const each of rest) {
    const name = /^[A-Za-z0-9_]+/.exec(each)?.[0] ?? '';
    names.push(name);
    pieces.push(each.slice(name.length));
  }
  if (templates.size >= MOST_TEMPLATES) templates.clear();
  const template = { pieces, names };
  templates.set(sql, template);
  return template;
}

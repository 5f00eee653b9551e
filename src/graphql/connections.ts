import { Field, ObjectType } from '@nestjs/graphql';
import { SegueError } from '../errors/segue-error.js';

const DEFAULT_SIZE = 30;
const MOST = 100;

@ObjectType()
export class PageInfo {
  @Field()
  hasNextPage!: boolean;

  @Field()
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true })
  startCursor!: string | null;

  @Field(() => String, { nullable: true })
  endCursor!: string | null;
}

export interface Edge<Node> {
  readonly cursor: string;
  readonly node: Node;
}

export interface Connection<Node> {
  readonly edges: readonly Edge<Node>[];
  readonly pageInfo: PageInfo;
}

export interface ConnectionArguments {
  readonly first?: number | null;
  readonly after?: string | null;
  readonly last?: number | null;
  readonly before?: string | null;
}

/** A page to be read: so many from one end, between two places of which either may be open. */
export interface PageRequest<Key> {
  readonly size: number;
  readonly direction: 'forward' | 'backward';
  readonly after: Key | null;
  readonly before: Key | null;
}

/**
 * Reads the arguments of a connection.
 * @param readKey the place that a cursor means; null for one that no answer gave
 * @throws SegueError BAD_USER_INPUT naming the argument, its value and what it takes.
 */
export function readPageRequest<Key>(
  { first, after, last, before }: ConnectionArguments,
  readKey: (cursor: string) => Key | null,
): PageRequest<Key> {
  if (first != null && last != null)
    throw new SegueError(
      'BAD_USER_INPUT',
      `first is ${first} and last is ${last}: a page is counted from one end, so only one of them can be given.`,
    );
  const isBackward = last != null || (first == null && before != null && after == null);
  return {
    size: isBackward ? checkSize('last', last) : checkSize('first', first),
    direction: isBackward ? 'backward' : 'forward',
    after: keyOf('after', after, readKey),
    before: keyOf('before', before, readKey),
  };
}

export function checkSize(name: 'first' | 'last', size: number | null | undefined): number {
  const value = size ?? DEFAULT_SIZE;
  if (value < 0 || value > MOST)
    throw new SegueError('BAD_USER_INPUT', `${name} is ${value}: it takes 0 to ${MOST}.`);
  return value;
}

function keyOf<Key>(
  name: string,
  cursor: string | null | undefined,
  readKey: (cursor: string) => Key | null,
): Key | null {
  if (cursor == null) return null;
  const key = readKey(cursor);
  if (key === null)
    throw new SegueError(
      'BAD_USER_INPUT',
      `${name} is ${JSON.stringify(cursor)}, which is no cursor of this list: it takes one that an answer gave.`,
    );
  return key;
}

/** A cursor of some whole numbers, as text: opaque to clients, and good for as long as the order stands. */
export function writeKey(...numbers: readonly string[]): string {
  return Buffer.from(numbers.join(' ')).toString('base64url');
}

/** The numbers of a cursor; null when it is none with so many. */
export function readKey(cursor: string, count: number): string[] | null {
  const numbers = Buffer.from(cursor, 'base64url').toString().split(' ');
  const isKey = numbers.length === count && numbers.every((number) => /^-?\d{1,19}$/.test(number));
  return isKey && writeKey(...numbers) === cursor ? numbers : null;
}

/**
 * Puts a connection together.
 * @param found the rows of the page in their order, and one more in the direction of reading where there is one
 * @param hasOther whether there are rows beyond the other end
 */
export function connectionOf<Row, Node>(
  { size, direction }: Pick<PageRequest<unknown>, 'size' | 'direction'>,
  found: readonly Row[],
  hasOther: boolean,
  edgeOf: (row: Row) => Edge<Node>,
): Connection<Node> {
  const hasMore = found.length > size;
  const rows = !hasMore
    ? found
    : direction === 'forward'
      ? found.slice(0, size)
      : found.slice(found.length - size);
  const edges = rows.map(edgeOf);
  return {
    edges,
    pageInfo: {
      hasNextPage: direction === 'forward' ? hasMore : hasOther,
      hasPreviousPage: direction === 'forward' ? hasOther : hasMore,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}

import { describe, expect, it } from '@jest/globals';
import { buildSchema } from 'graphql';
import { Documents } from '../../src/web/documents.js';

const SCHEMA = buildSchema('type Query { hello: String }');

/** The same question by another text. */
const named = (n: number): string => `query Q${n} { hello }`;

describe('documents', () => {
  it('are parsed and validated once for each text', () => {
    const documents = new Documents(SCHEMA);
    const first = documents.read('{ hello }');
    expect(first).toMatchObject({ kind: 'Document' });
    expect(documents.read('{ hello }')).toBe(first);
    expect(documents.read('{  hello }')).not.toBe(first);
    expect(documents.size).toBe(2);
  });

  it('are forgotten when others were asked for since', () => {
    const documents = new Documents(SCHEMA, 2 * named(1).length);
    const [first, second] = [documents.read(named(1)), documents.read(named(2))];
    expect(documents.read(named(1))).toBe(first);
    documents.read(named(3));
    expect(documents.size).toBe(2);
    expect(documents.read(named(1))).toBe(first);
    expect(documents.read(named(2))).not.toBe(second);
  });

  it.each([
    ['a text that is none', '{ hello', /Syntax Error/, 'GRAPHQL_PARSE_FAILED'],
    ['too many tokens', `{ ${'hello '.repeat(2_000)} }`, /2000 tokens/, 'GRAPHQL_PARSE_FAILED'],
    ['an unknown field', '{ goodbye }', /Cannot query field "goodbye"/, undefined],
  ])('are not kept, and say what is wrong: %s', (_, text, words, code) => {
    const documents = new Documents(SCHEMA);
    for (let time = 0; time < 2; time += 1) {
      const [mistake] = documents.read(text) as readonly {
        message: string;
        extensions: { code?: string };
      }[];
      expect(mistake?.message).toMatch(words);
      expect(mistake?.extensions.code).toBe(code);
    }
    expect(documents.size).toBe(0);
  });

  it('are forgotten for a longer one, which may take the place of several', () => {
    const documents = new Documents(SCHEMA, 100);
    for (let n = 1; n <= 5; n += 1) documents.read(named(n));
    expect(documents.size).toBe(5);
    const long = `{ hello } #${'x'.repeat(70)}`;
    const kept = documents.read(long);
    expect(documents.read(long)).toBe(kept);
    expect(documents.size).toBe(2);
    for (let n = 6; n <= 9; n += 1) documents.read(named(n));
    expect(documents.read(long)).not.toBe(kept);
  });

  it('are not kept when they are very long', () => {
    const documents = new Documents(SCHEMA);
    documents.read(`{ hello } #${'x'.repeat(10_000)}`);
    expect(documents.size).toBe(0);
  });
});

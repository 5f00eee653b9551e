import { type DocumentNode, GraphQLError, type GraphQLSchema, parse, validate } from 'graphql';

/** The most tokens of a document: the longest introspection has some 400. */
export const MOST_TOKENS = 2_000;

/**
 * What is kept of documents, in characters of all of them together, and the longest: where each second character is a token
 * they take 170 bytes of memory a character, and anybody may send some.
 */
const MOST_KEPT = 200_000;
const LONGEST_KEPT = 10_000;

/**
 * Documents by their text, each parsed and validated once: clients send the same few again and again. Those that were
 * asked for last are kept, and none that is wrong.
 */
export class Documents {
  private readonly kept = new Map<string, DocumentNode>();
  private characters = 0;

  constructor(
    private readonly schema: GraphQLSchema,
    private readonly mostCharacters = MOST_KEPT,
  ) {}

  get size(): number {
    return this.kept.size;
  }

  /** The document of a text, or what is wrong with it. */
  read(text: string): DocumentNode | readonly GraphQLError[] {
    const known = this.kept.get(text);
    if (known !== undefined) {
      // The last one again, of those that were asked for.
      this.kept.delete(text);
      this.kept.set(text, known);
      return known;
    }
    let document: DocumentNode;
    try {
      document = parse(text, { maxTokens: MOST_TOKENS });
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error;
      error.extensions.code = 'GRAPHQL_PARSE_FAILED';
      return [error];
    }
    const mistakes = validate(this.schema, document);
    if (mistakes.length > 0) return mistakes;
    if (text.length <= LONGEST_KEPT) this.keep(text, document);
    return document;
  }

  private keep(text: string, document: DocumentNode): void {
    this.kept.set(text, document);
    this.characters += text.length;
    for (const oldest of this.kept.keys()) {
      if (this.characters <= this.mostCharacters) return;
      this.kept.delete(oldest);
      this.characters -= oldest.length;
    }
  }
}

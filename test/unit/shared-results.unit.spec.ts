import { describe, expect, it } from '@jest/globals';
import {
  type ExecutionResult,
  GraphQLBoolean,
  GraphQLInterfaceType,
  GraphQLObjectType,
  GraphQLSchema,
  GraphQLString,
  parse,
} from 'graphql';
import { Loaders } from '../../src/graphql/loaders.js';
import { SharedResults } from '../../src/web/shared-results.js';

/** As the decorator declares it. */
const extensions = { isViewerIndependent: true };

interface Context {
  readonly viewer: string;
}

class Said {
  readonly text = 'said';
}

const event = new GraphQLInterfaceType({
  name: 'Event',
  fields: { text: { type: GraphQLString } },
  resolveType: () => 'Said',
});
const said = new GraphQLObjectType<Said, Context>({
  name: 'Said',
  interfaces: [event],
  fields: {
    text: { type: GraphQLString, extensions },
    // One that is declared wrongly, and one that is not declared.
    alias: {
      type: GraphQLString,
      extensions,
      resolve: (_, __, { viewer }) => viewer,
    },
    viewer: { type: GraphQLString, resolve: (_, __, { viewer }) => viewer },
  },
});
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({ name: 'Query', fields: { one: { type: GraphQLString } } }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      events: {
        type: event,
        args: { after: { type: GraphQLString }, live: { type: GraphQLBoolean } },
        async *subscribe(source) {
          await Promise.resolve();
          yield source as unknown;
        },
      },
    },
  }),
  types: [said],
});

describe('results that are shared', () => {
  /** What each of some viewers is told of the same object by a document, and how often it was executed. */
  async function told(
    text: string,
    ...variables: Record<string, unknown>[]
  ): Promise<{ results: ExecutionResult[]; executed: number }> {
    const shared = new SharedResults(schema);
    const document = parse(text);
    const rootValue = { events: new Said() };
    const results: ExecutionResult[] = [];
    for (const [n, variableValues] of variables.entries()) {
      const stream = await shared.subscribe({
        schema,
        document,
        rootValue,
        variableValues,
        contextValue: { viewer: `viewer ${n}`, loaders: new Loaders() },
      });
      if (!(Symbol.asyncIterator in stream)) throw new Error(JSON.stringify(stream));
      for await (const result of stream) results.push(result);
    }
    return {
      results: results.map((each) => ({ ...each, data: { ...each.data } })),
      executed: shared.executed,
    };
  }

  it('are executed once, whatever the root is called and asked for', async () => {
    const { results, executed } = await told(
      'subscription ($after: String) { e: events(after: $after) { __typename text ...F } } fragment F on Said { t: text }',
      { after: 'one' },
      { after: 'another' },
      {},
    );
    expect(executed).toBe(1);
    for (const { data } of results)
      expect(data).toEqual({ e: { __typename: 'Said', text: 'said', t: 'said' } });
  });

  it('are those of the variables that they depend on, where null is not what is left out', async () => {
    const { results, executed } = await told(
      'subscription ($is: Boolean = true) { events { __typename text @include(if: $is) } }',
      { is: null },
      {},
      { is: false },
      { is: true },
      {},
    );
    expect(results.map(({ data, errors }) => errors?.length ?? data)).toEqual([
      1,
      { events: { __typename: 'Said', text: 'said' } },
      { events: { __typename: 'Said' } },
      { events: { __typename: 'Said', text: 'said' } },
      { events: { __typename: 'Said', text: 'said' } },
    ]);
    expect(executed).toBe(4);
  });

  it.each([
    ['is not declared to be the same for everybody', 'viewer', 2],
    // Once for all, in vain.
    ['is declared so and asks for the viewer', 'alias', 3],
  ])('are each viewer’s own where a field %s', async (_, field, times) => {
    const { results, executed } = await told(
      `subscription { events { ... on Said { text ${field} } } }`,
      {},
      {},
    );
    expect(results.map(({ data }) => data)).toEqual([
      { events: { text: 'said', [field]: 'viewer 0' } },
      { events: { text: 'said', [field]: 'viewer 1' } },
    ]);
    expect(executed).toBe(times);
  });
});

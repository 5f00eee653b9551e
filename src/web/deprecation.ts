import type { ApolloServerPlugin } from '@apollo/server';
import type { GraphQLSchema } from 'graphql';
import type { GraphQLContext } from '../auth/viewer.js';

/** What an answer says of a deprecated field that was called. */
export interface DeprecationNotice {
  readonly field: string;
  /** What to call instead. */
  readonly reason: string;
  /** From when on it may not be answered any more, ISO 8601; left out: nobody has said. */
  readonly sunset?: string;
}

/** Since when the old API is deprecated, and until when it is answered. */
export class Deprecation {
  /**
   * @param since asked for each answer that needs it; null: there is nothing to call instead yet
   * @param sunset null: nobody has said
   */
  constructor(
    private readonly since: () => Promise<Date | null>,
    private readonly sunset: Date | null,
  ) {}

  /** The headers of an answer over HTTP: RFC 9745 and RFC 8594. */
  async headers(): Promise<[name: string, value: string][]> {
    const since = await this.since();
    if (since === null) return [];
    return [
      ['deprecation', `@${Math.floor(since.getTime() / 1_000)}`],
      ...(this.sunset === null ? [] : [['sunset', this.sunset.toUTCString()] as [string, string]]),
    ];
  }

  /** The extension `deprecations` of an answer; null where nothing is to be said. */
  async notices(
    schema: GraphQLSchema,
    { deprecated }: GraphQLContext,
  ): Promise<DeprecationNotice[] | null> {
    if (deprecated.size === 0 || (await this.since()) === null) return null;
    const roots = [schema.getQueryType(), schema.getMutationType()];
    return [...deprecated].map((field) => ({
      field,
      reason:
        roots.map((root) => root?.getFields()[field]?.deprecationReason).find((text) => text) ?? '',
      ...(this.sunset === null ? {} : { sunset: this.sunset.toISOString() }),
    }));
  }
}

/** Says so in answers over HTTP. */
export function deprecationPlugin(deprecation: Deprecation): ApolloServerPlugin<GraphQLContext> {
  return {
    requestDidStart: () =>
      Promise.resolve({
        willSendResponse: async ({ contextValue, response, schema }) => {
          const notices = await deprecation.notices(schema, contextValue);
          if (notices === null) return;
          for (const [name, value] of await deprecation.headers())
            response.http.headers.set(name, value);
          if (response.body.kind === 'single')
            response.body.singleResult.extensions = {
              ...response.body.singleResult.extensions,
              deprecations: notices,
            };
        },
      }),
  };
}

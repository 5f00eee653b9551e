import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { type DynamicModule, Module } from '@nestjs/common';
import { GraphQLModule } from '@nestjs/graphql';
import { SignedInGuard } from './auth/viewer.js';
import { type Secrets, TokensService } from './auth/tokens.service.js';
import type { LegacyMapping } from './config/legacy-mapping.js';
import type { Database } from './database/database.js';
import { LegacyResolver } from './legacy/legacy.resolver.js';
import { LegacyService } from './legacy/legacy.service.js';
import type { LegacySql } from './legacy/legacy-sql.js';
import { UsersService } from './users/users.service.js';
import { formatError } from './web/graphql-errors.js';
import { HealthController } from './web/health.controller.js';
import { HealthService } from './web/health.service.js';

/** The most tokens of a document: the longest introspection has some 400. */
const MOST_TOKENS = 2_000;

/** All resolvers; `schema.gql` is made from them. */
export const RESOLVERS = [LegacyResolver] as const;

export interface AppParts {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly secrets: Secrets;
  /** The old queries on the side that answers them. */
  readonly legacySql: LegacySql;
}

@Module({})
export class AppModule {
  static with({ database, mapping, secrets, legacySql }: AppParts): DynamicModule {
    const users = new UsersService(database, mapping);
    return {
      module: AppModule,
      imports: [
        GraphQLModule.forRoot<ApolloDriverConfig>({
          driver: ApolloDriver,
          autoSchemaFile: true,
          sortSchema: true,
          playground: false,
          graphiql: false,
          // The schema is public, and GraphiQL is part of the product.
          introspection: true,
          includeStacktraceInErrorResponses: false,
          persistedQueries: false,
          parseOptions: { maxLexicalTokens: MOST_TOKENS },
          formatError,
        }),
      ],
      controllers: [HealthController],
      providers: [
        ...RESOLVERS,
        SignedInGuard,
        { provide: UsersService, useValue: users },
        { provide: TokensService, useValue: new TokensService(users, secrets) },
        { provide: LegacyService, useValue: new LegacyService(database, legacySql) },
        { provide: HealthService, useValue: new HealthService(database) },
      ],
    };
  }
}

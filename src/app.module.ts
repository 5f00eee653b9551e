import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { type DynamicModule, Module } from '@nestjs/common';
import { GraphQLModule } from '@nestjs/graphql';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type AuthParts, authProviders } from './auth/auth.providers.js';
import { AuthResolver } from './auth/auth.resolver.js';
import { contextOf } from './auth/viewer.js';
import { EVENT_TYPES } from './api/event.types.js';
import { MessageRemovedResolver, ReceiptUpdatedResolver } from './api/event-fields.resolver.js';
import { EventsResolver } from './api/events.resolver.js';
import { NodeResolver } from './api/node.resolver.js';
import { ServedGuard, Serving } from './auth/served.guard.js';
import { chatOf, chatProviders } from './chat.providers.js';
import {
  ConversationsResolver,
  ParticipantsResolver,
} from './conversations/conversations.resolver.js';
import type { Bus } from './events/bus.js';
import type { EventHub } from './events/event-hub.js';
import { DeprecatedCallGuard } from './legacy/deprecated-call.guard.js';
import { DeprecatedCalls } from './legacy/deprecated-calls.js';
import { LegacyFeed } from './legacy/legacy-feed.js';
import { LegacyResolver } from './legacy/legacy.resolver.js';
import { LegacyWritesService } from './legacy/legacy-writes.service.js';
import { LegacyService } from './legacy/legacy.service.js';
import { OldSignals } from './legacy/old-signals.js';
import { ConversationMessagesResolver, MessagesResolver } from './messages/messages.resolver.js';
import type { ServedSides, Sides } from './messages/old-side.js';
import type { ChangeoverContext } from './changeover/context.js';
import { ChangeoverResolver } from './operators/changeover.resolver.js';
import { ChangeoverService } from './operators/changeover.service.js';
import { OperatorGuard } from './operators/operator.guard.js';
import { Operators } from './operators/operators.js';
import { LastSeenPrivacy } from './presence/last-seen-privacy.js';
import { PresenceStore } from './presence/presence-store.js';
import { PresenceResolver } from './presence/presence.resolver.js';
import { PresenceService } from './presence/presence.service.js';
import { TypingResolver } from './presence/typing.resolver.js';
import { ReceiptsResolver } from './receipts/receipts.resolver.js';
import { DevicesResolver } from './users/devices.resolver.js';
import { Contacts } from './users/contacts.js';
import { PhoneNumbers } from './users/phone-numbers.js';
import { UserLookup } from './users/user-lookup.js';
import { UsersResolver } from './users/users.resolver.js';
import { formatError } from './web/graphql-errors.js';
import { HealthController } from './web/health.controller.js';
import { HealthService } from './web/health.service.js';
import { MOST_TOKENS } from './web/documents.js';
import { Metrics } from './web/metrics.js';
import { MetricsController } from './web/metrics.controller.js';
import { type Deprecation, deprecationPlugin } from './web/deprecation.js';
import { noSubscriptions } from './web/no-subscriptions.plugin.js';

/** All resolvers; `schema.gql` is made from them. */
export const RESOLVERS = [
  AuthResolver,
  UsersResolver,
  DevicesResolver,
  NodeResolver,
  ConversationsResolver,
  ParticipantsResolver,
  ConversationMessagesResolver,
  MessagesResolver,
  ReceiptsResolver,
  TypingResolver,
  PresenceResolver,
  EventsResolver,
  MessageRemovedResolver,
  ReceiptUpdatedResolver,
  LegacyResolver,
  ChangeoverResolver,
] as const;

export interface AppParts extends AuthParts {
  /** The old queries on the side that answers them. */
  readonly legacy: LegacyService;
  /** The sides that writes go to. */
  readonly sides: Sides;
  readonly hub: EventHub;
  /** To the other processes on the database; null where there are none. */
  readonly bus: Bus | null;
  readonly servedSides: () => Promise<ServedSides>;
  /** Throws NOT_EXPANDED while new clients are not served. */
  readonly checkServed: () => Promise<void>;
  readonly hasOpenGroups: boolean;
  /** What operators have done: with the database that they look at. */
  readonly changeover: Omit<ChangeoverContext, 'who'>;
  readonly migrationsTable: string;
  /** Counts who calls the old API, and says until when it is answered. */
  readonly deprecatedCalls: DeprecatedCalls;
  readonly deprecation: Deprecation;
  /** For how long nobody may have called the old API before the contract step, in seconds. */
  readonly quietTime: number;
  /** Whether the old table of accounts takes who was there when. */
  readonly keepsLastSeen: () => Promise<boolean>;
}

@Module({})
export class AppModule {
  static with({
    legacy,
    sides,
    hub,
    bus,
    servedSides,
    checkServed,
    keepsLastSeen,
    changeover,
    migrationsTable,
    deprecatedCalls,
    deprecation,
    quietTime,
    ...parts
  }: AppParts): DynamicModule {
    const { database, mapping, hasOpenGroups } = parts;
    const metrics = new Metrics();
    const chat = chatOf({
      database,
      mapping,
      sides,
      hub,
      bus,
      committed: (commit) => {
        metrics.noteCommit(commit);
      },
    });
    const attended = new PresenceStore(database, mapping, {
      isServed: async () => (await servedSides()) !== 'old',
      keepsLastSeen,
      sides,
    });
    const operators = new Operators(database, mapping);
    const privacy = new LastSeenPrivacy(
      database,
      mapping,
      new Contacts(database, mapping, new PhoneNumbers(parts.defaultCountry)),
    );
    return {
      module: AppModule,
      imports: [
        GraphQLModule.forRoot<ApolloDriverConfig>({
          driver: ApolloDriver,
          autoSchemaFile: true,
          buildSchemaOptions: { orphanedTypes: [...EVENT_TYPES] },
          sortSchema: true,
          playground: false,
          graphiql: false,
          // The schema is public, and GraphiQL is part of the product.
          introspection: true,
          includeStacktraceInErrorResponses: false,
          persistedQueries: false,
          parseOptions: { maxLexicalTokens: MOST_TOKENS },
          formatError,
          plugins: [noSubscriptions, deprecationPlugin(deprecation)],
          context: ({ headers }: FastifyRequest, reply: FastifyReply) =>
            contextOf(headers, { reply }),
        }),
      ],
      controllers: [HealthController, MetricsController],
      providers: [
        ...RESOLVERS,
        ...authProviders(parts),
        ...chatProviders(chat, hub),
        ServedGuard,
        { provide: DeprecatedCalls, useValue: deprecatedCalls },
        DeprecatedCallGuard,
        { provide: Serving, useValue: new Serving(checkServed) },
        { provide: LegacyService, useValue: legacy },
        {
          provide: LegacyWritesService,
          useValue: new LegacyWritesService({
            database,
            mapping,
            reads: legacy,
            conversations: chat.groups,
            sends: chat.sends,
            hub,
            typing: chat.typing,
            servedSides,
            sides,
            hasOpenGroups,
          }),
        },
        {
          provide: LegacyFeed,
          useValue: new LegacyFeed({ database, mapping, reads: legacy, hub, servedSides }),
        },
        {
          provide: OldSignals,
          inject: [PresenceService],
          useFactory: (presences: PresenceService) =>
            new OldSignals({
              database,
              hub,
              conversations: chat.reader,
              typing: chat.typing,
              presences,
              servedSides,
            }),
        },
        {
          provide: PresenceService,
          inject: [UserLookup],
          useFactory: (users: UserLookup) =>
            new PresenceService(attended, users, privacy, hub, bus?.topic('presence')),
        },
        { provide: Operators, useValue: operators },
        {
          provide: ChangeoverService,
          useValue: new ChangeoverService(changeover, migrationsTable, operators, quietTime),
        },
        OperatorGuard,
        { provide: Metrics, useValue: metrics },
        { provide: HealthService, useValue: new HealthService(database) },
      ],
    };
  }
}

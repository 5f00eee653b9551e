import {
  signInCodeEntity,
  signInPhoneEntity,
  signInSessionEntity,
} from './auth/sign-in.entities.js';
import { verificationCodesTable } from './auth/verification-code.table.js';
import { callLogsTable } from './calls/call-log.table.js';
import * as books from './changeover/books.entities.js';
import { SETTLED_ZONE } from './changeover/stage.js';
import type { LegacyMapping } from './config/legacy-mapping.js';
import { contactsTable } from './contacts/contact.table.js';
import { conversationEntity, participantEntity } from './conversations/conversation.entities.js';
import type { EngineName } from './database/dialect.js';
import { dialectOf } from './database/dialects.js';
import { migrationsOf, SCHEMA_VERSION } from './database/migrations/migrations.js';
import { type OldTable, oldTableEntity } from './database/old-table.js';
import type { Schema } from './database/schema.js';
import { schemaVersionEntity } from './database/schema-version.entity.js';
import { eventEntity, eventLogEntity } from './events/event.entities.js';
import { deprecatedUsageEntity } from './legacy/deprecated-usage.entity.js';
import { legacyMessagesTable } from './legacy/legacy-message.table.js';
import {
  enhancedMessageEntity,
  legacyRawValuesEntity,
} from './messages/enhanced-message.entities.js';
import { operatorEntity } from './operators/operator.entity.js';
import { userPresenceEntity } from './presence/user-presence.entity.js';
import { messageStatusEntity, receiptMirrorEntity } from './receipts/message-status.entity.js';
import { devicesTable, settingsTable, usersTable } from './users/user.tables.js';

/** The six old tables that a database without an old side has too. */
function keptTables(mapping: LegacyMapping): OldTable[] {
  return [
    usersTable(mapping),
    settingsTable(mapping),
    devicesTable(mapping),
    contactsTable(mapping),
    callLogsTable(mapping),
    verificationCodesTable(mapping),
  ];
}

/** All seven tables of the old app; each comes after those that it refers to. */
export function oldTables(mapping: LegacyMapping): OldTable[] {
  return [...keptTables(mapping), legacyMessagesTable(mapping)];
}

/** All that a chat database is made of, on one engine. */
export function schemaOf(engine: EngineName, mapping: LegacyMapping): Schema {
  const dialect = dialectOf(engine);
  return {
    entities: [
      ...oldTables(mapping).map((table) => oldTableEntity(engine, table)),
      conversationEntity(dialect),
      participantEntity(dialect),
      enhancedMessageEntity(dialect),
      legacyRawValuesEntity(dialect),
      messageStatusEntity(dialect),
      receiptMirrorEntity(dialect),
      eventEntity(dialect),
      eventLogEntity(dialect),
      userPresenceEntity(dialect),
      schemaVersionEntity(dialect),
      books.stateEntity(dialect),
      books.leaseEntity(dialect),
      books.logEntity(dialect),
      books.cutoverUserEntity(dialect),
      books.shadowDifferenceEntity(dialect),
      deprecatedUsageEntity(dialect),
      books.queueEntity(dialect),
      books.departedAccountEntity(dialect),
      books.knownAccountEntity(dialect),
      books.placeEntity(dialect),
      books.quarantineEntity(dialect),
      books.certificateEntity(dialect),
      books.mismatchEntity(dialect),
      books.repairEntity(dialect),
      operatorEntity(dialect),
      signInPhoneEntity(dialect),
      signInCodeEntity(dialect),
      signInSessionEntity(dialect),
    ],
    migrations: migrationsOf(engine, keptTables(mapping), oldTables(mapping)),
    version: SCHEMA_VERSION,
    migrationsTable: 'segue_migrations',
    settledZone: { table: 'changeover_state', find: SETTLED_ZONE },
  };
}

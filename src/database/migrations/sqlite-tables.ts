import type { OwnTables } from './migrations.js';

/**
 * Our tables on SQLite. Nothing here is STRICT or generated, so that an old SQLite library of the old app can still
 * open the file.
 */
export const sqliteTables: OwnTables = {
  names: [
    'conversations',
    'conversation_participants',
    'enhanced_messages',
    'legacy_raw_values',
    'message_status',
    'user_presence',
    'changeover_state',
    'changeover_lease',
    'changeover_queue',
    'changeover_quarantine',
    'changeover_certificates',
    'changeover_mismatches',
  ],
  create: [
    `CREATE TABLE "conversations" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "kind" text NOT NULL,
      "pair_low" integer, "pair_high" integer, "legacy_group_id" integer, "name" text,
      "created_at" integer NOT NULL, "last_position" integer NOT NULL)`,
    `CREATE UNIQUE INDEX "conversations_pair" ON "conversations" ("pair_low", "pair_high") WHERE "pair_low" IS NOT NULL`,
    `CREATE UNIQUE INDEX "conversations_legacy_group" ON "conversations" ("legacy_group_id") WHERE "legacy_group_id" IS NOT NULL`,

    `CREATE TABLE "conversation_participants" ("conversation_id" integer NOT NULL, "user_id" integer NOT NULL,
      "role" text NOT NULL, "has_written" boolean NOT NULL, "joined_at" integer, "left_at" integer,
      PRIMARY KEY ("conversation_id", "user_id"))`,
    `CREATE INDEX "conversation_participants_user" ON "conversation_participants" ("user_id")`,

    `CREATE TABLE "enhanced_messages" ("id" integer PRIMARY KEY NOT NULL, "conversation_id" integer NOT NULL,
      "sender_id" integer, "legacy_message_id" integer, "client_id" text, "kind" text NOT NULL, "text" text,
      "sent_at" integer NOT NULL, "position" integer NOT NULL, "status" integer NOT NULL,
      "raw_mask" integer NOT NULL DEFAULT 0)`,
    `CREATE INDEX "enhanced_messages_order" ON "enhanced_messages" ("conversation_id", "position", "id")`,
    `CREATE UNIQUE INDEX "enhanced_messages_legacy" ON "enhanced_messages" ("legacy_message_id") WHERE "legacy_message_id" IS NOT NULL`,
    `CREATE UNIQUE INDEX "enhanced_messages_client" ON "enhanced_messages" ("sender_id", "client_id") WHERE "client_id" IS NOT NULL`,
    `CREATE INDEX "enhanced_messages_unread" ON "enhanced_messages" ("conversation_id", "position") WHERE ("status" = 1 OR "status" = 2)`,

    `CREATE TABLE "legacy_raw_values" ("message_id" integer PRIMARY KEY NOT NULL, "sender_id" blob, "recipient_id" blob,
      "group_id" blob, "type" blob, "status" blob, "created_at" blob)`,

    `CREATE TABLE "message_status" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "conversation_id" integer NOT NULL,
      "user_id" integer NOT NULL, "status" integer NOT NULL, "through_position" integer NOT NULL,
      "through_message_id" integer NOT NULL, "at" integer NOT NULL)`,
    `CREATE INDEX "message_status_reach" ON "message_status" ("conversation_id", "user_id", "status", "through_position", "through_message_id")`,

    `CREATE TABLE "user_presence" ("user_id" integer PRIMARY KEY NOT NULL, "status" text NOT NULL, "custom_status" text,
      "last_seen_at" integer)`,

    `CREATE TABLE "changeover_state" ("id" integer PRIMARY KEY NOT NULL, "stage" text NOT NULL, "backup" text,
      "fills_link" boolean NOT NULL DEFAULT 1, "low_id" integer, "high_id" integer, "done_above" integer,
      "has_threads" boolean NOT NULL DEFAULT 0, "rows_to_copy" integer NOT NULL DEFAULT 0,
      "migrated" integer NOT NULL DEFAULT 0, "quarantined" integer NOT NULL DEFAULT 0, "rows_per_second" integer NOT NULL DEFAULT 0, "started_at" integer,
      "changed_at" integer NOT NULL, CONSTRAINT "changeover_state_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "changeover_state" ("id", "stage", "changed_at") VALUES (1, 'LEGACY', unixepoch() * 1000000)`,

    `CREATE TABLE "changeover_lease" ("name" text PRIMARY KEY NOT NULL, "holder" text NOT NULL, "expires_at" integer NOT NULL)`,

    `CREATE TABLE "changeover_queue" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "source" text NOT NULL,
      "legacy_id" integer, "queued_at" integer NOT NULL)`,

    `CREATE TABLE "changeover_quarantine" ("legacy_id" integer PRIMARY KEY NOT NULL, "reason" text NOT NULL,
      "detail" text NOT NULL, "sender_id" text, "recipient_id" text, "group_id" text, "quarantined_at" integer NOT NULL)`,
    `CREATE INDEX "changeover_quarantine_pair" ON "changeover_quarantine" ("sender_id", "recipient_id")`,
    `CREATE INDEX "changeover_quarantine_recipient" ON "changeover_quarantine" ("recipient_id")`,
    `CREATE INDEX "changeover_quarantine_group" ON "changeover_quarantine" ("group_id")`,

    `CREATE TABLE "changeover_certificates" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL,
      "legacy_messages" integer NOT NULL, "migrated_messages" integer NOT NULL, "quarantined_messages" integer NOT NULL,
      "mismatches" integer NOT NULL, "low_id" integer, "high_id" integer, "versions" text NOT NULL,
      "verified_at" integer NOT NULL)`,

    `CREATE TABLE "changeover_mismatches" ("certificate_id" integer NOT NULL, "legacy_id" integer NOT NULL,
      "kind" text NOT NULL, "detail" text NOT NULL, PRIMARY KEY ("certificate_id", "legacy_id", "kind"))`,
  ],
};

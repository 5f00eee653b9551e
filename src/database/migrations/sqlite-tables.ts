import type { OwnTables } from './migrations.js';

/**
 * Our tables on SQLite. Nothing here is STRICT or generated, so that an old SQLite library of the old app can still
 * open the file.
 */
export const sqliteTables: OwnTables = {
  names: [
    'segue_schema',
    'conversations',
    'conversation_participants',
    'enhanced_messages',
    'legacy_raw_values',
    'message_status',
    'receipt_mirrors',
    'events',
    'event_log',
    'user_presence',
    'changeover_state',
    'changeover_lease',
    'changeover_log',
    'cutover_users',
    'shadow_differences',
    'deprecated_usage',
    'operators',
    'changeover_queue',
    'departed_accounts',
    'known_accounts',
    'changeover_places',
    'changeover_quarantine',
    'changeover_certificates',
    'changeover_mismatches',
    'changeover_repairs',
    'sign_in_phones',
    'sign_in_codes',
    'sign_in_sessions',
  ],
  create: [
    `CREATE TABLE "segue_schema" ("id" integer PRIMARY KEY NOT NULL, "version" integer NOT NULL, "oldest" integer NOT NULL,
      CONSTRAINT "segue_schema_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "segue_schema" ("id", "version", "oldest") VALUES (1, 1, 1)`,

    `CREATE TABLE "conversations" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "kind" text NOT NULL,
      "pair_low" integer, "pair_high" integer, "legacy_group_id" integer, "name" text,
      "created_at" integer NOT NULL, "last_position" integer NOT NULL, "made_here" boolean NOT NULL DEFAULT 0,
      "avatar_url" text, "created_by" integer, "client_id" text, "client_digest" text)`,
    `CREATE UNIQUE INDEX "conversations_pair" ON "conversations" ("pair_low", "pair_high") WHERE "pair_low" IS NOT NULL`,
    `CREATE UNIQUE INDEX "conversations_legacy_group" ON "conversations" ("legacy_group_id") WHERE "legacy_group_id" IS NOT NULL`,
    `CREATE UNIQUE INDEX "conversations_client" ON "conversations" ("created_by", "client_id") WHERE "client_id" IS NOT NULL`,

    `CREATE TABLE "conversation_participants" ("conversation_id" integer NOT NULL, "user_id" integer NOT NULL,
      "role" text NOT NULL, "has_written" boolean NOT NULL, "joined_at" integer, "left_at" integer,
      "joined_event" integer, "left_event" integer, "visible_from" integer, "visible_to" integer, "unread_from" integer,
      "delivered_position" integer, "delivered_message_id" integer, "delivered_at" integer,
      "read_position" integer, "read_message_id" integer, "read_at" integer, "marked_unread" boolean NOT NULL DEFAULT 0,
      "vacant" boolean NOT NULL DEFAULT 0, PRIMARY KEY ("conversation_id", "user_id"))`,
    `CREATE INDEX "conversation_participants_user" ON "conversation_participants" ("user_id")`,

    `CREATE TABLE "enhanced_messages" ("id" integer PRIMARY KEY NOT NULL, "conversation_id" integer NOT NULL,
      "sender_id" integer, "legacy_message_id" integer, "client_id" text, "kind" text NOT NULL, "text" text,
      "sent_at" integer NOT NULL, "position" integer NOT NULL, "status" integer NOT NULL,
      "raw_mask" integer NOT NULL DEFAULT 0, "removed_at" integer,
      "made_here" boolean NOT NULL DEFAULT 0, "client_digest" text, "reply_to_id" integer)`,
    `CREATE INDEX "enhanced_messages_order" ON "enhanced_messages" ("conversation_id", "position", "id")`,
    `CREATE UNIQUE INDEX "enhanced_messages_legacy" ON "enhanced_messages" ("legacy_message_id") WHERE "legacy_message_id" IS NOT NULL`,
    `CREATE UNIQUE INDEX "enhanced_messages_client" ON "enhanced_messages" ("sender_id", "client_id") WHERE "client_id" IS NOT NULL`,
    `CREATE INDEX "enhanced_messages_unread" ON "enhanced_messages" ("conversation_id", "position") WHERE ("status" = 1 OR "status" = 2)`,
    `CREATE INDEX "enhanced_messages_sent" ON "enhanced_messages" ("legacy_message_id") WHERE "made_here"`,
    `CREATE INDEX "enhanced_messages_raw" ON "enhanced_messages" ("legacy_message_id") WHERE "raw_mask" <> 0`,

    `CREATE TABLE "legacy_raw_values" ("message_id" integer PRIMARY KEY NOT NULL, "conversation_id" integer NOT NULL,
      "sender_id" blob, "recipient_id" blob, "group_id" blob, "content" blob, "type" blob, "status" blob, "created_at" blob,
      "created_text" text)`,
    `CREATE INDEX "legacy_raw_values_order" ON "legacy_raw_values" ("conversation_id", "created_text", "message_id")`,
    `CREATE INDEX "legacy_raw_values_recipient" ON "legacy_raw_values" ("recipient_id") WHERE "recipient_id" IS NOT NULL`,

    `CREATE TABLE "message_status" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "conversation_id" integer NOT NULL,
      "user_id" integer NOT NULL, "status" integer NOT NULL, "through_position" integer NOT NULL,
      "through_message_id" integer NOT NULL, "at" integer NOT NULL, "visible_from" integer)`,
    `CREATE INDEX "message_status_reach" ON "message_status" ("conversation_id", "user_id", "status", "through_position", "through_message_id")`,

    `CREATE TABLE "receipt_mirrors" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "conversation_id" integer NOT NULL, "status" integer NOT NULL,
      "through_position" integer NOT NULL, "through_message_id" integer NOT NULL)`,

    `CREATE TABLE "events" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "kind" text NOT NULL, "conversation_id" integer, "user_id" integer,
      "message_id" integer, "subject_id" integer, "at" integer NOT NULL)`,
    `CREATE INDEX "events_conversation" ON "events" ("conversation_id", "id") WHERE "user_id" IS NULL`,
    `CREATE INDEX "events_user" ON "events" ("user_id", "id") WHERE "user_id" IS NOT NULL`,

    `CREATE TABLE "event_log" ("id" integer PRIMARY KEY NOT NULL, "epoch" text NOT NULL, "forgotten_through" integer NOT NULL DEFAULT 0,
      CONSTRAINT "event_log_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "event_log" ("id", "epoch") VALUES (1, lower(hex(randomblob(8))))`,

    `CREATE TABLE "user_presence" ("user_id" integer PRIMARY KEY NOT NULL, "status" text NOT NULL, "custom_status" text,
      "last_seen_at" integer)`,

    `CREATE TABLE "changeover_state" ("id" integer PRIMARY KEY NOT NULL, "stage" text NOT NULL, "backup" text,
      "adds_columns" boolean NOT NULL DEFAULT 1,
      "fills_link" boolean NOT NULL DEFAULT 1, "zone" text NOT NULL DEFAULT 'UTC', "zone_shifts" text NOT NULL DEFAULT '0',
      "low_id" integer, "high_id" integer, "done_above" integer,
      "has_threads" boolean NOT NULL DEFAULT 0, "rows_to_copy" integer NOT NULL DEFAULT 0,
      "migrated" integer NOT NULL DEFAULT 0, "quarantined" integer NOT NULL DEFAULT 0, "rows_per_second" integer NOT NULL DEFAULT 0, "applied" integer NOT NULL DEFAULT 0, "started_at" integer, "voided_at" integer, "voided_by" text,
      "paused" boolean NOT NULL DEFAULT 0, "rate_limit" integer, "throttled_by" text, "lock_hold" integer,
      "compared_through" integer, "bypassed" integer NOT NULL DEFAULT 0, "cutover_percent" integer NOT NULL DEFAULT 0, "kept_since" integer,
      "expanded_at" integer, "retired_at" integer, "sealed_at" integer, "foreign_writes" integer NOT NULL DEFAULT 0, "foreign_written_at" integer,
      "shadow_sample" integer NOT NULL DEFAULT 0, "shadow_compared" integer NOT NULL DEFAULT 0, "shadow_mismatches" integer NOT NULL DEFAULT 0,
      "shadow_noise" integer NOT NULL DEFAULT 0, "shadow_undecided" integer NOT NULL DEFAULT 0,
      "changed_at" integer NOT NULL, CONSTRAINT "changeover_state_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "changeover_state" ("id", "stage", "changed_at") VALUES (1, 'LEGACY', unixepoch() * 1000000)`,

    `CREATE TABLE "changeover_lease" ("name" text PRIMARY KEY NOT NULL, "holder" text NOT NULL, "expires_at" integer NOT NULL)`,

    `CREATE TABLE "changeover_log" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "at" integer NOT NULL, "who" text NOT NULL, "did" text NOT NULL)`,

    `CREATE TABLE "cutover_users" ("user_id" integer PRIMARY KEY NOT NULL, "since" integer NOT NULL)`,

    `CREATE TABLE "shadow_differences" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "operation" text NOT NULL, "user_id" integer NOT NULL,
      "at" integer NOT NULL, "times" integer NOT NULL, "old_answer" text NOT NULL, "new_answer" text NOT NULL, "reason" text)`,
    `CREATE UNIQUE INDEX "shadow_differences_call" ON "shadow_differences" ("operation", "user_id")`,

    `CREATE TABLE "deprecated_usage" ("operation" text NOT NULL, "client" text NOT NULL, "calls" integer NOT NULL,
      "last_called_at" integer NOT NULL, PRIMARY KEY ("operation", "client"))`,

    `CREATE TABLE "operators" ("user_id" integer PRIMARY KEY NOT NULL, "phone" text NOT NULL, "granted_at" integer NOT NULL, "granted_by" text NOT NULL)`,

    `CREATE TABLE "changeover_queue" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "source" text NOT NULL,
      "legacy_id" integer, "queued_at" integer NOT NULL, "phone" text)`,

    `CREATE TABLE "departed_accounts" ("user_id" integer PRIMARY KEY NOT NULL, "phone" text, "departed_at" integer NOT NULL)`,

    `CREATE TABLE "known_accounts" ("user_id" integer PRIMARY KEY NOT NULL, "phone" text)`,

    `CREATE TABLE "changeover_places" ("legacy_id" integer PRIMARY KEY NOT NULL, "position" integer NOT NULL)`,

    `CREATE TABLE "changeover_quarantine" ("legacy_id" integer PRIMARY KEY NOT NULL, "reason" text NOT NULL,
      "detail" text NOT NULL, "sender_id" text, "recipient_id" text, "group_id" text, "quarantined_at" integer NOT NULL, "signed_off" text)`,
    `CREATE INDEX "changeover_quarantine_pair" ON "changeover_quarantine" ("sender_id", "recipient_id")`,
    `CREATE INDEX "changeover_quarantine_recipient" ON "changeover_quarantine" ("recipient_id")`,
    `CREATE INDEX "changeover_quarantine_group" ON "changeover_quarantine" ("group_id")`,

    `CREATE TABLE "changeover_certificates" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL,
      "legacy_messages" integer NOT NULL, "migrated_messages" integer NOT NULL, "quarantined_messages" integer NOT NULL,
      "mismatches" integer NOT NULL, "pending" integer NOT NULL, "low_id" integer, "high_id" integer, "versions" text NOT NULL, "sha256" text,
      "verified_at" integer NOT NULL)`,

    `CREATE TABLE "changeover_mismatches" ("certificate_id" integer NOT NULL, "legacy_id" integer NOT NULL,
      "kind" text NOT NULL, "detail" text NOT NULL, PRIMARY KEY ("certificate_id", "legacy_id", "kind"))`,

    `CREATE TABLE "changeover_repairs" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "legacy_id" integer NOT NULL, "kind" text NOT NULL,
      "did" text NOT NULL, "repaired_at" integer NOT NULL)`,

    `CREATE TABLE "sign_in_phones" ("phone" text PRIMARY KEY NOT NULL, "touched_at" integer NOT NULL)`,

    `CREATE TABLE "sign_in_codes" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "phone" text NOT NULL, "code_hash" text NOT NULL,
      "legacy_key" text, "issued_at" integer NOT NULL, "expires_at" integer NOT NULL, "tries" integer NOT NULL DEFAULT 0, "used_at" integer)`,
    `CREATE INDEX "sign_in_codes_phone" ON "sign_in_codes" ("phone", "id")`,
    `CREATE INDEX "sign_in_codes_expiry" ON "sign_in_codes" ("expires_at")`,
    `CREATE UNIQUE INDEX "sign_in_codes_legacy" ON "sign_in_codes" ("legacy_key") WHERE "legacy_key" IS NOT NULL`,

    `CREATE TABLE "sign_in_sessions" ("id" text PRIMARY KEY NOT NULL, "user_id" integer NOT NULL, "phone" text NOT NULL, "device_id" integer,
      "refresh_hash" text NOT NULL, "previous_hash" text, "rotated_at" integer NOT NULL, "expires_at" integer NOT NULL)`,
    `CREATE INDEX "sign_in_sessions_user" ON "sign_in_sessions" ("user_id")`,
    `CREATE INDEX "sign_in_sessions_expiry" ON "sign_in_sessions" ("expires_at")`,
  ],
};

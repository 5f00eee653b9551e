import type { OwnTables } from './migrations.js';

/** Our tables on PostgreSQL. */
export const postgresTables: OwnTables = {
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
    `CREATE TABLE "conversations" ("id" bigserial PRIMARY KEY NOT NULL, "kind" text NOT NULL,
      "pair_low" bigint, "pair_high" bigint, "legacy_group_id" bigint, "name" text,
      "created_at" bigint NOT NULL, "last_position" bigint NOT NULL)`,
    `CREATE UNIQUE INDEX "conversations_pair" ON "conversations" ("pair_low", "pair_high") WHERE "pair_low" IS NOT NULL`,
    `CREATE UNIQUE INDEX "conversations_legacy_group" ON "conversations" ("legacy_group_id") WHERE "legacy_group_id" IS NOT NULL`,

    `CREATE TABLE "conversation_participants" ("conversation_id" bigint NOT NULL, "user_id" bigint NOT NULL,
      "role" text NOT NULL, "has_written" boolean NOT NULL, "joined_at" bigint, "left_at" bigint,
      PRIMARY KEY ("conversation_id", "user_id"))`,
    `CREATE INDEX "conversation_participants_user" ON "conversation_participants" ("user_id")`,

    `CREATE TABLE "enhanced_messages" ("id" bigint PRIMARY KEY NOT NULL, "conversation_id" bigint NOT NULL,
      "sender_id" bigint, "legacy_message_id" bigint, "client_id" text, "kind" text NOT NULL, "text" text,
      "sent_at" bigint NOT NULL, "position" bigint NOT NULL, "status" smallint NOT NULL,
      "raw_mask" smallint NOT NULL DEFAULT 0)`,
    `CREATE INDEX "enhanced_messages_order" ON "enhanced_messages" ("conversation_id", "position", "id")`,
    `CREATE UNIQUE INDEX "enhanced_messages_legacy" ON "enhanced_messages" ("legacy_message_id") WHERE "legacy_message_id" IS NOT NULL`,
    `CREATE UNIQUE INDEX "enhanced_messages_client" ON "enhanced_messages" ("sender_id", "client_id") WHERE "client_id" IS NOT NULL`,
    `CREATE INDEX "enhanced_messages_unread" ON "enhanced_messages" ("conversation_id", "position") WHERE ("status" = 1 OR "status" = 2)`,

    `CREATE TABLE "legacy_raw_values" ("message_id" bigint PRIMARY KEY NOT NULL, "sender_id" text, "recipient_id" text,
      "group_id" text, "type" text, "status" text, "created_at" text)`,

    `CREATE TABLE "message_status" ("id" bigserial PRIMARY KEY NOT NULL, "conversation_id" bigint NOT NULL,
      "user_id" bigint NOT NULL, "status" smallint NOT NULL, "through_position" bigint NOT NULL,
      "through_message_id" bigint NOT NULL, "at" bigint NOT NULL)`,
    `CREATE INDEX "message_status_reach" ON "message_status" ("conversation_id", "user_id", "status", "through_position", "through_message_id")`,

    `CREATE TABLE "user_presence" ("user_id" bigint PRIMARY KEY NOT NULL, "status" text NOT NULL, "custom_status" text,
      "last_seen_at" bigint)`,

    `CREATE TABLE "changeover_state" ("id" smallint PRIMARY KEY NOT NULL, "stage" text NOT NULL, "backup" text,
      "fills_link" boolean NOT NULL DEFAULT true, "low_id" bigint, "high_id" bigint, "done_above" bigint,
      "has_threads" boolean NOT NULL DEFAULT false, "rows_to_copy" bigint NOT NULL DEFAULT 0,
      "migrated" bigint NOT NULL DEFAULT 0, "quarantined" bigint NOT NULL DEFAULT 0, "rows_per_second" bigint NOT NULL DEFAULT 0, "started_at" bigint,
      "changed_at" bigint NOT NULL, CONSTRAINT "changeover_state_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "changeover_state" ("id", "stage", "changed_at") VALUES (1, 'LEGACY', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)`,

    `CREATE TABLE "changeover_lease" ("name" text PRIMARY KEY NOT NULL, "holder" text NOT NULL, "expires_at" bigint NOT NULL)`,

    `CREATE TABLE "changeover_queue" ("id" uuid PRIMARY KEY NOT NULL DEFAULT gen_random_uuid(), "source" text NOT NULL,
      "legacy_id" bigint, "queued_at" bigint NOT NULL)`,

    `CREATE TABLE "changeover_quarantine" ("legacy_id" bigint PRIMARY KEY NOT NULL, "reason" text NOT NULL,
      "detail" text NOT NULL, "sender_id" text, "recipient_id" text, "group_id" text, "quarantined_at" bigint NOT NULL)`,
    `CREATE INDEX "changeover_quarantine_pair" ON "changeover_quarantine" ("sender_id", "recipient_id")`,
    `CREATE INDEX "changeover_quarantine_recipient" ON "changeover_quarantine" ("recipient_id")`,
    `CREATE INDEX "changeover_quarantine_group" ON "changeover_quarantine" ("group_id")`,

    `CREATE TABLE "changeover_certificates" ("id" bigserial PRIMARY KEY NOT NULL,
      "legacy_messages" bigint NOT NULL, "migrated_messages" bigint NOT NULL, "quarantined_messages" bigint NOT NULL,
      "mismatches" bigint NOT NULL, "low_id" bigint, "high_id" bigint, "versions" text NOT NULL,
      "verified_at" bigint NOT NULL)`,

    `CREATE TABLE "changeover_mismatches" ("certificate_id" bigint NOT NULL, "legacy_id" bigint NOT NULL,
      "kind" text NOT NULL, "detail" text NOT NULL, PRIMARY KEY ("certificate_id", "legacy_id", "kind"))`,
  ],
};

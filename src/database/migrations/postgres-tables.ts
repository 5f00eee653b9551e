import type { OwnTables } from './migrations.js';

/** Indexes of `enhanced_messages` that the backfill takes away before its first row, and builds after its last. */
export const LATE_INDEXES: readonly { readonly name: string; readonly create: string }[] = [
  {
    name: 'enhanced_messages_order',
    create: `CREATE INDEX "enhanced_messages_order" ON "enhanced_messages" ("conversation_id", "position", "id")`,
  },
  {
    name: 'enhanced_messages_legacy',
    create: `CREATE UNIQUE INDEX "enhanced_messages_legacy" ON "enhanced_messages" ("legacy_message_id") WHERE "legacy_message_id" IS NOT NULL`,
  },
  {
    name: 'enhanced_messages_unread',
    create: `CREATE INDEX "enhanced_messages_unread" ON "enhanced_messages" ("conversation_id", "position") WHERE ("status" = 1 OR "status" = 2)`,
  },
];

/** Our tables on PostgreSQL. */
export const postgresTables: OwnTables = {
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
    `CREATE TABLE "segue_schema" ("id" smallint PRIMARY KEY NOT NULL, "version" bigint NOT NULL, "oldest" bigint NOT NULL,
      CONSTRAINT "segue_schema_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "segue_schema" ("id", "version", "oldest") VALUES (1, 1, 1)`,

    `CREATE TABLE "conversations" ("id" bigserial PRIMARY KEY NOT NULL, "kind" text NOT NULL,
      "pair_low" bigint, "pair_high" bigint, "legacy_group_id" bigint, "name" text,
      "created_at" bigint NOT NULL, "last_position" bigint NOT NULL, "made_here" boolean NOT NULL DEFAULT false,
      "avatar_url" text, "created_by" bigint, "client_id" text, "client_digest" text)`,
    `CREATE UNIQUE INDEX "conversations_pair" ON "conversations" ("pair_low", "pair_high") WHERE "pair_low" IS NOT NULL`,
    `CREATE UNIQUE INDEX "conversations_legacy_group" ON "conversations" ("legacy_group_id") WHERE "legacy_group_id" IS NOT NULL`,
    `CREATE UNIQUE INDEX "conversations_client" ON "conversations" ("created_by", "client_id") WHERE "client_id" IS NOT NULL`,

    `CREATE TABLE "conversation_participants" ("conversation_id" bigint NOT NULL, "user_id" bigint NOT NULL,
      "role" text NOT NULL, "has_written" boolean NOT NULL, "joined_at" bigint, "left_at" bigint,
      "joined_event" bigint, "left_event" bigint, "visible_from" bigint, "visible_to" bigint, "unread_from" bigint,
      "delivered_position" bigint, "delivered_message_id" bigint, "delivered_at" bigint,
      "read_position" bigint, "read_message_id" bigint, "read_at" bigint, "marked_unread" boolean NOT NULL DEFAULT false,
      "vacant" boolean NOT NULL DEFAULT false, PRIMARY KEY ("conversation_id", "user_id"))`,
    `CREATE INDEX "conversation_participants_user" ON "conversation_participants" ("user_id")`,

    `CREATE TABLE "enhanced_messages" ("id" bigint PRIMARY KEY NOT NULL, "conversation_id" bigint NOT NULL,
      "sender_id" bigint, "legacy_message_id" bigint, "client_id" text, "kind" text NOT NULL, "text" text,
      "sent_at" bigint NOT NULL, "position" bigint NOT NULL, "status" smallint NOT NULL,
      "raw_mask" smallint NOT NULL DEFAULT 0, "removed_at" bigint,
      "made_here" boolean NOT NULL DEFAULT false, "client_digest" text, "reply_to_id" bigint)`,
    `CREATE SEQUENCE "enhanced_messages_own_ids" MINVALUE 1099511627776 OWNED BY "enhanced_messages"."id"`,
    ...LATE_INDEXES.map(({ create }) => create),
    `CREATE UNIQUE INDEX "enhanced_messages_client" ON "enhanced_messages" ("sender_id", "client_id") WHERE "client_id" IS NOT NULL`,
    `CREATE INDEX "enhanced_messages_sent" ON "enhanced_messages" ("legacy_message_id") WHERE made_here`,
    `CREATE INDEX "enhanced_messages_raw" ON "enhanced_messages" ("legacy_message_id") WHERE "raw_mask" <> 0`,

    `CREATE TABLE "legacy_raw_values" ("message_id" bigint PRIMARY KEY NOT NULL, "conversation_id" bigint NOT NULL,
      "sender_id" text, "recipient_id" text, "group_id" text, "content" text, "type" text, "status" text, "created_at" text,
      "created_text" text COLLATE "C")`,
    `CREATE INDEX "legacy_raw_values_order" ON "legacy_raw_values" ("conversation_id", "created_text" NULLS FIRST, "message_id")`,
    `CREATE INDEX "legacy_raw_values_recipient" ON "legacy_raw_values" ("recipient_id") WHERE "recipient_id" IS NOT NULL`,

    `CREATE TABLE "message_status" ("id" bigserial PRIMARY KEY NOT NULL, "conversation_id" bigint NOT NULL,
      "user_id" bigint NOT NULL, "status" smallint NOT NULL, "through_position" bigint NOT NULL,
      "through_message_id" bigint NOT NULL, "at" bigint NOT NULL, "visible_from" bigint)`,
    `CREATE INDEX "message_status_reach" ON "message_status" ("conversation_id", "user_id", "status", "through_position", "through_message_id")`,

    `CREATE TABLE "receipt_mirrors" ("id" bigserial PRIMARY KEY NOT NULL, "conversation_id" bigint NOT NULL, "status" smallint NOT NULL,
      "through_position" bigint NOT NULL, "through_message_id" bigint NOT NULL)`,

    `CREATE TABLE "events" ("id" bigserial PRIMARY KEY NOT NULL, "kind" text NOT NULL, "conversation_id" bigint, "user_id" bigint,
      "message_id" bigint, "subject_id" bigint, "at" bigint NOT NULL)`,
    `CREATE INDEX "events_conversation" ON "events" ("conversation_id", "id") WHERE "user_id" IS NULL`,
    `CREATE INDEX "events_user" ON "events" ("user_id", "id") WHERE "user_id" IS NOT NULL`,

    `CREATE TABLE "event_log" ("id" smallint PRIMARY KEY NOT NULL, "epoch" text NOT NULL, "forgotten_through" bigint NOT NULL DEFAULT 0,
      CONSTRAINT "event_log_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "event_log" ("id", "epoch") VALUES (1, substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))`,

    `CREATE TABLE "user_presence" ("user_id" bigint PRIMARY KEY NOT NULL, "status" text NOT NULL, "custom_status" text,
      "last_seen_at" bigint)`,

    `CREATE TABLE "changeover_state" ("id" smallint PRIMARY KEY NOT NULL, "stage" text NOT NULL, "backup" text,
      "adds_columns" boolean NOT NULL DEFAULT true,
      "fills_link" boolean NOT NULL DEFAULT true, "zone" text NOT NULL DEFAULT 'UTC', "zone_shifts" text NOT NULL DEFAULT '0',
      "low_id" bigint, "high_id" bigint, "done_above" bigint,
      "has_threads" boolean NOT NULL DEFAULT false, "rows_to_copy" bigint NOT NULL DEFAULT 0,
      "migrated" bigint NOT NULL DEFAULT 0, "quarantined" bigint NOT NULL DEFAULT 0, "rows_per_second" bigint NOT NULL DEFAULT 0, "applied" bigint NOT NULL DEFAULT 0, "started_at" bigint, "voided_at" bigint, "voided_by" text,
      "paused" boolean NOT NULL DEFAULT false, "rate_limit" bigint, "throttled_by" text, "lock_hold" bigint,
      "compared_through" bigint, "bypassed" bigint NOT NULL DEFAULT 0, "cutover_percent" smallint NOT NULL DEFAULT 0, "kept_since" bigint,
      "expanded_at" bigint, "retired_at" bigint, "sealed_at" bigint, "foreign_writes" bigint NOT NULL DEFAULT 0, "foreign_written_at" bigint,
      "shadow_sample" bigint NOT NULL DEFAULT 0, "shadow_compared" bigint NOT NULL DEFAULT 0, "shadow_mismatches" bigint NOT NULL DEFAULT 0,
      "shadow_noise" bigint NOT NULL DEFAULT 0, "shadow_undecided" bigint NOT NULL DEFAULT 0,
      "changed_at" bigint NOT NULL, CONSTRAINT "changeover_state_one_row" CHECK ("id" = 1))`,
    `INSERT INTO "changeover_state" ("id", "stage", "changed_at") VALUES (1, 'LEGACY', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)`,

    `CREATE TABLE "changeover_lease" ("name" text PRIMARY KEY NOT NULL, "holder" text NOT NULL, "expires_at" bigint NOT NULL)`,

    `CREATE TABLE "changeover_log" ("id" bigserial PRIMARY KEY NOT NULL, "at" bigint NOT NULL, "who" text NOT NULL, "did" text NOT NULL)`,

    `CREATE TABLE "cutover_users" ("user_id" bigint PRIMARY KEY NOT NULL, "since" bigint NOT NULL)`,

    `CREATE TABLE "shadow_differences" ("id" bigserial PRIMARY KEY NOT NULL, "operation" text NOT NULL, "user_id" bigint NOT NULL,
      "at" bigint NOT NULL, "times" bigint NOT NULL, "old_answer" text NOT NULL, "new_answer" text NOT NULL, "reason" text)`,
    `CREATE UNIQUE INDEX "shadow_differences_call" ON "shadow_differences" ("operation", "user_id")`,

    `CREATE TABLE "deprecated_usage" ("operation" text NOT NULL, "client" text NOT NULL, "calls" bigint NOT NULL,
      "last_called_at" bigint NOT NULL, PRIMARY KEY ("operation", "client"))`,

    `CREATE TABLE "operators" ("user_id" bigint PRIMARY KEY NOT NULL, "phone" text NOT NULL, "granted_at" bigint NOT NULL, "granted_by" text NOT NULL)`,

    `CREATE TABLE "changeover_queue" ("id" uuid PRIMARY KEY NOT NULL DEFAULT gen_random_uuid(), "source" text NOT NULL,
      "legacy_id" bigint, "queued_at" bigint NOT NULL, "phone" text)`,

    `CREATE TABLE "departed_accounts" ("user_id" bigint PRIMARY KEY NOT NULL, "phone" text, "departed_at" bigint NOT NULL)`,

    `CREATE TABLE "known_accounts" ("user_id" bigint PRIMARY KEY NOT NULL, "phone" text)`,

    `CREATE TABLE "changeover_places" ("legacy_id" bigint PRIMARY KEY NOT NULL, "position" bigint NOT NULL)`,

    `CREATE TABLE "changeover_quarantine" ("legacy_id" bigint PRIMARY KEY NOT NULL, "reason" text NOT NULL,
      "detail" text NOT NULL, "sender_id" text, "recipient_id" text, "group_id" text, "quarantined_at" bigint NOT NULL, "signed_off" text)`,
    `CREATE INDEX "changeover_quarantine_pair" ON "changeover_quarantine" ("sender_id", "recipient_id")`,
    `CREATE INDEX "changeover_quarantine_recipient" ON "changeover_quarantine" ("recipient_id")`,
    `CREATE INDEX "changeover_quarantine_group" ON "changeover_quarantine" ("group_id")`,

    `CREATE TABLE "changeover_certificates" ("id" bigserial PRIMARY KEY NOT NULL,
      "legacy_messages" bigint NOT NULL, "migrated_messages" bigint NOT NULL, "quarantined_messages" bigint NOT NULL,
      "mismatches" bigint NOT NULL, "pending" bigint NOT NULL, "low_id" bigint, "high_id" bigint, "versions" text NOT NULL, "sha256" text,
      "verified_at" bigint NOT NULL)`,

    `CREATE TABLE "changeover_mismatches" ("certificate_id" bigint NOT NULL, "legacy_id" bigint NOT NULL,
      "kind" text NOT NULL, "detail" text NOT NULL, PRIMARY KEY ("certificate_id", "legacy_id", "kind"))`,

    `CREATE TABLE "changeover_repairs" ("id" bigserial PRIMARY KEY NOT NULL, "legacy_id" bigint NOT NULL, "kind" text NOT NULL,
      "did" text NOT NULL, "repaired_at" bigint NOT NULL)`,

    `CREATE TABLE "sign_in_phones" ("phone" text PRIMARY KEY NOT NULL, "touched_at" bigint NOT NULL)`,

    `CREATE TABLE "sign_in_codes" ("id" bigserial PRIMARY KEY NOT NULL, "phone" text NOT NULL, "code_hash" text NOT NULL,
      "legacy_key" text, "issued_at" bigint NOT NULL, "expires_at" bigint NOT NULL, "tries" smallint NOT NULL DEFAULT 0, "used_at" bigint)`,
    `CREATE INDEX "sign_in_codes_phone" ON "sign_in_codes" ("phone", "id")`,
    `CREATE INDEX "sign_in_codes_expiry" ON "sign_in_codes" ("expires_at")`,
    `CREATE UNIQUE INDEX "sign_in_codes_legacy" ON "sign_in_codes" ("legacy_key") WHERE "legacy_key" IS NOT NULL`,

    `CREATE TABLE "sign_in_sessions" ("id" text PRIMARY KEY NOT NULL, "user_id" bigint NOT NULL, "phone" text NOT NULL, "device_id" bigint,
      "refresh_hash" text NOT NULL, "previous_hash" text, "rotated_at" bigint NOT NULL, "expires_at" bigint NOT NULL)`,
    `CREATE INDEX "sign_in_sessions_user" ON "sign_in_sessions" ("user_id")`,
    `CREATE INDEX "sign_in_sessions_expiry" ON "sign_in_sessions" ("expires_at")`,
  ],
};

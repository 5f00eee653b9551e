import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';
import { generatedKey } from '../database/generated-key.js';

/** Where the changeover stands: one row, changed by compare-and-set on `stage`. */
export function stateEntity({ types }: Dialect): EntitySchema {
  const count = { type: types.id, default: 0 } as const;
  return new EntitySchema({
    name: 'ChangeoverState',
    tableName: 'changeover_state',
    columns: {
      id: { type: types.small, primary: true },
      stage: { type: 'text' },
      // What the operator would restore, or that he said he needs nothing.
      backup: { type: 'text', nullable: true },
      // Whether the batches fill messages.conversation_id: not where an old trigger would fire on it.
      fillsLink: { name: 'fills_link', type: types.flag, default: true },
      // Rows from `low` to `high` are to be copied; those above `done_above` are. Null: not begun.
      lowId: { name: 'low_id', type: types.id, nullable: true },
      highId: { name: 'high_id', type: types.id, nullable: true },
      doneAbove: { name: 'done_above', type: types.id, nullable: true },
      hasThreads: { name: 'has_threads', type: types.flag, default: false },
      rowsToCopy: { ...count, name: 'rows_to_copy' },
      migrated: count,
      quarantined: count,
      // Of the last batch; for whoever asks from another process.
      rowsPerSecond: { ...count, name: 'rows_per_second' },
      // Old times later than this are in the future, however often the backfill is resumed.
      startedAt: { name: 'started_at', type: types.instant, nullable: true },
      changedAt: { name: 'changed_at', type: types.instant },
    },
    checks: [{ name: 'changeover_state_one_row', expression: '"id" = 1' }],
  });
}

/** Who may run the changeover at the moment: holder, and when his claim runs out by itself. */
export function leaseEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ChangeoverLease',
    tableName: 'changeover_lease',
    columns: {
      name: { type: 'text', primary: true },
      holder: { type: 'text' },
      expiresAt: { name: 'expires_at', type: types.instant },
    },
  });
}

/**
 * Old rows that somebody touched: an entry says "this row is dirty" and nothing more. Without a sequence on
 * PostgreSQL, since the old app may read lastval() after its own INSERT.
 */
export function queueEntity({ engine, types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ChangeoverQueueEntry',
    tableName: 'changeover_queue',
    columns: {
      id:
        engine === 'sqlite'
          ? { type: 'integer', primary: true, generated: 'increment' }
          : { type: 'uuid', primary: true, generated: 'uuid' },
      source: { type: 'text' },
      // Null: all of the table, as TRUNCATE leaves it.
      legacyId: { name: 'legacy_id', type: types.id, nullable: true },
      queuedAt: { name: 'queued_at', type: types.instant },
    },
  });
}

/** Old rows that could not be moved, with the reason; old clients go on being answered with them. */
export function quarantineEntity({ types }: Dialect): EntitySchema {
  const text = { type: 'text', nullable: true } as const;
  return new EntitySchema({
    name: 'ChangeoverQuarantine',
    tableName: 'changeover_quarantine',
    columns: {
      legacyId: { name: 'legacy_id', type: types.id, primary: true },
      reason: { type: 'text' },
      detail: { type: 'text' },
      // By what the old queries look for a row, in the old column's own text.
      senderId: { ...text, name: 'sender_id' },
      recipientId: { ...text, name: 'recipient_id' },
      groupId: { ...text, name: 'group_id' },
      quarantinedAt: { name: 'quarantined_at', type: types.instant },
    },
    indices: [
      { name: 'changeover_quarantine_pair', columns: ['senderId', 'recipientId'] },
      { name: 'changeover_quarantine_recipient', columns: ['recipientId'] },
      { name: 'changeover_quarantine_group', columns: ['groupId'] },
    ],
  });
}

/** What each comparison of both sides found, counts and range. */
export function certificateEntity({ types }: Dialect): EntitySchema {
  const count = { type: types.id } as const;
  return new EntitySchema({
    name: 'ChangeoverCertificate',
    tableName: 'changeover_certificates',
    columns: {
      id: generatedKey(types),
      legacyMessages: { ...count, name: 'legacy_messages' },
      migratedMessages: { ...count, name: 'migrated_messages' },
      quarantinedMessages: { ...count, name: 'quarantined_messages' },
      mismatches: count,
      lowId: { name: 'low_id', type: types.id, nullable: true },
      highId: { name: 'high_id', type: types.id, nullable: true },
      versions: { type: 'text' },
      verifiedAt: { name: 'verified_at', type: types.instant },
    },
  });
}

/** The rows in which both sides differ, of one comparison. */
export function mismatchEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ChangeoverMismatch',
    tableName: 'changeover_mismatches',
    columns: {
      certificateId: { name: 'certificate_id', type: types.id, primary: true },
      legacyId: { name: 'legacy_id', type: types.id, primary: true },
      kind: { type: 'text', primary: true },
      detail: { type: 'text' },
    },
  });
}

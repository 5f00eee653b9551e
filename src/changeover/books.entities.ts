import { EntitySchema } from 'typeorm';
import { UTC, writeShifts } from '../config/zone.js';
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
      // Whether expand added its three columns to the old tables: `--without-columns` leaves them out.
      addsColumns: { name: 'adds_columns', type: types.flag, default: true },
      // Whether the batches fill messages.conversation_id: not where an old trigger would fire on it.
      fillsLink: { name: 'fills_link', type: types.flag, default: true },
      // The zone that old times are in, by name and as `writeShifts` writes it: settled by expand, and meaning nothing
      // at LEGACY. A later version of Node may know other shifts; the copies are compared with what they were made by.
      zone: { type: 'text', default: UTC.name },
      zoneShifts: { name: 'zone_shifts', type: 'text', default: writeShifts(UTC.shifts) },
      // Rows from `low` to `high` are to be copied; those above `done_above` are. Null: not begun. While a rollback
      // is under way (stage LEGACY): their conversation_id is to be emptied; above `done_above` it is.
      lowId: { name: 'low_id', type: types.id, nullable: true },
      highId: { name: 'high_id', type: types.id, nullable: true },
      doneAbove: { name: 'done_above', type: types.id, nullable: true },
      hasThreads: { name: 'has_threads', type: types.flag, default: false },
      rowsToCopy: { ...count, name: 'rows_to_copy' },
      migrated: count,
      quarantined: count,
      // Of the last batch; for whoever asks from another process.
      rowsPerSecond: { ...count, name: 'rows_per_second' },
      // Entries of the queue that were applied: rows changed under the copy's hands.
      applied: count,
      // Old times later than this are in the future, however often the backfill is resumed.
      startedAt: { name: 'started_at', type: types.instant, nullable: true },
      // When something was found to have passed capture by, and what: certificates from before say nothing any more.
      voidedAt: { name: 'voided_at', type: types.instant, nullable: true },
      voidedBy: { name: 'voided_by', type: 'text', nullable: true },
      // What an operator wishes of the copy: to rest, and no more rows a second than this.
      paused: { type: types.flag, default: false },
      rateLimit: { name: 'rate_limit', type: types.id, nullable: true },
      // What it rests longer for, and for how many microseconds its last batch held its locks.
      throttledBy: { name: 'throttled_by', type: 'text', nullable: true },
      lockHold: { name: 'lock_hold', type: types.id, nullable: true },
      // How far the rolling compare has come, and how many rows it found that had passed capture by.
      comparedThrough: { name: 'compared_through', type: types.id, nullable: true },
      bypassed: count,
      // Of the people who ask by the old API, how many percent are answered from the new side.
      cutoverPercent: { name: 'cutover_percent', type: types.small, default: 0 },
      // When a rollback laid the new side aside, which has things that the old table has no column for. Null: it took the
      // copies away, or there was none.
      keptSince: { name: 'kept_since', type: types.instant, nullable: true },
      // When it was expanded: from then on it is counted who writes to the old table, and who calls what is deprecated.
      expandedAt: { name: 'expanded_at', type: types.instant, nullable: true },
      // When the contract step gave the old table another name, for as long as it is still there.
      retiredAt: { name: 'retired_at', type: types.instant, nullable: true },
      // From when on nothing is written to it any more, since it is about to be dropped: there is no way back from here.
      sealedAt: { name: 'sealed_at', type: types.instant, nullable: true },
      // Writes of others to the old messages that were captured, and when the last one was.
      foreignWrites: { ...count, name: 'foreign_writes' },
      foreignWrittenAt: { name: 'foreign_written_at', type: types.instant, nullable: true },
      // Of the old calls, how many hundredths of a percent are compared with the other side; and what came of it: those that
      // differed, those in which the old side differed from itself, and those for which apply was behind all the time.
      shadowSample: { ...count, name: 'shadow_sample' },
      shadowCompared: { ...count, name: 'shadow_compared' },
      shadowMismatches: { ...count, name: 'shadow_mismatches' },
      shadowNoise: { ...count, name: 'shadow_noise' },
      shadowUndecided: { ...count, name: 'shadow_undecided' },
      changedAt: { name: 'changed_at', type: types.instant },
    },
    checks: [{ name: 'changeover_state_one_row', expression: '"id" = 1' }],
  });
}

/** What operators had the changeover do, and when. */
export function logEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ChangeoverLogEntry',
    tableName: 'changeover_log',
    columns: {
      id: generatedKey(types),
      at: { type: types.instant },
      who: { type: 'text' },
      did: { type: 'text' },
    },
  });
}

/** People who are answered from the new side, whatever the percentage. */
export function cutoverUserEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'CutoverUser',
    tableName: 'cutover_users',
    columns: {
      userId: { name: 'user_id', type: types.id, primary: true },
      since: { type: types.instant },
    },
  });
}

/** Old calls that both sides answer differently: the last time of each, with both answers. */
export function shadowDifferenceEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ShadowDifference',
    tableName: 'shadow_differences',
    columns: {
      id: generatedKey(types),
      operation: { type: 'text' },
      userId: { name: 'user_id', type: types.id },
      at: { type: types.instant },
      times: { type: types.id },
      oldAnswer: { name: 'old_answer', type: 'text' },
      newAnswer: { name: 'new_answer', type: 'text' },
      // Why an operator says that it is right so; null: nobody has.
      reason: { type: 'text', nullable: true },
    },
    indices: [{ name: 'shadow_differences_call', columns: ['operation', 'userId'], unique: true }],
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
      // Of an account that was deleted, or got another id.
      phone: { type: 'text', nullable: true },
    },
  });
}

/**
 * Accounts that the old app has deleted, with the number of whose they were: who has their ids by now is somebody else,
 * unless the number is the same. Outlives a rollback.
 */
export function departedAccountEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'DepartedAccount',
    tableName: 'departed_accounts',
    columns: {
      userId: { name: 'user_id', type: types.id, primary: true },
      phone: { type: 'text', nullable: true },
      departedAt: { name: 'departed_at', type: types.instant },
    },
  });
}

/**
 * Whose the accounts were when a rollback laid the new side aside and capture went off: who has an id with another number
 * when it goes forward again is somebody else. Empty at all other times.
 */
export function knownAccountEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'KnownAccount',
    tableName: 'known_accounts',
    columns: {
      userId: { name: 'user_id', type: types.id, primary: true },
      phone: { type: 'text', nullable: true },
    },
  });
}

/** Where old rows without a usable time go: the position of the row before them by id. Empty once all rows are copied. */
export function placeEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ChangeoverPlace',
    tableName: 'changeover_places',
    columns: {
      legacyId: { name: 'legacy_id', type: types.id, primary: true },
      position: { type: types.instant },
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
      // Why an operator says that it may be left behind with the old table; null: nobody has.
      signedOff: { name: 'signed_off', type: 'text', nullable: true },
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
      // Rows that the counts leave out: the old app wrote them again at that moment.
      pending: count,
      lowId: { name: 'low_id', type: types.id, nullable: true },
      highId: { name: 'high_id', type: types.id, nullable: true },
      versions: { type: 'text' },
      // Of all old rows in their canonical form, by id; only where it was asked for.
      sha256: { type: 'text', nullable: true },
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

/** What `verify --repair` did, row by row. */
export function repairEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'ChangeoverRepair',
    tableName: 'changeover_repairs',
    columns: {
      id: generatedKey(types),
      legacyId: { name: 'legacy_id', type: types.id },
      kind: { type: 'text' },
      did: { type: 'text' },
      repairedAt: { name: 'repaired_at', type: types.instant },
    },
  });
}

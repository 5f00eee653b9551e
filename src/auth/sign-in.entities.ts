import { EntitySchema } from 'typeorm';
import type { Dialect } from '../database/dialect.js';
import { generatedKey } from '../database/generated-key.js';

/** A phone number that somebody signs in with: its row is the lock under which its codes and tries are counted. */
export function signInPhoneEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'SignInPhone',
    tableName: 'sign_in_phones',
    columns: {
      phone: { type: 'text', primary: true },
      touchedAt: { name: 'touched_at', type: types.instant },
    },
  });
}

/** Sign-in codes: ours, and what is known of those that the old app issued and somebody tried. */
export function signInCodeEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'SignInCode',
    tableName: 'sign_in_codes',
    columns: {
      id: generatedKey(types),
      phone: { type: 'text' },
      codeHash: { name: 'code_hash', type: 'text' },
      // Of an old code: its row and its digits, hashed. By both, since an id may be given out again.
      legacyKey: { name: 'legacy_key', type: 'text', nullable: true },
      issuedAt: { name: 'issued_at', type: types.instant },
      expiresAt: { name: 'expires_at', type: types.instant },
      tries: { type: types.small, default: 0 },
      usedAt: { name: 'used_at', type: types.instant, nullable: true },
    },
    indices: [
      { name: 'sign_in_codes_phone', columns: ['phone', 'id'] },
      { name: 'sign_in_codes_expiry', columns: ['expiresAt'] },
      {
        name: 'sign_in_codes_legacy',
        columns: ['legacyKey'],
        unique: true,
        where: '"legacy_key" IS NOT NULL',
      },
    ],
  });
}

/** Who is signed in, and where. A session that was signed out or revoked has no row. */
export function signInSessionEntity({ types }: Dialect): EntitySchema {
  return new EntitySchema({
    name: 'SignInSession',
    tableName: 'sign_in_sessions',
    columns: {
      // The hash of the first half of its refresh tokens, which stays the same as they are rotated.
      id: { type: 'text', primary: true },
      userId: { name: 'user_id', type: types.id },
      // The number signed in with: an id that was given out again, or a number that changed hands, opens nothing.
      phone: { type: 'text' },
      // The row of the old table of devices.
      deviceId: { name: 'device_id', type: types.id, nullable: true },
      refreshHash: { name: 'refresh_hash', type: 'text' },
      previousHash: { name: 'previous_hash', type: 'text', nullable: true },
      // When `previous` was replaced.
      rotatedAt: { name: 'rotated_at', type: types.instant },
      expiresAt: { name: 'expires_at', type: types.instant },
    },
    indices: [
      { name: 'sign_in_sessions_user', columns: ['userId'] },
      { name: 'sign_in_sessions_expiry', columns: ['expiresAt'] },
    ],
  });
}

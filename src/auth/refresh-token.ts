import { createHash, randomBytes } from 'node:crypto';

/**
 * A refresh token is two random texts, `FAMILY.SECRET`. The family stays the same as tokens are rotated and only ever
 * stands in refresh tokens: whoever shows it with another secret than the last one has an old token. So that none of the
 * old ones has to be kept.
 */
export interface RefreshToken {
  readonly token: string;
  /** The family's hash: known to the database, and to access tokens as `sid`. */
  readonly sessionId: string;
  /** The whole token's hash. */
  readonly hash: string;
}

export function newFamily(): RefreshToken {
  return withSecret(randomBytes(18).toString('base64url'));
}

/** The next token of the same family. */
export function rotated({ token }: RefreshToken): RefreshToken {
  return withSecret(familyOf(token));
}

export function readRefreshToken(token: string): RefreshToken {
  return { token, sessionId: hashOf(familyOf(token)), hash: hashOf(token) };
}

function withSecret(family: string): RefreshToken {
  return readRefreshToken(`${family}.${randomBytes(32).toString('base64url')}`);
}

function familyOf(token: string): string {
  return token.split('.', 1)[0] ?? '';
}

/** Plain SHA-256: what is hashed is random, and too long to be guessed. */
function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

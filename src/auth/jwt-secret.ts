import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config } from '../config/config.js';
import { SegueError } from '../errors/segue-error.js';

/**
 * The secret that signs our tokens: JWT_SECRET, or outside of production one that is made once and kept beside the
 * data with mode 0600, so that server and command line have the same.
 * @throws SegueError BAD_CONFIG in production without JWT_SECRET.
 */
export function getJwtSecret({ jwtSecret, production, database }: Config): string {
  if (jwtSecret !== undefined) return jwtSecret;
  if (production)
    throw new SegueError(
      'BAD_CONFIG',
      'JWT_SECRET is not set: in production it takes a text of at least 32 bytes that all processes share.',
    );
  const path = database.engine === 'sqlite' ? `${database.path}.jwt-secret` : 'data/jwt-secret';
  return findSecret(path) ?? makeSecret(path);
}

function findSecret(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Written aside and linked into place: of two processes that start together, both end up with the same one. */
function makeSecret(path: string): string {
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, randomBytes(48).toString('base64url'), { mode: 0o600 });
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
  return readFileSync(path, 'utf8').trim();
}

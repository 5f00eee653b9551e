import { Injectable } from '@nestjs/common';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { SegueError } from '../errors/segue-error.js';
import type { Account, UsersService } from '../users/users.service.js';
import type { SessionsService } from './sessions.service.js';
import type { Viewer } from './viewer.js';

const ISSUER = 'segue';

/** How long a token that `segue token` prints is good for, in hours. */
const TOKEN_HOURS = 12;

/** Tokens that are remembered, of a few hundred bytes each. */
const MOST_KNOWN = 10_000;

/** How long an access token of a session is good for, in seconds. */
export const ACCESS_SECONDS = 900;

export interface Secrets {
  readonly own: string;
  /** The old app's: undefined when its tokens are not accepted. */
  readonly legacy: string | undefined;
}

/** A token without a session, for tests, scripts and GraphiQL. */
export function issueToken(account: Account, secret: string): Promise<string> {
  return sign(Buffer.from(secret), account, {}, `${TOKEN_HOURS}h`);
}

/** Issues our bearer tokens and checks both kinds: ours, and those that the old app issued. */
@Injectable()
export class TokensService {
  private readonly own: Uint8Array;
  private readonly legacy: Uint8Array | undefined;
  /** Tokens whose signature was found good, with what they say; the ones that were asked for last. */
  private readonly known = new Map<string, SignedClaims>();

  constructor(
    private readonly users: UsersService,
    private readonly sessions: SessionsService,
    secrets: Secrets,
  ) {
    this.own = Buffer.from(secrets.own);
    this.legacy = secrets.legacy === undefined ? undefined : Buffer.from(secrets.legacy);
  }

  /** An access token of a session: good for 15 minutes, and for no longer than the session. */
  issueFor(account: Account, sessionId: string): Promise<string> {
    return sign(this.own, account, { sid: sessionId }, `${ACCESS_SECONDS}s`);
  }

  /**
   * The account that a token stands for. Every token needs an expiry and the account's present phone number: an id
   * that was given out again, or a number that went to somebody else, opens nothing.
   * @throws SegueError UNAUTHENTICATED.
   */
  async check(token: string): Promise<Viewer> {
    const { claims, runsOutAt } = await this.claimsOf(token);
    if (runsOutAt * 1_000 <= Date.now()) throw invalid();
    return { ...claims, ...(await this.checkViewer(claims)) };
  }

  /**
   * Checks that a person may go on: for what outlives the token that it began with, as a WebSocket. A session may go on
   * for as long as nobody ends it; a token without one until it runs out.
   * @throws SegueError UNAUTHENTICATED.
   */
  async checkViewer({ id, phone, sessionId, expiresAt }: Viewer): Promise<Account> {
    if (expiresAt !== null && expiresAt * 1_000 <= Date.now())
      throw new SegueError('UNAUTHENTICATED', 'The token has run out: sign in again.');
    const account = await this.users.find(id);
    if (account?.phone !== phone)
      throw new SegueError(
        'UNAUTHENTICATED',
        'The token is for an account that is gone or has another phone number now: sign in again.',
      );
    if (sessionId !== null && !(await this.sessions.isOpen(sessionId, id)))
      throw new SegueError('UNAUTHENTICATED', 'You were signed out: sign in again.');
    return account;
  }

  /** A signature that was good once stays good: only that is remembered, and not whether the token still holds. */
  private async claimsOf(token: string): Promise<SignedClaims> {
    const known = this.known.get(token);
    if (known !== undefined) {
      this.known.delete(token);
      this.known.set(token, known);
      return known;
    }
    const read = await this.readClaims(token);
    this.known.set(token, read);
    const [oldest] = this.known.keys();
    if (this.known.size > MOST_KNOWN && oldest !== undefined) this.known.delete(oldest);
    return read;
  }

  private async readClaims(token: string): Promise<SignedClaims> {
    const own = await verified(token, this.own, ISSUER);
    if (typeof own?.sub === 'string' && typeof own.phone === 'string') {
      const sessionId = typeof own.sid === 'string' ? own.sid : null;
      const runsOutAt = own.exp ?? 0;
      const expiresAt = sessionId === null ? runsOutAt : null;
      const id = own.sub.replace(/^usr_/, '');
      return { claims: { id, phone: own.phone, sessionId, expiresAt }, runsOutAt };
    }
    const old = this.legacy === undefined ? null : await verified(token, this.legacy);
    if (old !== null && isId(old.id) && typeof old.phone === 'string') {
      const expiresAt = old.exp ?? 0;
      return {
        claims: { id: String(old.id), phone: old.phone, sessionId: null, expiresAt },
        runsOutAt: expiresAt,
      };
    }
    throw invalid();
  }
}

/** What a token says, and when it runs out, in seconds since 1970. */
interface SignedClaims {
  readonly claims: Viewer;
  readonly runsOutAt: number;
}

function invalid(): SegueError {
  return new SegueError(
    'UNAUTHENTICATED',
    'The token is not valid, or has run out: sign in again. It takes HS256, an expiry, the user and his phone number.',
  );
}

function sign(
  secret: Uint8Array,
  account: Account,
  claims: JWTPayload,
  expires: string,
): Promise<string> {
  return new SignJWT({ ...claims, phone: account.phone })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer(ISSUER)
    .setSubject(`usr_${account.id}`)
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(secret);
}

function isId(value: unknown): value is string | number {
  return typeof value === 'string' || Number.isSafeInteger(value);
}

/** The claims of a token that this secret signed and that has not run out; null for any other. */
async function verified(
  token: string,
  secret: Uint8Array,
  issuer?: string,
): Promise<JWTPayload | null> {
  try {
    const { payload } = await jwtVerify(token, secret, {
      algorithms: ['HS256'],
      requiredClaims: ['exp'],
      ...(issuer === undefined ? {} : { issuer }),
    });
    return payload;
  } catch (error) {
    if (error instanceof errors.JOSEError) return null;
    throw error;
  }
}

import { Injectable } from '@nestjs/common';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { SegueError } from '../errors/segue-error.js';
import type { Account, UsersService } from '../users/users.service.js';

const ISSUER = 'segue';

/** How long a token that `segue token` prints is good for, in hours. */
const TOKEN_HOURS = 12;

export interface Secrets {
  readonly own: string;
  /** The old app's: undefined when its tokens are not accepted. */
  readonly legacy: string | undefined;
}

/** Issues our bearer tokens and checks both kinds: ours, and those that the old app issued. */
@Injectable()
export class TokensService {
  private readonly own: Uint8Array;
  private readonly legacy: Uint8Array | undefined;

  constructor(
    private readonly users: UsersService,
    secrets: Secrets,
  ) {
    this.own = Buffer.from(secrets.own);
    this.legacy = secrets.legacy === undefined ? undefined : Buffer.from(secrets.legacy);
  }

  issue(account: Account): Promise<string> {
    return new SignJWT({ phone: account.phone })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer(ISSUER)
      .setSubject(`usr_${account.id}`)
      .setIssuedAt()
      .setExpirationTime(`${TOKEN_HOURS}h`)
      .sign(this.own);
  }

  /**
   * The account that a token stands for. Every token needs an expiry and the account's present phone number: an id
   * that was given out again, or a number that went to somebody else, opens nothing.
   * @throws SegueError UNAUTHENTICATED.
   */
  async check(token: string): Promise<Account> {
    const claims = await this.claimsOf(token);
    const account = await this.users.find(claims.id);
    if (account?.phone !== claims.phone)
      throw new SegueError(
        'UNAUTHENTICATED',
        'The token is for an account that is gone or has another phone number now: sign in again.',
      );
    return account;
  }

  private async claimsOf(token: string): Promise<{ id: string; phone: string }> {
    const own = await verified(token, this.own, ISSUER);
    if (typeof own?.sub === 'string' && typeof own.phone === 'string')
      return { id: own.sub.replace(/^usr_/, ''), phone: own.phone };
    const old = this.legacy === undefined ? null : await verified(token, this.legacy);
    if (old !== null && isId(old.id) && typeof old.phone === 'string')
      return { id: String(old.id), phone: old.phone };
    throw new SegueError(
      'UNAUTHENTICATED',
      'The token is not valid, or has run out: sign in again. It takes HS256, an expiry, the user and his phone number.',
    );
  }
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

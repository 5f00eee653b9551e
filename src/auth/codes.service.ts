import { createHmac, randomInt } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Database, Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import { instantToDate } from '../graphql/scalars.js';
import type { IssuedCode } from './code-sender.js';
import type { OldCode } from './old-codes.js';

/** How long a code is good for, in seconds. */
const CODE_SECONDS = 600;

/** How often a code may be tried. */
const MOST_TRIES = 5;

/** How many codes a phone number gets in an hour. */
const MOST_CODES = 5;
const HOUR_SECONDS = 3_600;

/** When a client may offer to send another one, in seconds. */
const RESEND_SECONDS = 60;

/** Codes, and numbers that nobody signs in with any more, are kept for a day, and swept with new ones. */
const KEPT_SECONDS = 86_400;
const SWEPT = 100;

export interface CodeRules {
  /** Keys the hashes: six digits alone would be found from a plain hash in no time. */
  readonly secret: string;
  readonly isLimited: boolean;
}

/** A code that is written down and still has to be sent. */
export interface ReservedCode extends IssuedCode {
  readonly id: string;
  readonly resendAfter: Date;
}

interface OpenCode {
  readonly id: string;
  readonly codeHash: string;
  readonly isSpent: boolean | number;
}

/**
 * Issues sign-in codes, and counts their tries. All that concerns a phone number happens under the lock of its row in
 * `sign_in_phones`, so that no two requests count the same.
 */
@Injectable()
export class CodesService {
  constructor(
    private readonly database: Database,
    private readonly rules: CodeRules,
  ) {}

  /**
   * Writes a new code down, which replaces the one before it.
   * @throws SegueError RATE_LIMITED saying when there is another one.
   */
  reserve(phone: string): Promise<ReservedCode> {
    return this.database.transaction(async (transaction) => {
      await this.lock(transaction, phone);
      await this.sweep(transaction);
      const nextAt = await this.whenNext(transaction, phone);
      if (nextAt !== null && this.rules.isLimited)
        throw new SegueError(
          'RATE_LIMITED',
          `${phone} was sent ${MOST_CODES} codes within an hour: ask for the next one after ${nextAt.toISOString()}.`,
        );
      return this.write(transaction, phone);
    });
  }

  /** Takes back a code that could not be sent: it does not count, and the one before it is good again. */
  async takeBack({ id }: ReservedCode): Promise<void> {
    await this.database.transaction((transaction) =>
      transaction.run('DELETE FROM sign_in_codes WHERE id = CAST(:id AS bigint)', { id }),
    );
  }

  /** Keeps everybody else from this number's codes until the transaction ends. */
  async lock(transaction: Queryable, phone: string): Promise<void> {
    const { now } = this.database.dialect;
    await transaction.run(
      `INSERT INTO sign_in_phones (phone, touched_at) VALUES (:phone, ${now})
       ON CONFLICT (phone) DO UPDATE SET touched_at = ${now}`,
      { phone },
    );
  }

  /**
   * Counts a try on each open code of the number, and uses up the one that is right; whether there was one. Behind
   * `lock`. Open are the last code of ours and the old app's, unless they are used or were tried too often.
   */
  async use(
    transaction: Queryable,
    phone: string,
    code: string,
    oldCodes: readonly OldCode[],
  ): Promise<boolean> {
    const { now } = this.database.dialect;
    for (const old of oldCodes) await this.adopt(transaction, phone, old);
    const open = (await this.findOpen(transaction, phone, oldCodes)).filter(
      ({ isSpent }) => !(isSpent && this.rules.isLimited),
    );
    await transaction.run(
      `UPDATE sign_in_codes SET tries = tries + 1
       WHERE tries < ${MOST_TRIES} AND id IN (${this.database.dialect.idsIn('ids')})`,
      { ids: JSON.stringify(open.map(({ id }) => id)) },
    );
    const right = open.find(({ codeHash }) => codeHash === this.hashOf(phone, code));
    if (right === undefined) return false;
    await transaction.run(
      `UPDATE sign_in_codes SET used_at = ${now} WHERE id = CAST(:id AS bigint)`,
      { id: right.id },
    );
    return true;
  }

  private async write(transaction: Queryable, phone: string): Promise<ReservedCode> {
    const { now } = this.database.dialect;
    const code = String(randomInt(1_000_000)).padStart(6, '0');
    await transaction.run(
      `INSERT INTO sign_in_codes (phone, code_hash, issued_at, expires_at)
       VALUES (:phone, :hash, ${now}, ${now} + ${CODE_SECONDS}000000)`,
      { phone, hash: this.hashOf(phone, code) },
    );
    const [row] = await transaction.all<Record<'id' | 'issuedAt' | 'expiresAt', string>>(
      `SELECT CAST(id AS text) AS id, CAST(issued_at AS text) AS "issuedAt", CAST(expires_at AS text) AS "expiresAt"
       FROM sign_in_codes WHERE phone = :phone AND legacy_key IS NULL ORDER BY sign_in_codes.id DESC LIMIT 1`,
      { phone },
    );
    if (row === undefined) throw new Error('The code just written cannot be read back');
    const soon = new Date(instantToDate(row.issuedAt).getTime() + RESEND_SECONDS * 1_000);
    const nextAt = this.rules.isLimited ? await this.whenNext(transaction, phone) : null;
    const resendAfter = nextAt === null || nextAt < soon ? soon : nextAt;
    return { id: row.id, phone, code, expiresAt: instantToDate(row.expiresAt), resendAfter };
  }

  /** When the number gets another code; null: at once. */
  private async whenNext(transaction: Queryable, phone: string): Promise<Date | null> {
    const { now } = this.database.dialect;
    const [fifth] = await transaction.all<{ issuedAt: string }>(
      `SELECT CAST(issued_at AS text) AS "issuedAt" FROM sign_in_codes
       WHERE phone = :phone AND legacy_key IS NULL AND issued_at > ${now} - ${HOUR_SECONDS}000000
       ORDER BY id DESC LIMIT 1 OFFSET ${MOST_CODES - 1}`,
      { phone },
    );
    if (fifth === undefined) return null;
    return new Date(instantToDate(fifth.issuedAt).getTime() + HOUR_SECONDS * 1_000);
  }

  /** Gives a code of the old app's a row of ours, where its tries are counted and its use is remembered. */
  private async adopt(transaction: Queryable, phone: string, old: OldCode): Promise<void> {
    await transaction.run(
      `INSERT INTO sign_in_codes (phone, code_hash, legacy_key, issued_at, expires_at)
       VALUES (:phone, :hash, :key, ${this.database.dialect.now}, CAST(:expiresAt AS bigint))
       ON CONFLICT (legacy_key) WHERE legacy_key IS NOT NULL DO NOTHING`,
      {
        phone,
        hash: this.hashOf(phone, old.code),
        key: this.keyOf(old),
        expiresAt: old.expiresAt,
      },
    );
  }

  private findOpen(
    transaction: Queryable,
    phone: string,
    oldCodes: readonly OldCode[],
  ): Promise<OpenCode[]> {
    const { dialect } = this.database;
    return transaction.all<OpenCode>(
      `SELECT CAST(id AS text) AS id, code_hash AS "codeHash", tries >= ${MOST_TRIES} AS "isSpent" FROM sign_in_codes
       WHERE phone = :phone AND used_at IS NULL AND expires_at > ${dialect.now}
         AND (legacy_key IN (${dialect.textsIn('keys')})
           OR id = (SELECT max(id) FROM sign_in_codes WHERE phone = :phone AND legacy_key IS NULL))`,
      { phone, keys: JSON.stringify(oldCodes.map((old) => this.keyOf(old))) },
    );
  }

  private async sweep(transaction: Queryable): Promise<void> {
    const { dialect } = this.database;
    const before = `${dialect.now} - ${KEPT_SECONDS}000000`;
    for (const [table, key, time] of [
      ['sign_in_codes', 'id', 'expires_at'],
      ['sign_in_phones', 'phone', 'touched_at'],
    ] as const) {
      const dead = dialect.unlocked(
        `SELECT ${key} FROM ${table} WHERE ${time} < ${before} LIMIT ${SWEPT}`,
      );
      await transaction.run(`DELETE FROM ${table} WHERE ${key} IN (${dead})`);
    }
  }

  private hashOf(phone: string, code: string): string {
    return this.hmac(`code ${phone} ${code}`);
  }

  private keyOf({ id, code }: OldCode): string {
    return this.hmac(`old code ${id} ${code}`);
  }

  private hmac(text: string): string {
    return createHmac('sha256', this.rules.secret).update(text).digest('base64url');
  }
}

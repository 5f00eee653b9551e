import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database, Queryable } from '../database/database.js';
import { quoted } from '../database/old-table.js';

/** The most codes of one person that are looked at, newest first. */
const MOST = 10;

/** A code that the old app issued and that has not run out. */
export interface OldCode {
  readonly id: string;
  readonly code: string;
  readonly expiresAt: string;
}

/** Reads the codes that the old app issued. Its table is never written to. */
export class OldCodes {
  private readonly select: string;

  constructor({ dialect }: Database, mapping: LegacyMapping) {
    const { id, userId, code, expiresAt } = quoted(dialect, mapping.verificationCodes.columns);
    const expiry = dialect.instantOf(expiresAt);
    // One without an expiry is not taken: it would be good for ever.
    const table = dialect.name(mapping.verificationCodes.table);
    this.select = `SELECT CAST(${id} AS text) AS id, CAST(${code} AS text) AS code, CAST(${expiry} AS text) AS "expiresAt"
      FROM ${table}
      WHERE ${userId} = CAST(:userId AS bigint) AND ${expiry} > ${dialect.now} ORDER BY ${table}.${id} DESC LIMIT ${MOST}`;
  }

  async of(queryable: Queryable, userId: string): Promise<OldCode[]> {
    const codes = await queryable.all<OldCode>(this.select, { userId });
    return codes
      .map((found) => ({ ...found, code: found.code.trim() }))
      .filter(({ code }) => code !== '');
  }
}

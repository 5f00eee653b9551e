import { Injectable } from '@nestjs/common';
import DataLoader from 'dataloader';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database, Queryable } from '../database/database.js';
import { isDatabaseId } from '../database/ids.js';
import { quoted } from '../database/old-table.js';
import { SegueError } from '../errors/segue-error.js';
import type { PhoneNumber, PhoneNumbers } from './phone-numbers.js';

/** A person, as far as signing in needs him. The id is text all the way from the database. */
export interface Account {
  readonly id: string;
  readonly phone: string;
}

/** Finds people in the old table of users. */
@Injectable()
export class UsersService {
  private readonly table: string;
  private readonly columns: Record<keyof LegacyMapping['users']['columns'], string>;
  private readonly select: string;
  private readonly asked = new DataLoader((ids: readonly string[]) => this.findAll(ids), {
    cache: false,
  });

  constructor(
    private readonly database: Database,
    mapping: LegacyMapping,
    private readonly phones: PhoneNumbers,
  ) {
    this.table = database.dialect.name(mapping.users.table);
    this.columns = quoted(database.dialect, mapping.users.columns);
    this.select = `SELECT CAST(${this.columns.id} AS text) AS id, CAST(${this.columns.phone} AS text) AS phone FROM ${this.table}`;
  }

  /** The account of an id, as it is now; null when there is none. Who asks at the same time asks together. */
  find(id: string): Promise<Account | null> {
    return isDatabaseId(id) ? this.asked.load(id) : Promise.resolve(null);
  }

  private async findAll(ids: readonly string[]): Promise<(Account | null)[]> {
    const accounts = await this.database.reader.all<Account>(
      `${this.select} WHERE ${this.columns.id} IN (${this.database.dialect.idsIn('ids')})`,
      { ids: JSON.stringify(ids) },
    );
    const byId = new Map(accounts.map((account) => [account.id, account]));
    return ids.map((id) => byId.get(id) ?? null);
  }

  /** As `find`, within a transaction of the caller's. */
  async findIn(queryable: Queryable, id: string): Promise<Account | null> {
    if (!isDatabaseId(id)) return null;
    const [account] = await queryable.all<Account>(
      `${this.select} WHERE ${this.columns.id} = CAST(:id AS bigint)`,
      { id },
    );
    return account ?? null;
  }

  /**
   * The one account that an id (`7`, `usr_7`), a phone number or a username names.
   * @throws SegueError NOT_FOUND; BAD_USER_INPUT when it names several people, with their ids.
   */
  async get(who: string): Promise<Account> {
    const found = new Map<string, Account>();
    const byId = await this.find(who.replace(/^usr_/, ''));
    if (byId !== null) found.set(byId.id, byId);
    const byName = await this.database.reader.all<Account>(
      `${this.select} WHERE ${this.columns.phone} = :who OR ${this.columns.username} = :who`,
      { who },
    );
    for (const account of byName) found.set(account.id, account);
    const [first, ...others] = found.values();
    if (first === undefined)
      throw new SegueError(
        'NOT_FOUND',
        `Nobody has the id, phone number or username ${JSON.stringify(who)}. With --create, a phone number makes an account.`,
      );
    if (others.length > 0)
      throw new SegueError(
        'BAD_USER_INPUT',
        `${JSON.stringify(who)} names several people: say one of ${[...found.keys()].map((id) => `usr_${id}`).join(', ')}.`,
      );
    return first;
  }

  /** The account of a phone number in any of its forms: the form typed first, then E.164, then the lowest id. */
  async findByPhone(queryable: Queryable, phone: PhoneNumber): Promise<Account | null> {
    const [account] = await queryable.all<Account>(
      `${this.select} WHERE ${this.columns.phone} IN (${this.database.dialect.textsIn('forms')})
       ORDER BY CASE WHEN ${this.columns.phone} = :typed THEN 0 WHEN ${this.columns.phone} = :canonical THEN 1 ELSE 2 END, ${this.table}.${this.columns.id}
       LIMIT 1`,
      {
        forms: JSON.stringify(phone.forms),
        typed: phone.typed,
        canonical: phone.canonical,
      },
    );
    return account ?? null;
  }

  /**
   * The account of a phone number, made when there is none in any form of it.
   * @throws SegueError BAD_USER_INPUT when the text is no phone number.
   */
  async getOrCreateByPhone(typed: string): Promise<Account> {
    const phone = this.phones.get(typed);
    return this.database.transaction((transaction) => this.getOrCreate(transaction, phone));
  }

  /** As `getOrCreateByPhone`, within a transaction of the caller's. */
  async getOrCreate(transaction: Queryable, phone: PhoneNumber): Promise<Account> {
    const { dialect } = this.database;
    const now = dialect.legacyTime(dialect.now);
    // Of two that ask at once, the second one waits here for the first one's commit, and finds its row. The times are
    // given, since the columns' own default is the clock in a zone that need not be the old app's.
    await transaction.run(
      `INSERT INTO ${this.table} (${this.columns.phone}, ${this.columns.createdAt}, ${this.columns.updatedAt})
       SELECT CAST(:canonical AS text), ${now}, ${now}
       WHERE NOT EXISTS (SELECT 1 FROM ${this.table} WHERE ${this.columns.phone} IN (${dialect.textsIn('forms')})) ON CONFLICT DO NOTHING`,
      { canonical: phone.canonical, forms: JSON.stringify(phone.forms) },
    );
    const account = await this.findByPhone(transaction, phone);
    if (account === null) throw new Error('The account just made cannot be read back');
    return account;
  }

  /** Notes that a person showed that the phone number is his, and was here. */
  async noteSignIn(transaction: Queryable, { id }: Account): Promise<void> {
    const { dialect } = this.database;
    await transaction.run(
      `UPDATE ${this.table} SET ${this.columns.isVerified} = true, ${this.columns.lastLogin} = ${dialect.legacyTime(dialect.now)}
       WHERE ${this.columns.id} = CAST(:id AS bigint)`,
      { id },
    );
  }
}

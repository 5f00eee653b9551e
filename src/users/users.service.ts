import { Injectable } from '@nestjs/common';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { isDatabaseId } from '../database/ids.js';
import { SegueError } from '../errors/segue-error.js';

/** A person, as far as signing in needs him. The id is text all the way from the database. */
export interface Account {
  readonly id: string;
  readonly phone: string;
}

/** Finds people in the old table of users. */
@Injectable()
export class UsersService {
  private readonly table: string;
  private readonly columns: Record<'id' | 'phone' | 'username', string>;
  private readonly select: string;

  constructor(
    private readonly database: Database,
    mapping: LegacyMapping,
  ) {
    const { dialect } = database;
    const { columns } = mapping.users;
    this.table = dialect.name(mapping.users.table);
    this.columns = {
      id: dialect.name(columns.id),
      phone: dialect.name(columns.phone),
      username: dialect.name(columns.username),
    };
    this.select = `SELECT CAST(${this.columns.id} AS text) AS id, CAST(${this.columns.phone} AS text) AS phone FROM ${this.table}`;
  }

  /** The account of an id; null when there is none. */
  async find(id: string): Promise<Account | null> {
    if (!isDatabaseId(id)) return null;
    const [account] = await this.database.reader.all<Account>(
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

  /**
   * The account of a phone number, made when there is none.
   * @throws SegueError BAD_USER_INPUT when the text is no phone number.
   */
  async getOrCreateByPhone(phone: string): Promise<Account> {
    if (!/^\+?\d{4,15}$/.test(phone))
      throw new SegueError(
        'BAD_USER_INPUT',
        `${JSON.stringify(phone)} is no phone number: it takes 4 to 15 digits, with or without + in front.`,
      );
    return this.database.transaction(async (transaction) => {
      // Of two that ask at once, the second one waits here for the first one's commit, and finds its row.
      await transaction.run(
        `INSERT INTO ${this.table} (${this.columns.phone}) SELECT :phone
         WHERE NOT EXISTS (SELECT 1 FROM ${this.table} WHERE ${this.columns.phone} = :phone) ON CONFLICT DO NOTHING`,
        { phone },
      );
      const [account] = await transaction.all<Account>(
        `${this.select} WHERE ${this.columns.phone} = :phone`,
        { phone },
      );
      if (account === undefined) throw new Error('The account just made cannot be read back');
      return account;
    });
  }
}

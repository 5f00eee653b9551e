import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { quoted } from '../database/old-table.js';
import type { PhoneNumbers } from './phone-numbers.js';
import type { User } from './user.type.js';

/** Whether somebody has a person in his contacts. */
export type HasContact = (ownerId: string, user: User) => boolean;

interface Row {
  readonly ownerId: string;
  readonly userId: string | null;
  readonly phone: string | null;
}

/** Whom people have in the old app's contacts, by account or by any form of their number. */
export class Contacts {
  private readonly rows: string;

  constructor(
    private readonly database: Database,
    mapping: LegacyMapping,
    private readonly phones: PhoneNumbers,
  ) {
    const { dialect } = database;
    const c = quoted(dialect, mapping.contacts.columns);
    const digits = withoutSeparators(`CAST(${c.phone} AS text)`);
    this.rows = `SELECT DISTINCT CAST(${c.ownerId} AS text) AS "ownerId", CAST(${c.contactUserId} AS text) AS "userId", ${digits} AS phone
      FROM ${dialect.name(mapping.contacts.table)} WHERE ${c.ownerId} IN (${dialect.idsIn('owners')})
        AND (${c.contactUserId} IN (${dialect.idsIn('ids')}) OR ${digits} IN (${dialect.textsIn('forms')}))`;
  }

  /** Answers for these owners and people, in one statement however many they are. */
  async read(ownerIds: readonly string[], users: readonly User[]): Promise<HasContact> {
    if (ownerIds.length === 0 || users.length === 0) return () => false;
    const formsOf = new Map<string, readonly string[]>();
    for (const { key, ownPhone } of users)
      if (!formsOf.has(key))
        formsOf.set(key, ownPhone === null ? [] : this.phones.read(ownPhone).forms);
    const rows = await this.database.reader.all<Row>(this.rows, {
      owners: JSON.stringify([...new Set(ownerIds)]),
      ids: JSON.stringify([...formsOf.keys()]),
      forms: JSON.stringify([...new Set([...formsOf.values()].flat())]),
    });
    const known = new Map<string, Set<string>>();
    const add = (ownerId: string, contact: string): void => {
      known.set(ownerId, (known.get(ownerId) ?? new Set()).add(contact));
    };
    for (const { ownerId, userId, phone } of rows) {
      if (userId !== null) add(ownerId, `account ${userId}`);
      if (phone !== null) add(ownerId, `number ${phone}`);
    }
    return (ownerId, { key }) => {
      const contacts = known.get(ownerId);
      return (
        contacts !== undefined &&
        (contacts.has(`account ${key}`) ||
          (formsOf.get(key) ?? []).some((form) => contacts.has(`number ${form}`)))
      );
    };
  }
}

/** People write numbers in many ways into their address books. */
function withoutSeparators(text: string): string {
  return [' ', '(', ')', '.', '-', '/'].reduce(
    (stripped, separator) => `replace(${stripped}, '${separator}', '')`,
    text,
  );
}

import { Injectable } from '@nestjs/common';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { quoted } from '../database/old-table.js';
import { globalId } from '../graphql/global-ids.js';
import type { Batch } from '../graphql/loaders.js';
import { instantToDate } from '../graphql/scalars.js';
import type { Contacts } from './contacts.js';
import type { User } from './user.type.js';

/** Whether one person may see the phone number of another one. */
interface PhoneQuestion {
  readonly viewerId: string;
  readonly user: User;
}

interface Row {
  readonly id: string;
  readonly name: string | null;
  readonly username: string | null;
  readonly phone: string | null;
  readonly avatar: string | null;
  readonly bio: string | null;
  readonly isVerified: unknown;
  readonly createdAt: string | null;
}

/** Shows people, many at a time: each batch is one statement, however many they are. */
@Injectable()
export class PeopleService {
  private readonly rows: string;

  constructor(
    private readonly database: Database,
    mapping: LegacyMapping,
    private readonly contacts: Contacts,
  ) {
    const { dialect } = database;
    const u = quoted(dialect, mapping.users.columns);
    this.rows = `SELECT CAST(${u.id} AS text) AS id, CAST(${u.name} AS text) AS name, CAST(${u.username} AS text) AS username,
        CAST(${u.phone} AS text) AS phone, CAST(${u.avatar} AS text) AS avatar, CAST(${u.bio} AS text) AS bio,
        ${u.isVerified} AS "isVerified", CAST(${dialect.instantOf(u.createdAt)} AS text) AS "createdAt"
      FROM ${dialect.name(mapping.users.table)} WHERE ${u.id} IN (${dialect.idsIn('ids')})`;
  }

  /** The person of a key; null for one who does not exist. For `Loaders.of`. */
  readonly byKey: Batch<string, User | null> = async (keys) => {
    const rows = await this.database.reader.all<Row>(this.rows, { ids: JSON.stringify(keys) });
    const found = new Map(rows.map((row) => [row.id, userOf(row)]));
    return keys.map((key) => found.get(key) ?? null);
  };

  /**
   * The phone number of a person as somebody may see it: his own, and that of people whom he has in his contacts, by
   * account or by number; null for any other. For `Loaders.of`.
   */
  readonly phoneFor: Batch<PhoneQuestion, string | null> = async (questions) => {
    const others = questions.filter(({ viewerId, user }) => viewerId !== user.key);
    const hasContact = await this.contacts.read(
      others.map(({ viewerId }) => viewerId),
      others.map(({ user }) => user),
    );
    return questions.map(({ viewerId, user }) =>
      viewerId === user.key || hasContact(viewerId, user) ? user.ownPhone : null,
    );
  };
}

function userOf(row: Row): User {
  return {
    id: globalId('User', row.id),
    username: unlessBlank(row.username),
    avatarUrl: unlessBlank(row.avatar),
    bio: unlessBlank(row.bio),
    isVerified: isTrue(row.isVerified),
    createdAt: instantToDate(row.createdAt ?? 0),
    key: row.id,
    ownName: unlessBlank(row.name),
    ownPhone: unlessBlank(row.phone),
  };
}

/** A blank in an old row means nothing. */
function unlessBlank(text: string | null): string | null {
  return text === null || text.trim() === '' ? null : text;
}

/** SQLite takes any value into a column of flags. */
function isTrue(value: unknown): boolean {
  return /^(1|t|true|yes)$/i.test(String(value));
}

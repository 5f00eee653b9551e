import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { quoted } from '../database/old-table.js';
import type { Batch } from '../graphql/loaders.js';
import type { Contacts } from '../users/contacts.js';
import type { User } from '../users/user.type.js';

/** Whether `viewer` may see when `user` was last seen. */
export interface LastSeenQuestion {
  readonly viewer: User;
  readonly user: User;
}

/**
 * What people say in the old app's settings of who may see when they were last seen: everyone, those whom they have in
 * their contacts, or nobody. Where nothing is said, or something else, it is everyone, as in the old app.
 */
export class LastSeenPrivacy {
  private readonly settings: string;

  constructor(
    private readonly database: Database,
    mapping: LegacyMapping,
    private readonly contacts: Contacts,
  ) {
    const { dialect } = database;
    const s = quoted(dialect, mapping.settings.columns);
    this.settings = `SELECT CAST(${s.userId} AS text) AS "userId", CAST(${s.privacyLastSeen} AS text) AS privacy
      FROM ${dialect.name(mapping.settings.table)} WHERE ${s.userId} IN (${dialect.idsIn('ids')})`;
  }

  /** For `Loaders.of`: a statement for all, and one more where somebody asks his contacts for it. */
  readonly allows: Batch<LastSeenQuestion, boolean> = async (questions) => {
    const others = questions.filter(({ viewer, user }) => viewer.key !== user.key);
    const said = await this.readSettings(others.map(({ user }) => user.key));
    const asked = others.filter(({ user }) => said.get(user.key) === 'contacts');
    const hasContact = await this.contacts.read(
      asked.map(({ user }) => user.key),
      asked.map(({ viewer }) => viewer),
    );
    return questions.map(({ viewer, user }) => {
      if (viewer.key === user.key) return true;
      const privacy = said.get(user.key);
      if (privacy === 'contacts') return hasContact(user.key, viewer);
      return privacy !== 'nobody';
    });
  };

  private async readSettings(keys: readonly string[]): Promise<Map<string, string | null>> {
    if (keys.length === 0) return new Map();
    const rows = await this.database.reader.all<{ userId: string; privacy: string | null }>(
      this.settings,
      { ids: JSON.stringify([...new Set(keys)]) },
    );
    return new Map(
      rows.map(({ userId, privacy }) => [userId, privacy?.trim().toLowerCase() ?? null]),
    );
  }
}

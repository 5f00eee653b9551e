import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { quoted } from '../database/old-table.js';
import type { Batch } from '../graphql/loaders.js';
import { withoutSeparators } from '../users/people.service.js';
import type { PhoneNumbers } from '../users/phone-numbers.js';
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
  private readonly havers: string;

  constructor(
    private readonly database: Database,
    mapping: LegacyMapping,
    private readonly phones: PhoneNumbers,
  ) {
    const { dialect } = database;
    const s = quoted(dialect, mapping.settings.columns);
    this.settings = `SELECT CAST(${s.userId} AS text) AS "userId", CAST(${s.privacyLastSeen} AS text) AS privacy
      FROM ${dialect.name(mapping.settings.table)} WHERE ${s.userId} IN (${dialect.idsIn('ids')})`;
    const c = quoted(dialect, mapping.contacts.columns);
    this.havers = `SELECT DISTINCT CAST(${c.ownerId} AS text) AS "ownerId"
      FROM ${dialect.name(mapping.contacts.table)} WHERE ${c.ownerId} IN (${dialect.idsIn('ids')})
        AND (${c.contactUserId} = CAST(:viewerId AS bigint)
          OR ${withoutSeparators(`CAST(${c.phone} AS text)`)} IN (${dialect.textsIn('forms')}))`;
  }

  /** For `Loaders.of`: a statement for all, and one more for each viewer whom somebody asks his contacts for. */
  readonly allows: Batch<LastSeenQuestion, boolean> = async (questions) => {
    const others = questions.filter(({ viewer, user }) => viewer.key !== user.key);
    const said = await this.readSettings(others.map(({ user }) => user.key));
    const isAskedFor = ({ user }: LastSeenQuestion): boolean => said.get(user.key) === 'contacts';
    const viewers = new Map(
      others.filter(isAskedFor).map(({ viewer }) => [viewer.key, viewer] as const),
    );
    const havers = new Map<string, Set<string>>();
    for (const viewer of viewers.values())
      havers.set(
        viewer.key,
        await this.findHavers(
          viewer,
          others.filter(isAskedFor).map(({ user }) => user.key),
        ),
      );
    return questions.map(({ viewer, user }) => {
      if (viewer.key === user.key) return true;
      const privacy = said.get(user.key);
      if (privacy === 'contacts') return havers.get(viewer.key)?.has(user.key) === true;
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

  /** Those of these people who have the viewer in their contacts, by account or by number. */
  private async findHavers(viewer: User, keys: readonly string[]): Promise<Set<string>> {
    const forms = viewer.ownPhone === null ? [] : this.phones.read(viewer.ownPhone).forms;
    const rows = await this.database.reader.all<{ ownerId: string }>(this.havers, {
      ids: JSON.stringify([...new Set(keys)]),
      viewerId: viewer.key,
      forms: JSON.stringify(forms),
    });
    return new Set(rows.map(({ ownerId }) => ownerId));
  }
}

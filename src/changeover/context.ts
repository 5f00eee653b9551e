import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import type { Report } from './progress.js';

/** What each verb of the changeover works with. */
export interface ChangeoverContext {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly report: Report;
}

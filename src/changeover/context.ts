import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import type { Report } from './progress.js';

/** What each verb of the changeover works with. */
export interface ChangeoverContext {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly report: Report;
  /** Bytes that a copy leaves free on the database's disk; 0, or none: it does not look. */
  readonly diskReserve?: number;
}

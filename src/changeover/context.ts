import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import type { Report } from './progress.js';

/** What each verb of the changeover works with. */
export interface ChangeoverContext {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly report: Report;
  /** Who has it done, for the changeover's log: a person's id, or user and machine of a command line. */
  readonly who: string;
  /** Bytes that a copy leaves free on the database's disk; 0, or none: it does not look. */
  readonly diskReserve?: number;
}

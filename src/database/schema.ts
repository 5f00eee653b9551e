import type { EntitySchema } from 'typeorm';
import type { PreviewedMigration } from './migration-run.js';

/** What a database is made of: put together at the top, since the ground does not know what stands on it. */
export interface Schema {
  readonly entities: readonly EntitySchema[];
  readonly migrations: readonly (new () => PreviewedMigration)[];
  /**
   * How far the tables have come with the last of the migrations. Each migration from the second version on writes it into
   * `segue_schema`, and `oldest` too: the lowest version whose programs may go on running beside it, so that processes can be
   * upgraded one at a time. A migration that only adds leaves `oldest` as it is.
   */
  readonly version: number;
  /** Not TypeORM's default: an old app may keep its own migrations in a table of that name. */
  readonly migrationsTable: string;
  /**
   * Where the zone is written down that old times are in, once they are copied: a table, and what asks it for
   * `{name, shifts}`; no row: none is settled.
   */
  readonly settledZone: { readonly table: string; readonly find: string };
}

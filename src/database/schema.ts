import type { EntitySchema, MigrationInterface } from 'typeorm';

/** What a database is made of: put together at the top, since the ground does not know what stands on it. */
export interface Schema {
  readonly entities: readonly EntitySchema[];
  readonly migrations: readonly (new () => MigrationInterface)[];
  /** Not TypeORM's default: an old app may keep its own migrations in a table of that name. */
  readonly migrationsTable: string;
}

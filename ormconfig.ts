import { readConfig } from './src/config/config.js';
import { dataSourceOf } from './src/database/open-database.js';
import { schemaOf } from './src/schema.js';

/**
 * The data source for TypeORM's command line: `npm run build`, then for instance
 * `npm run typeorm -- migration:show`. An old database is expanded with `segue expand`, which takes the locks.
 */
const { database, mapping } = readConfig(process.env);

export default dataSourceOf(database, schemaOf(database.engine, mapping));

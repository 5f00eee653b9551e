import { writeFileSync } from 'node:fs';
import { schemaFile } from './schema-file.js';

/** `npm run schema`: writes the file that clients generate their types from. */
writeFileSync('schema.gql', await schemaFile());

import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { buildSchema, GraphQLObjectType } from 'graphql';
import { schemaFile } from '../../src/web/schema-file.js';

describe('schema.gql', () => {
  const file = readFileSync(new URL('../../schema.gql', import.meta.url), 'utf8');

  it("is what the resolvers make; 'npm run schema' writes it", async () => {
    expect(file).toBe(await schemaFile());
  });

  it('marks each old query as deprecated, and names what replaces it', () => {
    const query = buildSchema(file).getType('Query');
    if (!(query instanceof GraphQLObjectType)) throw new Error('There is no type Query');
    const old = ['messages', 'groupMessages', 'message', 'recentMessages', 'unreadCount'];
    for (const name of old) expect(query.getFields()[name]?.deprecationReason).toMatch(/^Use \w+/);
  });
});

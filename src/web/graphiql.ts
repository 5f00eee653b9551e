import { gzipSync } from 'node:zlib';
import { renderGraphiQL } from '@graphql-yoga/render-graphiql';
import type { FastifyInstance } from 'fastify';

/** What the editor opens on: it works without a token, and shows what there is to ask. */
const FIRST_QUERY = `# What this server can be asked.
# Nearly all of it needs a token, which
# 'segue token WHO' prints: write below, in Headers,
#   {"authorization": "Bearer TOKEN"}
query WhatCanIAsk {
  __schema {
    queryType {
      fields(includeDeprecated: true) {
        name
        description
        deprecationReason
      }
    }
  }
}
`;

/** Answers a browser's GET /graphql with GraphiQL: one page that asks no other host for anything. */
export function serveGraphiql(server: FastifyInstance): void {
  const page = gzipSync(
    renderGraphiQL({
      title: 'Segue',
      endpoint: '/graphql',
      defaultQuery: FIRST_QUERY,
      subscriptionsProtocol: 'WS',
    }),
  );
  server.addHook('onRequest', async (request, reply) => {
    if (request.method !== 'GET' || !wantsPage(request.url, request.headers.accept)) return;
    await reply
      .header('content-type', 'text/html; charset=utf-8')
      .header('content-encoding', 'gzip')
      .header('cache-control', 'no-cache')
      .send(page);
  });
}

/** A browser asks for a page; a client that sends a query by GET asks for JSON. */
function wantsPage(url: string, accept: string | undefined): boolean {
  return url.split('?', 1)[0] === '/graphql' && (accept ?? '').includes('text/html');
}

import { beforeAll, describe, expect, it } from '@jest/globals';
import { gunzipSync } from 'node:zlib';
import { get } from 'node:http';
import { SignJWT } from 'jose';
import pg from 'pg';
import { emptyDatabase, ENGINES, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { ask, segue, serve } from '../helpers/programs.js';

const OLD_SECRET = 'the old app’s secret';

describe.each(ENGINES)('the server on %s', (engine) => {
  let url: string;
  let token: string;
  let environment: { DATABASE_URL: string };

  beforeAll(async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 500 });
    await database.close();
    environment = { DATABASE_URL: urlOf(location) };
    ({ url } = await serve({ ...environment, LEGACY_JWT_SECRET: OLD_SECRET }));
    token = (await segue(environment, 'token', 'usr_1')).stdout.trim();
  });

  const codeOf = async (
    query: string,
    variables: Record<string, unknown> = {},
  ): Promise<unknown> => {
    const { status, data, errors } = await ask(url, token, query, variables);
    expect(status).toBeLessThan(500);
    expect(data ?? null).toBeNull();
    expect(errors?.[0]?.message).toMatch(/\w/);
    expect(JSON.stringify(errors)).not.toMatch(/SELECT|stacktrace|node_modules/);
    return errors?.[0]?.extensions.code;
  };

  it('tells a monitoring system how it is, and nothing of anybody', async () => {
    const answer = await fetch(`${url}/metrics`);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const text = await answer.text();
    for (const line of [
      'segue_changeover_stage{stage="LEGACY"} 1',
      'segue_changeover_pending_changes 0',
      'segue_connections{door="graphql"} 0',
      'segue_connections{door="socketio"} 0',
      'segue_people_online 0',
      'segue_subscribers 0',
      'segue_deliveries_total 0',
      'segue_commit_seconds_count 0',
    ])
      expect(text.split('\n')).toContain(line);
    expect(text).toContain('process_resident_memory_bytes');
    expect(text).not.toMatch(/\d{8,}"|usr_/);
  });

  it('answers bad input with a code and a sentence', async () => {
    expect(await codeOf('{ unreadCount(userId: 2) }')).toBe('FORBIDDEN');
    expect(await codeOf('{ messages(userId: 2, peerId: 1) { id } }')).toBe('FORBIDDEN');
    expect(await codeOf('{ messages(userId: 1, peerId: 2, limit: -1) { id } }')).toBe(
      'BAD_USER_INPUT',
    );
    expect(await codeOf('{ messages(userId: 1, peerId: 2, offset: -1) { id } }')).toBe(
      'BAD_USER_INPUT',
    );
    expect(await codeOf('{ groupMessages(groupId: 1, limit: 2000000000) { id } }')).toBe(
      'BAD_USER_INPUT',
    );
    expect(await codeOf('{ unreadCount(userId: 99999999999) }')).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(await codeOf('query Q($id: Int!) { unreadCount(userId: $id) }', { id: 'x' })).toBe(
      'BAD_USER_INPUT',
    );
    expect(await codeOf('subscription { newMessage }')).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(await codeOf('subscription { newMessage(userId: 1) { id } }')).toBe('BAD_USER_INPUT');
    expect(await codeOf('mutation { nothingOfTheKind }')).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(await codeOf('{ nothingOfTheKind }')).toBe('GRAPHQL_VALIDATION_FAILED');
    expect(await codeOf('{ unreadCount(')).toBe('GRAPHQL_PARSE_FAILED');
    const many = Array.from({ length: 400 }, (_, i) => `a${String(i)}: unreadCount(userId: 1)`);
    expect(await codeOf(`{ ${many.join(' ')} }`)).toBe('GRAPHQL_PARSE_FAILED');
  });

  it('answers what is no GraphQL request with a code and a sentence too', async () => {
    const post = (body: string, type = 'application/json'): Promise<Response> =>
      fetch(`${url}/graphql`, { method: 'POST', headers: { 'content-type': type }, body });
    const cases: [Response, number, string][] = [
      [await post('{"quer'), 400, 'BAD_USER_INPUT'],
      [await post(`{"query": "${'x'.repeat(2_000_000)}"}`), 413, 'BAD_USER_INPUT'],
      [await post('<query/>', 'text/xml'), 415, 'BAD_USER_INPUT'],
      [await fetch(`${url}/nowhere`), 404, 'NOT_FOUND'],
      [await fetch(`${url}/%zz`), 400, 'BAD_USER_INPUT'],
    ];
    for (const [response, status, code] of cases) {
      expect(response.status).toBe(status);
      expect(await response.json()).toEqual({
        errors: [{ message: expect.stringMatching(/\w+/), extensions: { code } }],
      });
    }
  });

  it('lets only people with a token in, ours or the old app’s', async () => {
    const question = '{ unreadCount(userId: 1) }';
    const ours = await ask(url, token, question);
    expect(ours.data).toEqual({ unreadCount: expect.any(Number) });
    const old = await new SignJWT({ id: 1, phone: '08000000001' })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('5m')
      .sign(Buffer.from(OLD_SECRET));
    expect(await ask(url, old, question)).toEqual(ours);
    for (const wrong of [null, 'nonsense', `${token}x`])
      expect((await ask(url, wrong, question)).errors?.[0]?.extensions.code).toBe(
        'UNAUTHENTICATED',
      );
  });

  it('is live and ready', async () => {
    expect(await (await fetch(`${url}/health/live`)).json()).toEqual({ status: 'ok' });
    expect(await (await fetch(`${url}/health/ready`)).json()).toEqual({
      status: 'ok',
      stage: 'LEGACY',
    });
  });

  it('shows GraphiQL to a browser, without asking any other host', async () => {
    const page = await new Promise<string>((resolve, reject) => {
      get(`${url}/graphql`, { headers: { accept: 'text/html,*/*' } }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          resolve(gunzipSync(Buffer.concat(chunks)).toString());
        });
      }).on('error', reject);
    });
    expect(page).toContain('WhatCanIAsk');
    expect(page).not.toMatch(/<(script|link|img)[^>]+(src|href)="(https?:)?\/\//);
    const [query] = /query WhatCanIAsk[\s\S]*?\\n\}\\n/.exec(page) ?? [''];
    const answer = await ask(url, null, JSON.parse(`"${query}"`) as string);
    expect(answer).toMatchObject({ status: 200, data: { __schema: expect.anything() } });
    expect(answer.errors).toBeUndefined();
  });

  it('touches nothing of an old database that nobody asked it to move', async () => {
    expect(JSON.parse((await segue(environment, 'status', '--json')).stdout)).toMatchObject({
      stage: 'LEGACY',
      migratedMessages: 0,
    });
  });
});

describe.each(ENGINES)('a server on an empty database, %s', (engine) => {
  it('sets it up, makes people, and has nothing to tell them yet', async () => {
    const environment = { DATABASE_URL: urlOf(await emptyDatabase(engine)) };
    const { url } = await serve(environment);
    expect(await (await fetch(`${url}/health/ready`)).json()).toEqual({
      status: 'ok',
      stage: 'CONTRACTED',
    });
    const token = (await segue(environment, 'token', '+15550100', '--create')).stdout.trim();
    expect(
      await ask(
        url,
        token,
        '{ recentMessages(userId: 1) { id } messages(userId: 1, peerId: 2) { id } groupMessages(groupId: 1) { id } message(id: 1) { id } unreadCount(userId: 1) }',
      ),
    ).toEqual({
      status: 200,
      data: { recentMessages: [], messages: [], groupMessages: [], message: null, unreadCount: 0 },
      extensions: {
        deprecations: ['recentMessages', 'messages', 'groupMessages', 'message', 'unreadCount'].map(
          (field) => ({ field, reason: expect.stringMatching(/^Use /) }),
        ),
      },
    });
  });
});

const onPostgres = ENGINES.includes('postgres') ? describe : describe.skip;

onPostgres('a server whose database goes away', () => {
  it('says so, is not ready, and recovers by itself', async () => {
    const { location, database } = await legacyDatabase('postgres', { messages: 20 });
    await database.close();
    const environment = { DATABASE_URL: urlOf(location) };
    const { url } = await serve(environment);
    const token = (await segue(environment, 'token', 'usr_1')).stdout.trim();
    const name = new URL(urlOf(location)).pathname.slice(1);
    const admin = new pg.Client({ connectionString: process.env.SEGUE_TEST_POSTGRES });
    await admin.connect();
    try {
      await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`,
      );
      expect((await fetch(`${url}/health/ready`)).status).toBe(503);
      expect(
        (await ask(url, token, '{ unreadCount(userId: 1) }')).errors?.[0]?.extensions.code,
      ).toBe('UNAVAILABLE');
      expect((await fetch(`${url}/health/live`)).status).toBe(200);
      await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
      expect((await fetch(`${url}/health/ready`)).status).toBe(200);
      expect((await ask(url, token, '{ unreadCount(userId: 1) }')).data).toEqual({
        unreadCount: expect.any(Number),
      });
    } finally {
      await admin.end();
    }
  });
});

import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import type { ExecutionResult } from 'graphql';
import { createClient } from 'graphql-ws';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { issueToken } from '../../src/auth/tokens.service.js';
import type { GateCondition } from '../../src/changeover/gate.js';
import { asOldApp, atTheEnd, ENGINES, urlOf, using } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { ask, segue, serve } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

/** Some seconds: what is asked for in days. */
const QUIET = '0.00005';

const OLD_QUERY = '{ unreadCount(userId: 1) }';

describe.each(ENGINES)('out of the old table, at the command line, on %s', (engine) => {
  it('tells who calls what is deprecated, waits for all of it, and takes the last step and half of it back', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 400 });
    await database.close();
    const environment = {
      DATABASE_URL: urlOf(location),
      JWT_SECRET: SECRET,
      CONTRACT_QUIET_DAYS: QUIET,
      SUNSET: '2031-06-30',
    };
    const json = async (...args: string[]): Promise<unknown> => {
      const { code, stdout, stderr } = await segue(environment, ...args, '--json');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      return JSON.parse(stdout);
    };
    const refusal = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await segue(environment, ...args);
      expect(code).toBe(1);
      return stderr;
    };
    let server = await serve(environment);
    const token = await issueToken({ id: '1', phone: '08000000001' }, SECRET);

    /** Over HTTP, with what an answer says beside its data. */
    const call = async (
      query: string,
      headers: Record<string, string> = {},
    ): Promise<{ deprecation: string | null; sunset: string | null; body: ExecutionResult }> => {
      const response = await fetch(`${server.url}/graphql`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${token}`,
          ...headers,
        },
        body: JSON.stringify({ query }),
      });
      return {
        deprecation: response.headers.get('deprecation'),
        sunset: response.headers.get('sunset'),
        body: (await response.json()) as ExecutionResult,
      };
    };
    // Before expand there is nothing to call instead.
    const before = await call(OLD_QUERY);
    expect(before).toMatchObject({ deprecation: null, sunset: null });
    expect(before.body).not.toHaveProperty('extensions');

    await json('migrate', '--no-backup');
    await json('cutover', '--percent', '100');
    let told = await call(OLD_QUERY);
    // Within a second.
    while (told.deprecation === null) told = await call(OLD_QUERY);
    await call(OLD_QUERY, { 'user-agent': 'curl/8' });
    expect(told.deprecation).toMatch(/^@\d{10}$/);
    expect(told.sunset).toBe('Mon, 30 Jun 2031 00:00:00 GMT');
    expect(told.body.extensions).toEqual({
      deprecations: [
        {
          field: 'unreadCount',
          reason: 'Use conversations, with unreadCount of each.',
          sunset: '2031-06-30T00:00:00.000Z',
        },
      ],
    });
    const modern = await call('{ me { id } }');
    expect(modern).toMatchObject({ deprecation: null, sunset: null });
    expect(modern.body).not.toHaveProperty('extensions');
    await call(`{ recentMessages(userId: 1) { id } }`, {
      'apollographql-client-name': 'ios',
      'apollographql-client-version': '3.2',
    });

    // On a WebSocket, where it names itself as it connects.
    const socket = createClient({
      url: `${server.url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: {
        authorization: `Bearer ${token}`,
        'apollographql-client-name': 'web',
      },
      retryAttempts: 0,
    });
    const answers = socket.iterate({ query: OLD_QUERY });
    const overSocket = (await answers.next()).value as { extensions?: unknown };
    expect(overSocket.extensions).toMatchObject({ deprecations: [{ field: 'unreadCount' }] });
    // A subscription counts too.
    const feed = socket.iterate({ query: 'subscription { newMessage(userId: 1) { id } }' });
    const next = feed.next();
    const old = io(server.url, { auth: { token }, extraHeaders: { 'user-agent': 'old app/1' } });
    await once(old as never, 'connect');
    await old.emitWithAck('typing', { recipientId: 2, typing: true });

    expect((await segue(environment, 'operator', 'grant', '1')).code).toBe(0);
    const usage = async (): Promise<Set<string>> => {
      const { data, errors } = await ask(
        server.url,
        token,
        '{ changeover { deprecatedUsage { operation client calls lastCalledAt } gate { name met detail } } }',
      );
      expect(errors).toBeUndefined();
      const { deprecatedUsage } = (
        data as { changeover: { deprecatedUsage: { operation: string; client: string }[] } }
      ).changeover;
      return new Set(deprecatedUsage.map(({ operation, client }) => `${operation} by ${client}`));
    };
    const expected = [
      'unreadCount by curl/8',
      'unreadCount by web',
      'recentMessages by ios 3.2',
      'newMessage by web',
      'socket.io by old app/1',
      'socket.io typing by old app/1',
    ];
    for (let used = await usage(); !expected.every((one) => used.has(one)); used = await usage())
      await sleep(100);
    old.disconnect();
    await feed.return?.();
    await next;
    await socket.dispose();

    const shown = await segue(environment, 'contract');
    expect(shown.code).toBe(1);
    expect(shown.stdout).toMatch(/^OPEN {2}deprecated calls: the last one /m);
    expect(shown.stdout).toMatch(/^met {3}stage: COMPLETE/m);
    expect(shown.stderr).toMatch(/^GATE_CLOSED: \d of 8 conditions are open/);
    const said = ['--backup', 'friday.dump', '--old-app-is-gone', 'the old app is gone'];
    expect(await refusal('contract', '--retire', ...said)).toMatch(
      /^GATE_CLOSED: .*deprecated calls/,
    );
    expect(await refusal('contract', '--retire', '--drop')).toMatch(/^BAD_USER_INPUT/);
    expect(await refusal('contract', '--drop')).toMatch(/^BAD_USER_INPUT: --drop needs --export/);

    // Nobody calls it any more.
    for (;;) {
      const { stdout } = await segue(environment, 'contract', ...said, '--json');
      const { gate } = JSON.parse(stdout) as { gate: GateCondition[] };
      if (gate.every(({ met }) => met)) break;
      await sleep(500);
    }
    expect(await json('contract', '--retire', ...said)).toEqual({
      stage: 'CONTRACTED',
      table: 'messages_retired',
    });
    await expect(
      asOldApp(location, 'INSERT INTO messages (sender_id, recipient_id) VALUES (1, 2)'),
    ).rejects.toThrow(/messages/);

    // The server has not noticed: old clients and new ones are answered, and write.
    const write = async (content: string): Promise<void> => {
      const { errors } = await ask(
        server.url,
        token,
        `mutation { createMessage(senderId: 1, recipientId: 2, content: "${content}") { id } }`,
      );
      expect(errors).toBeUndefined();
      const { data } = await ask(
        server.url,
        token,
        '{ messages(userId: 1, peerId: 2, limit: 1) { content } }',
      );
      expect(data).toEqual({ messages: [{ content }] });
    };
    await write('while the old table is away');
    server.child.kill('SIGKILL');
    await once(server.child, 'exit');
    server = await serve(environment);
    await write('after the server was killed');
    expect(await json('status')).toMatchObject({ stage: 'CONTRACTED', legacyMessages: 402 });

    expect(await json('rollback', '--to', 'COMPLETE')).toMatchObject({
      from: 'CONTRACTED',
      stage: 'COMPLETE',
    });
    await write('when it is back');
    expect(await json('verify')).toMatchObject({ mismatches: 0, legacyMessages: 403 });
    // The server applies what is written to it again.
    await asOldApp(
      location,
      `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at) VALUES (2, 1, 'by the old app', 'text', 'sent', '2026-01-01 00:00:00')`,
    );
    while (((await json('status')) as { pendingChanges: number }).pendingChanges > 0)
      await sleep(50);
    expect(await json('verify')).toMatchObject({ mismatches: 0, migratedMessages: 404 });

    for (;;) {
      const { code } = await segue(environment, 'contract', '--retire', ...said);
      if (code === 0) break;
      await sleep(500);
    }
    await write('once more');
    const folder = await mkdtemp(join(tmpdir(), 'segue-test-'));
    atTheEnd(() => rm(folder, { recursive: true, force: true }), 'drops');
    const file = join(folder, 'old.jsonl');
    const drop = ['contract', '--drop', '--export', file];
    expect(await refusal(...drop)).toMatch(/^BAD_USER_INPUT: --confirm is ""/);
    for (;;) {
      const { code, stdout, stderr } = await segue(environment, ...drop, '--confirm', 'CONTRACTED');
      if (code === 0) {
        expect(stdout).toContain('Its 405 rows stand in the file.');
        break;
      }
      expect(stderr).toMatch(/^GATE_CLOSED: The old table has had its other name since/);
      await sleep(500);
    }
    expect((await readFile(file, 'utf8')).trim().split('\n')).toHaveLength(405);
    await using(location, async ({ reader, dialect }) => {
      const tables = await reader.all<{ name: string }>(dialect.listTables);
      expect(tables.map(({ name }) => name)).not.toContain('messages_retired');
    });
    const sent = await ask(
      server.url,
      token,
      `mutation { startDirectConversation(userId: "usr_2") { id messages(last: 1) { edges { node { text } } } } }`,
    );
    expect(JSON.stringify(sent.data)).toContain('once more');
    expect(await refusal('rollback', '--to', 'LEGACY')).toMatch(
      /^WRONG_STAGE: The stage is CONTRACTED/,
    );
  }, 90_000);
});

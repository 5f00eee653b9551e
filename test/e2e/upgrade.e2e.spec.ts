import { describe, expect, it } from '@jest/globals';
import { issueToken } from '../../src/auth/tokens.service.js';
import { verify } from '../../src/changeover/verify.js';
import { readConfig } from '../../src/config/config.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { EngineName } from '../../src/database/dialect.js';
import type { PreviewedMigration } from '../../src/database/migration-run.js';
import type { Schema } from '../../src/database/schema.js';
import { schemaOf } from '../../src/schema.js';
import { type RunningServer, startServer } from '../../src/server.js';
import { atTheEnd, ENGINES, open, urlOf } from '../helpers/databases.js';
import { contextOf, legacyDatabase, migrate } from '../helpers/legacy.js';
import { ask } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

/** This version's schema, and one migration more that a later version could have. */
function later(engine: EngineName, version: number, oldest: number, statement: string): Schema {
  const schema = schemaOf(engine, DEFAULT_MAPPING);
  class Later implements PreviewedMigration {
    name = `Later${1_890_000_000_000 + version}`;

    statements(): string[] {
      return [
        statement,
        `UPDATE segue_schema SET version = ${version}, oldest = ${oldest} WHERE id = 1`,
      ];
    }

    async up(runner: Parameters<PreviewedMigration['up']>[0]): Promise<void> {
      for (const each of this.statements()) await runner.query(each);
    }

    down(): Promise<void> {
      return Promise.reject(new Error('There is no way back from it'));
    }
  }
  return { ...schema, version, migrations: [...schema.migrations, Later] };
}

const ADDS = 'ALTER TABLE enhanced_messages ADD COLUMN later_thing bigint';

describe.each(ENGINES)('two versions on one database, on %s', (engine) => {
  it('are told apart by what is written down there', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 20 });
    await migrate(database);
    const config = readConfig({ DATABASE_URL: urlOf(location), JWT_SECRET: SECRET, PORT: '0' });
    const serve = (schema: Schema): Promise<RunningServer> =>
      startServer(config, { schema, logLevels: [] });
    const version = async (): Promise<unknown> =>
      (await database.reader.all('SELECT version, oldest FROM segue_schema')).map((row) =>
        Object.values(row).map(Number),
      );
    expect(await version()).toEqual([[1, 1]]);

    // One that adds, and lets this one go on.
    const next = later(engine, 2, 1, ADDS);
    const upgraded = await serve(next);
    expect(await version()).toEqual([[2, 1]]);
    await upgraded.close();
    const older = await serve(schemaOf(engine, DEFAULT_MAPPING));
    await older.close();
    expect(await verify(contextOf(await open(location)))).toMatchObject({ mismatches: 0 });

    // One that does not.
    const third = later(engine, 3, 2, 'ALTER TABLE conversations ADD COLUMN later_thing bigint');
    const both = { ...third, migrations: [...next.migrations, ...third.migrations.slice(-1)] };
    await (await serve(both)).close();
    expect(await version()).toEqual([[3, 2]]);
    await expect(serve(schemaOf(engine, DEFAULT_MAPPING))).rejects.toMatchObject({
      code: 'NEWER_DATABASE',
      message: expect.stringMatching(
        /is at schema version 3, which programs before schema version 2 may not use any more; this is Segue [\d.]+ with schema version 1\. Start a newer one/,
      ),
    });
    await (await serve(next)).close();
    await expect(open(location)).rejects.toMatchObject({ code: 'NEWER_DATABASE' });
  });
});

// More than one process on a database is for PostgreSQL.
describe.each(ENGINES.filter((engine) => engine === 'postgres'))('upgrading on %s', (engine) => {
  it('goes one process at a time, under load, and loses nothing', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 200 });
    await migrate(database);
    const config = readConfig({
      DATABASE_URL: urlOf(location),
      JWT_SECRET: SECRET,
      PORT: '0',
      RATE_LIMIT: 'off',
    });
    const serve = async (schema: Schema): Promise<RunningServer> => {
      const server = await startServer(config, { schema, logLevels: [] });
      atTheEnd(() => server.close().catch(() => undefined), 'closes');
      return server;
    };
    const old = schemaOf(engine, DEFAULT_MAPPING);
    const next = later(engine, 2, 1, ADDS);
    const servers = [await serve(old), await serve(old)];
    const token = await issueToken({ id: '1', phone: '08000000001' }, SECRET);
    const [first] = servers;
    const started = await ask(
      first?.url ?? '',
      token,
      'mutation { startDirectConversation(userId: "usr_2") { id } }',
    );
    const { id } = (started.data as { startDirectConversation: { id: string } })
      .startDirectConversation;

    let isOver = false;
    const acknowledged = new Map<string, string>();
    const refused: unknown[] = [];
    const senders = [0, 1, 2, 3].map(async (sender) => {
      for (let n = 1; !isOver; n += 1) {
        const clientId = `sender ${sender}, ${n}`;
        // As clients do: the same again, of whichever server answers.
        for (let attempt = sender; !acknowledged.has(clientId); attempt += 1)
          try {
            const { data, errors } = await ask(
              servers[attempt % 2]?.url ?? '',
              token,
              'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id } }',
              { input: { conversationId: id, clientId, text: clientId } },
            );
            if (errors !== undefined) refused.push(errors);
            else
              acknowledged.set(clientId, (data as { sendMessage: { id: string } }).sendMessage.id);
          } catch (error) {
            // One of them is ending, or has ended.
            if ((error as Error).name !== 'TypeError') throw error;
          }
      }
    });
    const atLeast = async (more: number): Promise<void> => {
      const until = acknowledged.size + more;
      while (acknowledged.size < until) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await atLeast(100);
    for (const n of [0, 1]) {
      await servers[n]?.close();
      servers[n] = await serve(next);
      await atLeast(150);
    }
    isOver = true;
    await Promise.all(senders);
    expect(refused).toEqual([]);
    expect(new Set(acknowledged.values()).size).toBe(acknowledged.size);
    for (const server of servers) await server.close();
    const upgraded = await open(location);
    const [count] = await upgraded.reader.all<{ count: string }>(
      `SELECT count(*) AS count FROM enhanced_messages WHERE made_here`,
    );
    expect(Number(count?.count)).toBe(acknowledged.size);
    expect(await verify(contextOf(upgraded))).toMatchObject({ mismatches: 0 });
    expect(await upgraded.reader.all('SELECT version FROM segue_schema')).toEqual([
      { version: '2' },
    ]);
  }, 120_000);
});

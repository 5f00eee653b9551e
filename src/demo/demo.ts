import { existsSync, renameSync, rmSync } from 'node:fs';
import { getJwtSecret } from '../auth/jwt-secret.js';
import { issueToken } from '../auth/tokens.service.js';
import { backfill } from '../changeover/backfill.js';
import { expand } from '../changeover/expand.js';
import { Meter } from '../changeover/progress.js';
import { verify } from '../changeover/verify.js';
import { ProgressBar } from '../cli/progress-bar.js';
import { type Config, parseDatabaseUrl, readConfig } from '../config/config.js';
import type { Database } from '../database/database.js';
import { openDatabase } from '../database/open-database.js';
import { schemaOf } from '../schema.js';
import { startServer } from '../server.js';
import { PhoneNumbers } from '../users/phone-numbers.js';
import { UsersService } from '../users/users.service.js';
import { generateLegacy } from './legacy-generator.js';

const MESSAGES = 100_000;
const SEED = 1;
const PATH = 'data/demo.sqlite';
const UNFINISHED = 'data/demo-unfinished.sqlite';

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** A legacy database, moved before the user's eyes, and served. A second run goes on with the same database. */
async function demo(): Promise<void> {
  const config: Config = {
    ...readConfig({ ...process.env, DATABASE_URL: `sqlite:${PATH}` }),
    legacyReads: 'new',
  };
  const schema = schemaOf('sqlite', config.mapping);
  if (existsSync(PATH)) say(`Going on with ${PATH}; delete data/ to begin anew.\n`);
  else await makeOldDatabase(config);

  const database = await openDatabase(config.database, schema, { zone: config.legacyZone });
  const bar = new ProgressBar(true);
  const context = {
    database,
    mapping: config.mapping,
    report: bar.show.bind(bar),
    who: 'the demonstration',
  };
  say('Moving it into conversations: expand, backfill, verify …');
  await expand(context, { backup: null, migrationsTable: schema.migrationsTable });
  await backfill(context);
  const { certificate } = await verify(context);
  bar.stop();
  say(`${certificate}\n`);

  const token = await tokenFor(config, database, '1');
  await database.close();
  const server = await startServer(config, {
    create: false,
    logLevels: ['warn', 'error', 'fatal'],
  });
  say(`Open   ${server.url}/graphql   and try, with this in the tab "Headers":

  {"authorization": "Bearer ${token}"}

the queries of an old client, answered from conversations:

  { recentMessages(userId: 1) { id sender_id recipient_id group_id content created_at } }
  { messages(userId: 1, peerId: 2, limit: 10) { sender_id content status created_at } }
  { unreadCount(userId: 1) }

The same database at the command line:

  DATABASE_URL=sqlite:${PATH} npm run --silent segue -- status
  DATABASE_URL=sqlite:${PATH} npm run --silent segue -- token person2

Ctrl-C ends it.`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void server.close());
}

/** Made under another name first, so that an interrupted run is not taken for an old database. */
async function makeOldDatabase({ mapping }: Config): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) rmSync(UNFINISHED + suffix, { force: true });
  const database = await openDatabase(
    parseDatabaseUrl(`sqlite:${UNFINISHED}`),
    schemaOf('sqlite', mapping),
    { create: true },
  );
  say(`Making an old chat database of ${MESSAGES.toLocaleString('en-US')} messages in ${PATH} …`);
  const bar = new ProgressBar(true);
  const meter = new Meter('old messages', MESSAGES, bar.show.bind(bar));
  await generateLegacy(database, mapping, { messages: MESSAGES, seed: SEED }, (rows) => {
    meter.add(rows);
  });
  bar.stop();
  await database.close();
  if (existsSync(`${UNFINISHED}-wal`))
    throw new Error(`${UNFINISHED}-wal holds rows still: is another process using the file?`);
  renameSync(UNFINISHED, PATH);
}

async function tokenFor(config: Config, database: Database, who: string): Promise<string> {
  const users = new UsersService(database, config.mapping, new PhoneNumbers(config.defaultCountry));
  return issueToken(await users.get(who), getJwtSecret(config));
}

await demo();

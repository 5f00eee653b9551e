import { Command, CommanderError, Option } from 'commander';
import { getJwtSecret } from '../auth/jwt-secret.js';
import { TokensService } from '../auth/tokens.service.js';
import { backfill } from '../changeover/backfill.js';
import type { ChangeoverContext } from '../changeover/context.js';
import { expand } from '../changeover/expand.js';
import { inspect } from '../changeover/inspect.js';
import { listQuarantine } from '../changeover/quarantine.js';
import { status } from '../changeover/status.js';
import { type Verification, verify } from '../changeover/verify.js';
import { type Config, readConfig } from '../config/config.js';
import type { Database } from '../database/database.js';
import { explainDatabaseError } from '../database/database-errors.js';
import { openDatabase } from '../database/open-database.js';
import { messageOf, SegueError } from '../errors/segue-error.js';
import { schemaOf } from '../schema.js';
import { UsersService } from '../users/users.service.js';
import { VERSION } from '../version.js';
import * as print from './print.js';
import { ProgressBar } from './progress-bar.js';

interface ExpandFlags {
  readonly backup?: string | false;
  readonly wal?: true;
}

/**
 * Runs one command line.
 * @returns the exit code: 0 only when all went well.
 */
export async function runCli(args: readonly string[]): Promise<number> {
  const json = args.includes('--json');
  try {
    if (args.includes('--no-backup') && args.some((arg) => /^--backup(=|$)/.test(arg)))
      throw new SegueError('BAD_USER_INPUT', 'Say --backup NAME or --no-backup, not both.');
    await program(json).parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    if (!(error instanceof CommanderError)) fail(error, json);
    // Help and version were asked for, or shown for want of a command.
    else if (/^commander\.(help|version)/.test(error.code)) return error.exitCode;
    else fail(wrongArguments(error), json);
    return 1;
  }
}

/** Commander's own words, as an error like all others. */
function wrongArguments({ message }: CommanderError): SegueError {
  const sentence = message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ');
  return new SegueError('BAD_USER_INPUT', `${sentence}. 'segue --help' lists what there is.`);
}

function program(json: boolean): Command {
  const root = new Command('segue')
    .description(
      'Moves a live chat database to conversations, and serves it. DATABASE_URL says which.',
    )
    .version(VERSION)
    .exitOverride()
    // Told once, by `fail`.
    .configureOutput({ outputError: () => undefined });
  const verb = (usage: string, description: string): Command =>
    root
      .command(usage)
      .description(description)
      .addOption(new Option('--json', 'print one JSON object, for machines'));
  const changing = (usage: string, description: string): Command =>
    verb(usage, description)
      .option('--backup <name>', 'what you would restore if all went wrong: a file, a snapshot')
      .option('--no-backup', 'go on without one')
      .option('--wal', 'switch an SQLite file to WAL mode first; the mode stays');

  root
    .command('serve')
    .description('answer clients; sets an empty database up, leaves an old one as it is')
    .action(serve);
  verb('inspect', 'look at a database and change nothing').action(() =>
    withContext(json, {}, async (context) => {
      output(json, await inspect(context), print.inspection);
    }),
  );
  changing('expand', 'add the new tables, and three nullable columns to the old ones').action(
    (flags: ExpandFlags) =>
      withContext(json, { wal: flags.wal }, async (context) => {
        output(json, { stage: await expand(context, expandOptions(context, flags)) }, print.stage);
      }),
  );
  verb('backfill', 'copy all old rows; goes on where a run ended that was stopped').action(() =>
    withContext(json, {}, async (context) => {
      output(json, await backfill(context), print.backfill);
    }),
  );
  verb('verify', 'compare every row of both sides').action(() =>
    withContext(json, {}, async (context) => {
      conclude(json, await verify(context));
    }),
  );
  changing('migrate', 'expand, backfill and verify').action((flags: ExpandFlags) =>
    withContext(json, { wal: flags.wal }, async (context) => {
      await expand(context, expandOptions(context, flags));
      await backfill(context);
      conclude(json, await verify(context));
    }),
  );
  verb('status', 'say where the changeover stands').action(() =>
    withContext(json, {}, async ({ database, mapping }) => {
      output(json, await status(database, mapping), print.status);
    }),
  );
  root
    .command('quarantine')
    .description('the old rows that could not be moved; old clients are still answered with them')
    .command('list')
    .description('print each with its reason')
    .addOption(new Option('--json', 'print one JSON array, for machines'))
    .action(() => withContext(json, {}, ({ database }) => printQuarantine(database, json)));
  root
    .command('token')
    .argument('<who>', "a user's id, phone number or username")
    .option('--create', 'make the user of an unknown phone number')
    .description('print an access token, alone on the last line')
    .action(token);
  return root;
}

/** Runs until the process is told to end. */
async function serve(): Promise<void> {
  // Only this verb needs the framework, which takes a second to load.
  const { startServer } = await import('../server.js');
  const server = await startServer(readConfig(process.env));
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        resolve();
      });
  });
  await server.close();
}

async function token(who: string, { create }: { create?: true }): Promise<void> {
  const config = readConfig(process.env);
  const database = await openDatabase(
    config.database,
    schemaOf(config.database.engine, config.mapping),
  );
  try {
    const users = new UsersService(database, config.mapping);
    const account = create ? await users.getOrCreateByPhone(who) : await users.get(who);
    const tokens = new TokensService(users, { own: getJwtSecret(config), legacy: undefined });
    process.stdout.write(`${await tokens.issue(account)}\n`);
  } finally {
    await database.close();
  }
}

async function withContext(
  json: boolean,
  { wal }: { wal?: true | undefined },
  work: (context: CliContext) => Promise<void>,
): Promise<void> {
  const config: Config = readConfig(process.env);
  const schema = schemaOf(config.database.engine, config.mapping);
  const database = await openDatabase(config.database, schema, { switchToWal: wal === true });
  const bar = new ProgressBar(!json);
  try {
    // The mode is settled when something is written; asked for, it is settled in any case.
    if (wal === true) await database.transaction(() => Promise.resolve());
    await work({
      database,
      mapping: config.mapping,
      report: (progress) => {
        bar.show(progress);
      },
      migrationsTable: schema.migrationsTable,
    });
  } finally {
    bar.stop();
    await database.close();
  }
}

interface CliContext extends ChangeoverContext {
  readonly migrationsTable: string;
}

/** `--backup NAME` or `--no-backup`: one of them has to be said, before anything is changed. */
function expandOptions(
  { migrationsTable }: CliContext,
  { backup }: ExpandFlags,
): { backup: string | null; migrationsTable: string } {
  // A name that looks like a flag is one: the name itself was forgotten, or a variable was empty.
  if (backup === undefined || backup === '' || (backup !== false && backup.startsWith('-')))
    throw new SegueError(
      'BAD_USER_INPUT',
      'Say --backup NAME, with the name of what you would restore, or --no-backup. Nothing was changed.',
    );
  return { backup: backup === false ? null : backup, migrationsTable };
}

/** Page by page: a quarantine can be as long as the old table. */
async function printQuarantine(database: Database, json: boolean): Promise<void> {
  let opening = '[';
  for await (const page of listQuarantine(database)) {
    process.stdout.write(
      json
        ? opening + page.map((row) => JSON.stringify(row)).join(',')
        : page.map(print.quarantined).join(''),
    );
    opening = ',';
  }
  const isEmpty = opening === '[';
  if (json) process.stdout.write(isEmpty ? '[]\n' : ']\n');
  else if (isEmpty) process.stdout.write('The quarantine is empty.\n');
}

function conclude(json: boolean, verification: Verification): void {
  output(json, verification, print.verification);
  if (verification.mismatches > 0)
    throw new SegueError(
      'NOT_VERIFIED',
      `${verification.mismatches} rows differ between the sides; the old side is as it was, and goes on answering. ` +
        `The table changeover_mismatches lists the first ones.`,
    );
}

function output<Value>(json: boolean, value: Value, show: (value: Value) => string): void {
  process.stdout.write(json ? `${JSON.stringify(value)}\n` : `${show(value)}\n`);
}

function fail(error: unknown, json: boolean): void {
  const explained = explainDatabaseError(error);
  const code = explained?.code ?? 'INTERNAL';
  const message = messageOf(explained ?? error);
  if (json) process.stderr.write(`${JSON.stringify({ error: { code, message } })}\n`);
  else process.stderr.write(`${code}: ${message}\n`);
  // A fault of ours is worth its place; a person's mistake is not.
  if (code === 'INTERNAL' && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
}

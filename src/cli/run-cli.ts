import { once } from 'node:events';
import { hostname } from 'node:os';
import { Command, CommanderError, Option } from 'commander';
import { backfill } from '../changeover/backfill.js';
import type { ChangeoverContext } from '../changeover/context.js';
import { type CutoverWish, parsePercent, setCutover } from '../changeover/cutover.js';
import { dropOldTable, retire } from '../changeover/contract.js';
import { expand, type ExpandOptions } from '../changeover/expand.js';
import { OLD_APP_IS_GONE, readGate } from '../changeover/gate.js';
import { inspect } from '../changeover/inspect.js';
import { plan, type Plan } from '../changeover/plan.js';
import {
  exportQuarantine,
  listQuarantine,
  replayQuarantine,
  signOff,
} from '../changeover/quarantine.js';
import { parseTarget, rollback } from '../changeover/rollback.js';
import {
  explainDifference,
  forgetDifferences,
  parseSample,
  setSample,
  shadowReport,
} from '../changeover/shadow.js';
import { status } from '../changeover/status.js';
import { parseRate, setPaused, setRateLimit } from '../changeover/wishes.js';
import { type Verification, verify, type VerifyOptions } from '../changeover/verify.js';
import { type Config, readConfig } from '../config/config.js';
import type { Database } from '../database/database.js';
import { explainDatabaseError } from '../database/database-errors.js';
import { upgrade } from '../database/versions.js';
import { openDatabase } from '../database/open-database.js';
import { messageOf, SegueError } from '../errors/segue-error.js';
import { Operators } from '../operators/operators.js';
import { schemaOf } from '../schema.js';
import { PhoneNumbers } from '../users/phone-numbers.js';
import { UsersService } from '../users/users.service.js';
import { VERSION } from '../version.js';
import * as print from './print.js';
import { plan as printPlan } from './print-plan.js';
import { ProgressBar } from './progress-bar.js';
import { watchStatus } from './watch.js';

interface TableFlags {
  readonly wal?: true;
  /** commander's name for --without-columns. */
  readonly withoutColumns?: true;
}

interface ExpandFlags extends TableFlags {
  readonly backup?: string | false;
}

interface CutoverFlags {
  readonly percent?: string;
  readonly user?: string;
  readonly off?: true;
  readonly force?: true;
}

interface ContractFlags {
  readonly retire?: true;
  readonly backup?: string;
  readonly oldAppIsGone?: string;
  readonly drop?: true;
  readonly export?: string;
  readonly confirm?: string;
  readonly dropColumns?: true;
}

interface RollbackFlags {
  readonly to: string;
  readonly purge?: true;
  readonly export?: string;
  readonly dropColumns?: true;
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
  const ofTables = (usage: string, description: string): Command =>
    verb(usage, description)
      .option('--wal', 'switch an SQLite file to WAL mode; the mode stays')
      .option('--without-columns', 'leave our columns out of the old tables');
  const changing = (usage: string, description: string): Command =>
    ofTables(usage, description)
      .option('--backup <name>', 'what you would restore if all went wrong: a file, a snapshot')
      .option('--no-backup', 'go on without one');

  root
    .command('serve')
    .description('answer clients; sets an empty database up, leaves an old one as it is')
    .action(serve);
  verb('inspect', 'look at a database and change nothing').action(() =>
    withContext(json, {}, async (context) => {
      output(json, await inspect(context), print.inspection);
    }),
  );
  ofTables('plan', 'say what a changeover would do, need and meet; change nothing').action(
    (flags: TableFlags) =>
      withContext(json, flags, async (context) => {
        const { migrationsTable } = context;
        const withoutColumns = flags.withoutColumns === true;
        concludePlan(json, await plan(context, { migrationsTable, withoutColumns }));
      }),
  );
  changing('expand', 'add the new tables, and three nullable columns to the old ones').action(
    (flags: ExpandFlags) =>
      withContext(json, flags, async (context) => {
        const stage = await expand(context, expandOptions(context, flags));
        await settleMode(context, flags);
        output(json, { stage }, print.stage);
      }),
  );
  verb('backfill', 'copy all old rows; goes on where a run ended that was stopped').action(() =>
    withContext(json, {}, async (context) => {
      output(json, await backfill(context), print.backfill);
    }),
  );
  verb(
    'pause',
    'have the copy rest, whoever runs it; what the old app writes is applied on',
  ).action(() =>
    withContext(json, {}, (context) => wish(context, json, () => setPaused(context, true))),
  );
  verb('resume', 'have it go on').action(() =>
    withContext(json, {}, (context) => wish(context, json, () => setPaused(context, false))),
  );
  verb('rate', 'limit the copy')
    .argument('<rows>', 'rows a second, or off')
    .action((rows: string) =>
      withContext(json, {}, (context) =>
        wish(context, json, () => setRateLimit(context, parseRate(rows))),
      ),
    );
  verb('verify', 'compare every row of both sides')
    .option('--repair', 'make rows that differ anew from the old table, then compare again')
    .option('--sha256', 'hash all old rows in their canonical form, from both sides')
    .action((flags: VerifyOptions) =>
      withContext(json, {}, async (context) => {
        conclude(json, await verify(context, flags));
      }),
    );
  changing('migrate', 'expand, backfill and verify').action((flags: ExpandFlags) =>
    withContext(json, flags, async (context) => {
      await expand(context, expandOptions(context, flags));
      await settleMode(context, flags);
      await backfill(context);
      conclude(json, await verify(context));
    }),
  );
  verb('status', 'say where the changeover stands')
    .option('--watch', 'go on saying it, every second')
    .action(({ watch }: { watch?: true }) =>
      withContext(json, {}, async (context) => {
        if (watch === true) await watchStatus(context, json);
        else output(json, await status(context.database, context.mapping), print.status);
      }),
    );
  verb('cutover', 'say who of the old clients is answered from the new side')
    .option('--percent <n>', 'so many percent of all people, the same ones each time; 0: nobody')
    .option('--user <who>', 'one more person, by his id, phone number or username')
    .option('--off', 'with --user: no more than the percentage says')
    .option('--force', 'without a verification that stands; says what it ignores')
    .action((flags: CutoverFlags) =>
      withContext(json, {}, async (context) => {
        const wish = await cutoverWish(context, flags);
        output(
          json,
          await setCutover(context, wish, { force: flags.force === true }),
          print.cutover,
        );
      }),
    );
  const shadow = verb(
    'shadow',
    'compare a share of the old calls with the other side, after they were answered',
  )
    .option('--sample <percent>', 'so many percent of them, from 0 to 100; 0: none')
    .action(({ sample }: { sample?: string }) =>
      withContext(json, {}, async (context) => {
        if (sample === undefined)
          throw new SegueError(
            'BAD_USER_INPUT',
            "Say --sample PERCENT, or 'segue shadow report'. Nothing was changed.",
          );
        await setSample(context, parseSample(sample));
        output(json, await shadowReport(context), print.shadowReport);
      }),
    );
  shadow
    .command('report')
    .description('say what came of it, and show the differences')
    .addOption(new Option('--json', 'print one JSON object, for machines'))
    .action(() =>
      withContext(json, {}, async (context) => {
        output(json, await shadowReport(context), print.shadowReport);
      }),
    );
  shadow
    .command('explain')
    .argument('<id>', 'of the difference, as the report gives it')
    .argument('<reason>', 'why both answers are right')
    .description('say of a difference that it is known; holds until one of the answers changes')
    .addOption(new Option('--json', 'print one JSON object, for machines'))
    .action((id: string, reason: string) =>
      withContext(json, {}, async (context) => {
        await explainDifference(context, id, reason);
        output(json, await shadowReport(context), print.shadowReport);
      }),
    );
  shadow
    .command('forget')
    .description('begin to count anew')
    .addOption(new Option('--json', 'print one JSON object, for machines'))
    .action(() =>
      withContext(json, {}, async (context) => {
        await forgetDifferences(context);
        output(json, await shadowReport(context), print.shadowReport);
      }),
    );
  verb('contract', 'show what the last step waits for; and take it')
    .option('--retire', 'give the old table another name, while nothing is open; reversible')
    .option('--backup <name>', 'with --retire: what you would restore if all went wrong')
    .option('--old-app-is-gone <words>', `with --retire on SQLite: "${OLD_APP_IS_GONE}", typed`)
    .option('--drop', 'drop the old table under its other name: there is no way back')
    .option('--export <file>', 'with --drop: where all of its rows are written first')
    .option('--confirm <stage>', 'with --drop: CONTRACTED, typed')
    .option('--drop-columns', 'with --drop on SQLite: our columns of users too, under a lock')
    .action((flags: ContractFlags) =>
      withContext(json, {}, (context) => contract(context, json, flags)),
    );
  verb('rollback', 'go back to an earlier stage; what has no old form is kept, the rest taken away')
    .option('--to <stage>', 'LEGACY, EXPANDED, BACKFILLED, VERIFIED or COMPLETE', 'LEGACY')
    .option('--purge', 'drop our tables too, and on PostgreSQL our columns in the old ones')
    .option('--export <file>', 'with --purge: take along what has no form in the old tables')
    .option('--drop-columns', 'on SQLite, drop the columns too: writes two tables anew, locked')
    .action(({ to, purge, dropColumns, export: exportTo }: RollbackFlags) =>
      withContext(json, {}, async (context) => {
        const { migrationsTable } = context;
        const options = { to: parseTarget(to), purge, dropColumns, exportTo, migrationsTable };
        output(json, await rollback(context, options), print.rollback);
      }),
    );
  const quarantine = root
    .command('quarantine')
    .description('the old rows that could not be moved; old clients are still answered with them');
  quarantine
    .command('list')
    .description('print each with its reason')
    .addOption(new Option('--json', 'print one JSON array, for machines'))
    .action(() => withContext(json, {}, ({ database }) => printQuarantine(database, json)));
  quarantine
    .command('export')
    .description('print each with all that its old row holds, a JSON object a line')
    .action(() => withContext(json, {}, printExport));
  quarantine
    .command('sign-off')
    .argument('<id>', "the old row's id")
    .argument('<reason>', 'why it may be left behind with the old table')
    .description('say of a row that the contract step need not wait for it')
    .addOption(new Option('--json', 'print one JSON array, for machines'))
    .action((id: string, reason: string) =>
      withContext(json, {}, async (context) => {
        await signOff(context, id, reason);
        await printQuarantine(context.database, json);
      }),
    );
  quarantine
    .command('replay')
    .description('take up the rows that were mended in the old table, and try refused ones again')
    .addOption(new Option('--json', 'print one JSON object, for machines'))
    .action(() =>
      withContext(json, {}, async (context) => {
        output(json, await replayQuarantine(context), print.replay);
      }),
    );
  const operator = root
    .command('operator')
    .description('who may see the changeover and lead it, by the API');
  const named = (usage: string, description: string): Command =>
    operator
      .command(usage)
      .argument('<who>', "a user's id, phone number or username")
      .description(description)
      .addOption(new Option('--json', 'print one JSON object, for machines'));
  named('grant', 'make somebody an operator, for as long as he keeps his phone number').action(
    (who: string) =>
      withContext(json, {}, async (context) => {
        const account = await peopleOf(context).get(who);
        await new Operators(context.database, context.mapping).grant(account, context.who);
        output(json, { userId: account.id, isOperator: true }, print.operator);
      }),
  );
  named('revoke', 'take that back, at once').action((who: string) =>
    withContext(json, {}, async (context) => {
      const { id } = await peopleOf(context).get(who);
      const was = await new Operators(context.database, context.mapping).revoke(
        { id },
        context.who,
      );
      if (!was)
        throw new SegueError('NOT_FOUND', `User ${id} is no operator. Nothing was changed.`);
      output(json, { userId: id, isOperator: false }, print.operator);
    }),
  );
  root
    .command('token')
    .argument('<who>', "a user's id, phone number or username")
    .option('--create', 'make the user of an unknown phone number')
    .description('print an access token, alone on the last line')
    .action(async (who: string, { create }: { create?: true }) => {
      // As `serve`.
      const { printToken } = await import('./token.js');
      await printToken(readConfig(process.env), who, create === true);
    });
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

async function withContext(
  json: boolean,
  { wal }: Pick<TableFlags, 'wal'>,
  work: (context: CliContext) => Promise<void>,
): Promise<void> {
  const config: Config = readConfig(process.env);
  const schema = schemaOf(config.database.engine, config.mapping);
  const database = await openDatabase(config.database, schema, {
    switchToWal: wal === true,
    zone: config.legacyZone,
  });
  const bar = new ProgressBar(!json);
  try {
    await upgrade(database, schema);
    await work({
      database,
      mapping: config.mapping,
      who: whoRuns(),
      diskReserve: config.diskReserve,
      report: (progress) => {
        bar.show(progress);
      },
      migrationsTable: schema.migrationsTable,
      defaultCountry: config.defaultCountry,
      quietTime: config.quietTime,
    });
  } finally {
    bar.stop();
    await database.close();
  }
}

/** A user without an entry among the machine's has no name there. */
function whoRuns(): string {
  const user = process.env.SUDO_USER ?? process.env.USER ?? process.env.LOGNAME ?? 'somebody';
  return `${user}@${hostname()}`;
}

interface CliContext extends ChangeoverContext {
  readonly migrationsTable: string;
  readonly defaultCountry: Config['defaultCountry'];
  readonly quietTime: number;
}

/** Says where the changeover stands when the operator's wish is noted. */
async function wish(
  { database, mapping }: CliContext,
  json: boolean,
  note: () => Promise<void>,
): Promise<void> {
  await note();
  output(json, await status(database, mapping, { fromBooks: true }), print.status);
}

/** The mode is settled when something is written; asked for, it is settled in any case, once the checks are passed. */
async function settleMode({ database }: CliContext, { wal }: TableFlags): Promise<void> {
  if (wal === true) await database.transaction(() => Promise.resolve());
}

/** `--backup NAME` or `--no-backup`: one of them has to be said, before anything is changed. */
function expandOptions(
  { migrationsTable }: CliContext,
  { backup, withoutColumns }: ExpandFlags,
): ExpandOptions {
  // A name that looks like a flag is one: the name itself was forgotten, or a variable was empty.
  if (backup === undefined || backup === '' || (backup !== false && backup.startsWith('-')))
    throw new SegueError(
      'BAD_USER_INPUT',
      'Say --backup NAME, with the name of what you would restore, or --no-backup. Nothing was changed.',
    );
  return {
    backup: backup === false ? null : backup,
    migrationsTable,
    withoutColumns: withoutColumns === true,
  };
}

/** `--retire`, or `--drop`, or neither: then the gate is shown, and is no success while anything is open. */
async function contract(context: CliContext, json: boolean, flags: ContractFlags): Promise<void> {
  const { quietTime } = context;
  const assurances = { backup: flags.backup, oldAppIsGone: flags.oldAppIsGone };
  if (flags.retire === true && flags.drop === true)
    throw new SegueError(
      'BAD_USER_INPUT',
      'Say --retire or --drop: days should lie in between. Nothing was changed.',
    );
  if (flags.retire === true)
    output(json, await retire(context, quietTime, assurances), print.retired);
  else if (flags.drop === true) {
    if (flags.export === undefined)
      throw new SegueError(
        'BAD_USER_INPUT',
        '--drop needs --export FILE, where all rows of the old table are written first. Nothing was dropped.',
      );
    const dropped = await dropOldTable(context, quietTime, {
      exportTo: flags.export,
      confirm: flags.confirm,
      dropColumns: flags.dropColumns === true,
    });
    output(json, dropped, print.dropped);
  } else {
    const gate = await readGate(context, quietTime, assurances);
    output(json, { gate }, print.gate);
    const open = gate.filter(({ met }) => !met).length;
    if (open > 0)
      throw new SegueError(
        'GATE_CLOSED',
        `${open} of ${gate.length} conditions are open. Nothing was changed.`,
      );
  }
}

/** `--percent N`, or `--user WHO` and perhaps `--off`. */
async function cutoverWish(
  context: CliContext,
  { percent, user, off }: CutoverFlags,
): Promise<CutoverWish> {
  if ((percent === undefined) === (user === undefined) || (off === true && user === undefined))
    throw new SegueError(
      'BAD_USER_INPUT',
      'Say --percent N, or --user WHO, with --off to take that back. Nobody was moved.',
    );
  if (user === undefined) return { percent: parsePercent(percent ?? '') };
  return { userId: (await peopleOf(context).get(user)).id, isOn: off !== true };
}

function peopleOf({ database, mapping, defaultCountry }: CliContext): UsersService {
  return new UsersService(database, mapping, new PhoneNumbers(defaultCountry));
}

/** Page by page: a quarantine can be as long as the old table. */
async function printQuarantine(database: Database, json: boolean): Promise<void> {
  let opening = '[';
  for await (const page of listQuarantine(database)) {
    await write(
      json
        ? opening + page.map((row) => JSON.stringify(row)).join(',')
        : page.map(print.quarantined).join(''),
    );
    opening = ',';
  }
  const isEmpty = opening === '[';
  if (json) await write(isEmpty ? '[]\n' : ']\n');
  else if (isEmpty) await write('The quarantine is empty.\n');
}

/** A line a row, whatever it holds: the caller may be a pipe. */
async function printExport(context: ChangeoverContext): Promise<void> {
  for await (const page of exportQuarantine(context))
    await write(page.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

/** Waits for a reader that is slower than we are: what he has not read yet would fill the memory. */
async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

/** The plan is printed in any case: it shows what else there is besides the first problem. */
function concludePlan(json: boolean, found: Plan): void {
  output(json, found, printPlan);
  const [first, ...others] = found.problems;
  if (first === undefined) return;
  const more = others.length === 0 ? '' : ` (and ${others.length} more, see above)`;
  throw new SegueError(first.code, first.message + more);
}

function conclude(json: boolean, verification: Verification): void {
  output(json, verification, print.verification);
  if (verification.mismatches > 0)
    throw new SegueError(
      'NOT_VERIFIED',
      `${verification.mismatches} rows differ between the sides; the old side is as it was. ` +
        `The table changeover_mismatches lists the first ones; 'segue verify --repair' makes them anew from the old table, but for those of kind 'pending' or 'capture': run verify again, when who holds the lease has applied what waits. Whoever was cut over reads the side that differs: 'segue cutover --percent 0' takes them back at once.`,
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

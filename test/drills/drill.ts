import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Settler } from '../../src/changeover/settle.js';
import { getState, readState } from '../../src/changeover/stage.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { Database } from '../../src/database/database.js';
import type { EngineName } from '../../src/database/dialect.js';
import { irregularKinds } from '../../src/demo/irregular-rows.js';
import { generateLegacy, randomFrom } from '../../src/demo/legacy-generator.js';
import { OLD_APP_IS_GONE } from '../../src/changeover/gate.js';
import { listQuarantine, signOff } from '../../src/changeover/quarantine.js';
import type { Orders, Sent } from './killed-at.js';
import { KilledServer } from './killed-server.js';
import type { OldAppOrders, OldAppReport, Written } from './old-app.js';
import { type ClientReport, makePeople, People } from './people.js';
import { makePlace, type Place, withDatabase } from './place.js';
import {
  CLI,
  collect,
  environmentOf,
  exited,
  freePort,
  program,
  runCli,
  startOldApps,
  startServer,
} from './processes.js';

/** The statement that reads the rows of a batch; apply has one that begins as it does. */
const BATCH = String.raw`^INSERT INTO enhanced_messages .* SELECT o\.id, CASE `;

/** What a command says when another process is at work for a moment, or when one that was killed had done it all. */
const PASSING = /RUNNER_ACTIVE|LEASE_LOST|LOCK_TIMEOUT|another process|it is there already/;

const SECRET = 'the secret of a drill, which is long enough';

const OLD_APPS = 2;
const WRITES_PER_SECOND = 110;

/** Faults that the drill has to notice; each is put where a fault of ours would be. */
export const FAULTS = {
  'lost-entry': 'the entries of a second of writes are deleted unread',
  'checkpoint-ahead': 'the checkpoint of the backfill is set below rows that were not copied',
  'trigger-gone': 'a capture trigger is taken off for a while',
  'no-exclusion': 'rows are applied beside the batches, without the lease',
  'sent-lost':
    'in the whole drill: what a new client has sent goes, on both sides, without a trace',
} as const;

export type FaultName = keyof typeof FAULTS;

export interface DrillOptions {
  readonly engine: EngineName;
  /** How long the old apps write, in s, at least. */
  readonly seconds: number;
  /** Processes of ours that are killed, at least ten of them inside an open batch. */
  readonly kills: number;
  readonly seed: number;
  /** Rows of the old table in the beginning. */
  readonly rows: number;
  readonly postgresUrl: string;
  readonly fault?: FaultName | undefined;
  /** Goes on over the cutover, a rollback to LEGACY, forward again, and out of the old table, with clients at the server. */
  readonly isFull?: boolean;
  readonly say: (line: string) => void;
}

export interface DrillReport {
  readonly engine: EngineName;
  readonly seed: number;
  readonly rows: number;
  readonly seconds: number;
  /** Writes of the old apps that were acknowledged, and rows that they touched. */
  readonly writes: number;
  readonly touched: number;
  readonly writesPerSecond: number;
  readonly kills: number;
  /** Of them those after a batch's INSERT was acknowledged and before its COMMIT was sent. */
  readonly killsInBatch: number;
  readonly oldApps: readonly OldAppReport[];
  /** Clients of the server, where it was the whole drill. */
  readonly clients: { readonly newClients: ClientReport; readonly oldClients: ClientReport } | null;
  /** What went wrong; empty: each acknowledged write is on both sides, once, as it was written. */
  readonly failures: readonly string[];
}

/** Runs old apps on a database that is moved meanwhile by processes that are killed, and compares with their journals. */
export async function runDrill(options: DrillOptions): Promise<DrillReport> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-drill-'));
  const name = `segue_drill_${process.pid}_${options.seed}`;
  const place = await makePlace(options, name, folder);
  try {
    return await new Drill(options, folder, place).run();
  } finally {
    await place.drop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Full {
  readonly server: KilledServer;
  readonly people: People;
}

class Drill {
  private readonly failures: string[] = [];
  private readonly random: () => number;
  private kills = 0;
  private killsInBatch = 0;

  constructor(
    private readonly options: DrillOptions,
    private readonly folder: string,
    private readonly place: Place,
  ) {
    this.random = randomFrom(options.seed);
  }

  async run(): Promise<DrillReport> {
    const { engine, seed, rows, seconds, say, isFull = false } = this.options;
    await this.withDatabase((database) =>
      generateLegacy(database, DEFAULT_MAPPING, {
        messages: rows,
        seed,
        irregular: {
          share: 0.03,
          // Behind an id beyond 32 bits the old API, which old clients speak in the whole drill, cannot name a message.
          kinds: irregularKinds(engine).filter((kind) => !(isFull && kind === 'id-large')),
        },
      }),
    );
    await this.place.letIn();
    const untouched = await this.withDatabase((database) => this.oldRows(database));

    const began = performance.now();
    const apps = await startOldApps(Array.from({ length: OLD_APPS }, (_, n) => this.ordersOf(n)));
    // Alone first, to compare with.
    await sleep(Math.min(seconds * 150, 30_000));
    for (const { child } of apps) child.send('beside');
    say('the old apps write; moving in beside them');

    await this.cli('expand', '--no-backup');
    await this.plantWithoutExclusion();
    await this.killInBatches();
    await this.plant('checkpoint-ahead');
    await this.killServers();
    await this.untilBackfilled();
    await this.plant('trigger-gone');
    await this.plant('lost-entry');
    await this.cli('verify');
    const full = this.options.isFull === true ? await this.outAndBack() : null;
    const left = seconds * 1_000 - (performance.now() - began);
    const server = full?.server ?? (await this.startServer());
    await sleep(Math.max(left, 1_000));

    const reports = await Promise.all(
      apps.map(async (app) => {
        app.child.send('stop');
        return app.report;
      }),
    );
    const lasted = (performance.now() - began) / 1_000;
    const clients = full === null ? null : await this.endOf(full);
    await this.untilApplied();
    if (server instanceof KilledServer) await server.end();
    else {
      server.kill('SIGTERM');
      await exited(server);
    }
    await this.cli('verify');
    if (full !== null) await this.compareSent(full.people);
    for (const { errors } of reports)
      for (const error of errors.slice(0, 5)) this.failures.push(`an old app saw: ${error}`);
    const touched = await this.compare(untouched);
    if (full !== null) await this.contract(full.people);
    if (this.killsInBatch < this.wantedInBatch)
      this.failures.push(`only ${this.killsInBatch} kills were inside an open batch`);
    const writes = reports.reduce(
      (sum, { alone, beside }) => sum + alone.writes + beside.writes,
      0,
    );
    return {
      engine,
      seed,
      rows,
      seconds: Math.round(lasted),
      writes,
      touched,
      writesPerSecond: Math.round(writes / lasted),
      kills: this.kills,
      killsInBatch: this.killsInBatch,
      oldApps: reports,
      clients,
      failures: this.failures,
    };
  }

  /**
   * The rest of the way, with clients at a server that is killed all the while: over to the new side, all the way back, with
   * each of the commands killed in its midst and run again, and forward once more.
   */
  private async outAndBack(): Promise<Full> {
    const { say, kills } = this.options;
    await this.withDatabase(makePeople);
    const port = await freePort();
    const server = new KilledServer({ ...this.environment, PORT: String(port) }, this.random);
    await server.begin();
    const people = new People(`http://127.0.0.1:${port}`, SECRET, this.journalOf(OLD_APPS));
    people.begin();
    const before = this.kills;
    for (let round = 1; ; round += 1) {
      await this.cli('shadow', '--sample', '100');
      for (const percent of ['30', '100']) {
        await this.cli('cutover', '--percent', percent, '--force');
        await sleep(1_500);
      }
      say(`round ${round}: everybody is on the new side; back to LEGACY`);
      await this.killed('rollback', '--to', 'LEGACY');
      await sleep(1_500);
      if (round === 1) await this.plant('sent-lost');
      say(`round ${round}: forward again`);
      await this.killed('migrate', '--no-backup');
      this.kills = before + this.commandsKilled + server.kills;
      if (this.kills >= kills) break;
    }
    await server.stopKilling();
    this.kills = before + this.commandsKilled + server.kills;
    say(`${this.kills} processes were killed in all`);
    return { server, people };
  }

  private commandsKilled = 0;

  /** Runs a command that is killed at a random moment, again and again, and then to its end. */
  private async killed(...args: string[]): Promise<void> {
    for (let n = 1; n <= 2; n += 1) {
      const child = spawn(process.execPath, [CLI, ...args], {
        env: this.environment,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const output = collect(child);
      const timer = setTimeout(() => child.kill('SIGKILL'), 300 + this.random() * 1_200);
      const { signal, code } = await exited(child);
      clearTimeout(timer);
      if (signal === 'SIGKILL') this.commandsKilled += 1;
      else if (code === 0) return;
      else if (!PASSING.test(await output))
        this.failures.push(`segue ${args.join(' ')}: ${await output}`);
    }
    for (;;) {
      const failure = await runCli(this.environment, ...args);
      if (failure === null) return;
      if (failure.includes('it is there already')) return;
      if (!PASSING.test(failure)) {
        this.failures.push(failure);
        return;
      }
      await sleep(200);
    }
  }

  /** Everybody is on the new side, and nobody writes any more. */
  private async endOf({ people }: Full): Promise<DrillReport['clients']> {
    const clients = await people.stop();
    await people.readAll();
    await this.untilApplied();
    await this.cli('cutover', '--percent', '100', '--force');
    for (const [who, { errors }] of Object.entries(clients))
      for (const error of errors.slice(0, 5)) this.failures.push(`${who} saw: ${error}`);
    return clients;
  }

  /** Each message that was acknowledged is on the new side once, under its client's id. */
  private async compareSent({ sent }: People): Promise<void> {
    await this.withDatabase(async ({ reader }) => {
      const rows = await reader.all<{ clientId: string; id: string; text: string }>(
        `SELECT client_id AS "clientId", CAST(id AS text) AS id, text FROM enhanced_messages WHERE client_id IS NOT NULL`,
      );
      const found = new Map(rows.map(({ clientId, id }) => [clientId, `msg_${id}`]));
      const wrong = [...sent].filter(([clientId, { id }]) => found.get(clientId) !== id);
      if (wrong.length > 0)
        this.failures.push(
          `${wrong.length} messages of new clients are not there under their clients' ids, the first is ${String(wrong[0]?.[0])}`,
        );
      if (new Set(rows.map(({ text }) => text)).size !== rows.length)
        this.failures.push('a message of a new client is there twice');
    });
  }

  /** Out of the old table, half of the way back, and out for good. */
  private async contract(people: People): Promise<void> {
    const before = await this.withDatabase(async (database) => {
      const context = { database, mapping: DEFAULT_MAPPING, report: () => undefined, who: 'drill' };
      for await (const page of listQuarantine(database))
        for (const { legacyId } of page) await signOff(context, legacyId, 'made by the drill');
      return (await this.oldRows(database)).size;
    });
    await sleep(2_000);
    const retire = ['contract', '--retire', '--backup', 'none'];
    await this.cli(...retire, '--old-app-is-gone', OLD_APP_IS_GONE);
    await this.cli('rollback', '--to', 'COMPLETE');
    await this.cli('verify');
    await this.cli(...retire, '--old-app-is-gone', OLD_APP_IS_GONE);
    await sleep(1_500);
    const file = join(this.folder, 'old.jsonl');
    await this.cli('contract', '--drop', '--export', file, '--confirm', 'CONTRACTED');
    const lines = existsSync(file)
      ? (await readFile(file, 'utf8')).trimEnd().split('\n').length
      : 0;
    if (lines !== before)
      this.failures.push(`${lines} of ${before} old rows stand in the exported file`);
    await this.compareSent(people);
  }

  /**
   * Backfills that kill themselves when the INSERT of a batch was acknowledged, before anything else is sent: the
   * transaction is open then, with all rows of the batch in it. Each says what it sent, so that nobody has to guess.
   */
  private async killInBatches(): Promise<void> {
    while (this.killsInBatch < this.wantedInBatch) {
      // Hardly ever past the first batches: there have to be rows left for all kills.
      const { child, output } = this.startKilled('SIGKILL', this.random() < 0.8 ? 1 : 2);
      const { signal } = await exited(child);
      if (signal !== 'SIGKILL')
        throw new Error(`The backfill was over before it was killed: ${await output}`);
      this.kills += 1;
      const last = JSON.parse((await output).trimEnd().split('\n').at(-1) ?? '{}') as Sent;
      if (last.inTransaction && new RegExp(BATCH, 's').test(last.sql)) this.killsInBatch += 1;
    }
    this.options.say(`${this.killsInBatch} backfills were killed inside an open batch`);
  }

  /** A backfill that sends itself a signal when it has read the rows of its n-th batch. */
  private startKilled(
    signal: Orders['signal'],
    at: number,
  ): { child: ChildProcess; output: Promise<string>; stopped: Promise<void> } {
    const child = spawn(process.execPath, [program('killed-at')], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const stopped = new Promise<void>((resolve) => {
      child.stdout?.on('data', (chunk) => {
        if (String(chunk).includes('SIGSTOP')) resolve();
      });
    });
    const orders: Orders = {
      url: this.place.url,
      step: 'backfill',
      of: BATCH,
      at,
      when: 'done',
      signal,
    };
    child.send(orders);
    return { child, output: collect(child), stopped };
  }

  /** Servers that go on with the backfill and apply, each killed at a random moment. */
  private async killServers(): Promise<void> {
    await this.cli('rate', String(Math.max(Math.round(this.options.rows / 20), 200)));
    // In the whole drill most of them come later.
    const most = this.options.kills * (this.options.isFull === true ? 0.4 : 1);
    while (this.kills < most) {
      const server = await this.startServer();
      await sleep(this.random() * 1_500);
      server.kill('SIGKILL');
      await exited(server);
      this.kills += 1;
    }
    if ((await this.withDatabase(readState)).stage === 'BACKFILLING') await this.cli('rate', 'off');
    this.options.say(`${this.kills} processes were killed in all`);
  }

  /** One alone where a fault is planted, of which kills say nothing. */
  private get wantedInBatch(): number {
    const share = this.options.isFull === true ? 0.2 : 0.6;
    return this.options.fault === undefined
      ? Math.max(10, Math.ceil(this.options.kills * share))
      : 1;
  }

  private async untilBackfilled(): Promise<void> {
    const server = await this.startServer();
    await this.until(async (database) => (await readState(database)).stage !== 'BACKFILLING');
    server.kill('SIGTERM');
    await exited(server);
  }

  private async untilApplied(): Promise<void> {
    await this.until(
      async (database) =>
        (await database.reader.all('SELECT 1 AS one FROM changeover_queue LIMIT 1')).length === 0,
    );
  }

  private async until(holds: (database: Database) => Promise<boolean>): Promise<void> {
    await this.withDatabase(async (database) => {
      const deadline = Date.now() + 120_000;
      while (!(await holds(database))) {
        if (Date.now() > deadline) throw new Error('The servers did not get there in two minutes');
        await sleep(100);
      }
    });
  }

  private async plant(fault: FaultName): Promise<void> {
    if (this.options.fault !== fault) return;
    this.options.say(`planted: ${FAULTS[fault]}`);
    // No server runs: what the old apps write meanwhile waits in the queue.
    if (fault === 'lost-entry') await sleep(1_000);
    await this.withDatabase(async (database) => {
      const { dialect } = database;
      await database.transaction(async (transaction) => {
        if (fault === 'checkpoint-ahead')
          await transaction.run('UPDATE changeover_state SET done_above = done_above - 50');
        if (fault === 'lost-entry') await transaction.run('DELETE FROM changeover_queue');
        if (fault === 'sent-lost') {
          const one = `SELECT max(id) FROM enhanced_messages WHERE client_id IS NOT NULL`;
          await transaction.run(`DELETE FROM messages WHERE id = (${one})`);
          await transaction.run(`DELETE FROM changeover_queue WHERE legacy_id = (${one})`);
          await transaction.run(`DELETE FROM enhanced_messages WHERE id = (${one})`);
        }
        if (fault === 'trigger-gone')
          for (const statement of dialect.dropCapture('messages', 'segue_capture_messages_update'))
            await transaction.run(statement);
      });
    });
    if (fault === 'trigger-gone') await sleep(1_000);
  }

  /**
   * As if apply and batches did not keep each other out: a batch is stopped when it has read its rows, the old app
   * deletes one of them, apply finds no copy and drops the entry, and the batch commits a message that is gone.
   */
  private async plantWithoutExclusion(): Promise<void> {
    if (this.options.fault !== 'no-exclusion') return;
    this.options.say(`planted: ${FAULTS['no-exclusion']}`);
    const id = String(this.options.rows * 2);
    const write = (sql: string): Promise<unknown> =>
      this.withDatabase((database) => database.transaction((transaction) => transaction.run(sql)));
    await write(
      `INSERT INTO messages (id, sender_id, recipient_id, content) VALUES (${id}, 1, 2, 'to go')`,
    );
    // It rests after that batch, for as long as it takes to be ended: there have to be rows left for what follows.
    await this.cli('rate', '500');
    const batch = this.startKilled('SIGSTOP', 1);
    await batch.stopped;
    await write(`DELETE FROM messages WHERE id = ${id}`);
    appendFileSync(
      this.journalOf(OLD_APPS),
      `${JSON.stringify({ id, row: null } satisfies Written)}\n`,
    );
    await this.withDatabase((database) =>
      database.transaction(async (transaction) => {
        const settler = new Settler(database.dialect, DEFAULT_MAPPING);
        await settler.settle(transaction, await getState(transaction), [id], 'changed');
        await transaction.run(`DELETE FROM changeover_queue WHERE legacy_id = ${id}`);
      }),
    );
    batch.child.kill('SIGCONT');
    await this.until(async (database) => (await readState(database)).migrated > 0);
    batch.child.kill('SIGKILL');
    await exited(batch.child);
    await this.cli('rate', 'off');
  }

  /** Compares both sides with the journals; returns the number of rows in them. */
  private async compare(untouched: ReadonlyMap<string, string>): Promise<number> {
    const journal = new Map<string, Written['row']>();
    for (let n = 0; n <= OLD_APPS; n += 1)
      for (const line of (await this.readJournal(n)).trimEnd().split('\n')) {
        if (line === '') continue;
        const { id, row } = JSON.parse(line) as Written;
        journal.set(id, row);
      }
    await this.withDatabase(async (database) => {
      const found = { old: 0, new: 0, row: 0 };
      const old = await this.rowsOf(
        database,
        'SELECT CAST(id AS text) AS id, content, status FROM messages',
      );
      const copies = await this.rowsOf(
        database,
        `SELECT CAST(legacy_message_id AS text) AS id, text AS content,
           CASE status WHEN 1 THEN 'sent' WHEN 2 THEN 'delivered' WHEN 3 THEN 'read' END AS status
         FROM enhanced_messages WHERE legacy_message_id IS NOT NULL`,
      );
      const quarantined = await this.rowsOf(
        database,
        `SELECT CAST(legacy_id AS text) AS id, NULL AS content, NULL AS status FROM changeover_quarantine`,
      );
      for (const [id, row] of journal) {
        const expected = row === null ? [] : [JSON.stringify([row.content, row.status])];
        if (JSON.stringify(old.get(id) ?? []) !== JSON.stringify(expected)) found.old += 1;
        // A row without a thread was edited and has none still: it is answered from the old table.
        const onNewSide = quarantined.has(id) && !copies.has(id) ? expected : copies.get(id);
        if (JSON.stringify(onNewSide ?? []) !== JSON.stringify(expected)) found.new += 1;
        if (quarantined.has(id) && row === null) found.new += 1;
      }
      const now = await this.oldRows(database);
      for (const [id, row] of untouched)
        if (!journal.has(id) && now.get(id) !== row) found.row += 1;
      if (found.old > 0)
        this.failures.push(`${found.old} acknowledged writes are not in the old table as written`);
      if (found.new > 0)
        this.failures.push(
          `${found.new} acknowledged writes are not on the new side, once, as written`,
        );
      if (found.row > 0) this.failures.push(`${found.row} old rows changed that nobody wrote`);
      const state = await readState(database);
      const expected = this.options.isFull === true ? 'COMPLETE' : 'VERIFIED';
      if (state.stage !== expected) this.failures.push(`the stage is ${state.stage} in the end`);
      if (state.bypassed > 0)
        this.failures.push(`${state.bypassed} rows had to be found by the rolling compare`);
      const [voided] = await database.reader.all<{ by: string | null }>(
        'SELECT voided_by AS by FROM changeover_state',
      );
      if (voided?.by != null) this.failures.push(`certificates were void: ${voided.by}`);
    });
    return journal.size;
  }

  private async rowsOf(database: Database, sql: string): Promise<Map<string, string[]>> {
    const rows = new Map<string, string[]>();
    for (const { id, content, status } of await database.reader.all<Record<string, string>>(sql))
      rows.set(String(id), [...(rows.get(String(id)) ?? []), JSON.stringify([content, status])]);
    return rows;
  }

  /** All of each old row, as text. */
  private async oldRows(database: Database): Promise<Map<string, string>> {
    const { dialect } = database;
    const columns = Object.entries(DEFAULT_MAPPING.messages.columns).filter(
      ([name]) => name !== 'conversationId',
    );
    const rows = await database.reader.all<{ id: string; line: string }>(
      `SELECT CAST(id AS text) AS id, ${columns.map(([, column]) => dialect.canonicalOf(dialect.name(column))).join(` || '|' || `)} AS line FROM messages`,
    );
    return new Map(rows.map(({ id, line }) => [id, line]));
  }

  private ordersOf(number: number): OldAppOrders {
    return {
      url: this.place.oldAppUrl,
      journal: this.journalOf(number),
      number,
      of: OLD_APPS,
      people: 10,
      seed: this.options.seed + number,
      writesPerSecond: WRITES_PER_SECOND,
    };
  }

  private async readJournal(number: number): Promise<string> {
    const path = this.journalOf(number);
    return existsSync(path) ? readFile(path, 'utf8') : '';
  }

  private journalOf(number: number): string {
    return join(this.folder, `journal-${number}`);
  }

  private get environment(): NodeJS.ProcessEnv {
    return {
      ...environmentOf(this.place, this.folder),
      JWT_SECRET: SECRET,
      RATE_LIMIT: 'off',
      CONTRACT_QUIET_DAYS: '0.00001',
    };
  }

  /** Runs the command line to its end; that it fails is a failure of the drill. */
  private async cli(...args: string[]): Promise<void> {
    const failure = await runCli(this.environment, ...args);
    if (failure !== null) this.failures.push(failure);
  }

  private async startServer(): Promise<ChildProcess> {
    return startServer({ ...this.environment, PORT: String(await freePort()) });
  }

  private withDatabase<Result>(work: (database: Database) => Promise<Result>): Promise<Result> {
    return withDatabase(this.place.url, work);
  }
}

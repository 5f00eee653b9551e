import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { issueToken } from '../../src/auth/tokens.service.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { EngineName } from '../../src/database/dialect.js';
import { generateLegacy, randomFrom } from '../../src/demo/legacy-generator.js';
import { globalId } from '../../src/graphql/global-ids.js';
import { compare, type Findings, membersOf, missingOf, State } from './chaos-checks.js';
import { askOverHttp, type Person, Reader, Writer } from './chaos-clients.js';
import { CHAOS_FAULTS, type ChaosFault } from './chaos-faults.js';
import { Proxy } from './chaos-proxy.js';
import type { OldAppOrders } from './old-app.js';
import { makePlace, type Place, withDatabase } from './place.js';
import {
  CLI,
  environmentOf,
  exited,
  freePort,
  program,
  runCli,
  type RunningOldApp,
  startOldApps,
  startServer,
} from './processes.js';

const SECRET = 'the secret of the chaos, long enough for HS256';

/** People who write and read; the old app writes between the same ones. */
const PEOPLE = 4;
const OLD_APP_WRITES_PER_SECOND = 8;

/** How long what was begun may take to come to its end after all torment, in ms: this only ends what hangs. */
const SETTLE_MS = 120_000;

export interface ChaosOptions {
  readonly engine: EngineName;
  /** For how long the server is tormented while it listens, in s, about. */
  readonly seconds: number;
  readonly kills: number;
  readonly seed: number;
  /** Rows of the old table in the beginning. */
  readonly rows: number;
  readonly postgresUrl: string;
  readonly fault?: ChaosFault | undefined;
  readonly say: (line: string) => void;
}

/** What was done to the server and to its connections. */
type Torment = 'kill' | 'stop' | 'cut' | 'stall' | 'halve' | 'terminate';

export interface ChaosReport {
  readonly engine: EngineName;
  readonly seed: number;
  readonly seconds: number;
  readonly torments: Readonly<Record<Torment, number>>;
  /** Messages that were acknowledged, and sends that had to be tried again. */
  readonly acknowledged: number;
  readonly retries: number;
  /** Events that readers got, and how often they came back. */
  readonly told: number;
  readonly resumes: number;
  readonly lost: number;
  readonly doubled: number;
  readonly outOfOrder: number;
  readonly wronglyTold: number;
  readonly resyncs: number;
  /** Of the old app, which may be one whose lock a stopped server held. */
  readonly oldApp: { readonly writes: number; readonly errors: number };
  /** What went wrong; empty: nothing. */
  readonly failures: readonly string[];
}

/** Torments one server under writers and readers that come back, and compares their journals with the database. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = await mkdtemp(join(tmpdir(), 'segue-chaos-'));
  const place = await makePlace(options, `segue_chaos_${process.pid}_${options.seed}`, folder);
  try {
    return await new Chaos(options, folder, place).run();
  } finally {
    await place.drop();
    await rm(folder, { recursive: true, force: true });
  }
}

class Chaos {
  private readonly failures: string[] = [];
  private readonly random: () => number;
  private readonly torments = { kill: 0, stop: 0, cut: 0, stall: 0, halve: 0, terminate: 0 };
  private readonly environment: NodeJS.ProcessEnv;
  private server: ChildProcess | null = null;
  private port = 0;
  private firstMembers: ReadonlySet<string> = new Set();

  constructor(
    private readonly options: ChaosOptions,
    private readonly folder: string,
    private readonly place: Place,
  ) {
    this.random = randomFrom(options.seed);
    // Nothing is left behind when this process fails.
    process.once('exit', () => this.server?.kill('SIGKILL'));
    this.environment = {
      ...environmentOf(place, folder),
      JWT_SECRET: SECRET,
      ...(options.fault === undefined ? {} : { CHAOS_FAULT: options.fault }),
    };
  }

  async run(): Promise<ChaosReport> {
    const { engine, seed, seconds, fault, say } = this.options;
    const people = await this.moveIn();
    this.port = await freePort();
    await this.start();
    const proxy = await Proxy.to(this.port);
    try {
      const [writers, readers] = await this.clients(people, proxy.port);
      const [oldApp] = (await startOldApps([this.oldAppOrders])) as [RunningOldApp];
      const written = writers.map((writer) => writer.run());
      const read = readers.map((reader) => reader.run());
      if (fault !== undefined) say(`planted: ${CHAOS_FAULTS[fault]}`);
      say('clients write and read; tormenting the server');
      await this.torment(proxy);
      say('letting everything come to its end');
      proxy.heal();
      for (const reader of readers) reader.calm();
      for (const writer of writers) writer.stop();
      await within(SETTLE_MS, Promise.all(written));
      for (const writer of writers) writer.giveUp();
      await Promise.all(written);
      oldApp.child.send('stop');
      const report = await oldApp.report;
      await this.untilTold(readers);
      for (const reader of readers) reader.stop();
      await Promise.all(read);
      await this.end();
      const failure = await runCli(this.environment, 'verify');
      if (failure !== null) this.failures.push(failure);
      const findings = await withDatabase(this.place.url, async (database) =>
        compare(await State.read(database, this.firstMembers), writers, readers),
      );
      this.judge(findings, writers, readers);
      return {
        engine,
        seed,
        seconds,
        torments: this.torments,
        acknowledged: sumOf(
          writers,
          ({ journal }) => journal.filter(({ answers }) => answers.length > 0).length,
        ),
        retries: sumOf(writers, ({ retries }) => retries),
        told: sumOf(readers, ({ journal }) => journal.length),
        resumes: sumOf(readers, ({ breaks }) => breaks),
        lost: findings.lost.length,
        doubled: findings.doubled.length,
        outOfOrder: findings.outOfOrder.length,
        wronglyTold: findings.wronglyTold.length,
        resyncs: findings.resyncs,
        oldApp: { writes: report.beside.writes, errors: report.errors.length },
        failures: this.failures,
      };
    } finally {
      await proxy.close();
      this.server?.kill('SIGKILL');
    }
  }

  /** Makes an old database and moves into it. */
  private async moveIn(): Promise<Person[]> {
    const { rows, seed } = this.options;
    await withDatabase(this.place.url, (database) =>
      generateLegacy(database, DEFAULT_MAPPING, {
        messages: rows,
        seed,
        irregular: { share: 0.03 },
      }),
    );
    await this.place.letIn();
    const failure = await runCli(this.environment, 'migrate', '--no-backup');
    if (failure !== null) throw new Error(failure);
    this.firstMembers = await withDatabase(this.place.url, membersOf);
    const { table, columns } = DEFAULT_MAPPING.users;
    const accounts = await withDatabase(this.place.url, ({ reader }) =>
      reader.all<{ id: string; phone: string }>(
        `SELECT CAST(${columns.id} AS text) AS id, ${columns.phone} AS phone FROM ${table} WHERE ${columns.id} <= ${PEOPLE} ORDER BY ${columns.id}`,
      ),
    );
    return Promise.all(
      accounts.map(async (account) => ({
        id: account.id,
        token: await issueToken(account, SECRET),
      })),
    );
  }

  /** Each pair of people, and a group of three of them, of which the fourth one hears nothing. */
  private async clients(
    people: readonly Person[],
    port: number,
  ): Promise<[writers: Writer[], readers: Reader[]]> {
    const rooms = new Map<string, string[]>(people.map(({ id }) => [id, []]));
    for (const [n, one] of people.entries())
      for (const other of people.slice(n + 1)) {
        const { startDirectConversation: made } = await this.ask<{
          startDirectConversation: { id: string };
        }>(one, 'mutation ($userId: ID!) { startDirectConversation(userId: $userId) { id } }', {
          userId: globalId('User', other.id),
        });
        for (const { id } of [one, other]) rooms.get(id)?.push(made.id);
      }
    const [first, ...others] = people;
    if (first === undefined) throw new Error('There is nobody');
    const inGroup = others.slice(0, 2);
    const { createGroup: group } = await this.ask<{ createGroup: { id: string } }>(
      first,
      'mutation ($input: CreateGroupInput!) { createGroup(input: $input) { id } }',
      { input: { participantIds: inGroup.map(({ id }) => globalId('User', id)), name: 'three' } },
    );
    for (const { id } of [first, ...inGroup]) rooms.get(id)?.push(group.id);

    const writers = people.map(
      (person, n) =>
        new Writer({
          number: n,
          person,
          conversations: rooms.get(person.id) ?? [],
          door: n % 2 === 0 ? 'http' : 'socket',
          port,
          random: this.ownRandom(),
        }),
    );
    const { eventCursor: cursor } = await this.ask<{ eventCursor: string }>(
      first,
      '{ eventCursor }',
    );
    const habits = ['steady', 'cuts', 'stalls', 'steady', 'cuts', 'cuts'] as const;
    const readers = habits.map((habit, n) => {
      const person = people[n % people.length] ?? first;
      const stallMs = Math.min(this.options.seconds * 150, 25_000);
      return new Reader({ person, port, habit, stallMs, random: this.ownRandom(), cursor });
    });
    return [writers, readers];
  }

  /** Numbers for one client alone: what the others draw changes nothing for him. */
  private ownRandom(): () => number {
    return randomFrom(Math.floor(this.random() * 2 ** 32));
  }

  /** Of a server that nobody torments yet. */
  private async ask<Data>(
    person: Person,
    query: string,
    variables: Record<string, unknown> = {},
  ): Promise<Data> {
    const answer = await askOverHttp<Data>(this.port, person, query, variables);
    if ('code' in answer) throw new Error(`${query}: ${answer.code}: ${answer.message}`);
    return answer.data;
  }

  private get oldAppOrders(): OldAppOrders {
    return {
      url: this.place.oldAppUrl,
      journal: join(this.folder, 'journal'),
      number: 0,
      of: 1,
      people: PEOPLE,
      seed: this.options.seed,
      writesPerSecond: OLD_APP_WRITES_PER_SECOND,
    };
  }

  /** All kills, and between them something else about each second, in an order of the seed's. */
  private async torment(proxy: Proxy): Promise<void> {
    const { engine, seconds, kills } = this.options;
    const others: readonly Exclude<Torment, 'kill'>[] = [
      ...(['cut', 'cut', 'cut', 'stall', 'stall', 'halve', 'halve', 'stop'] as const),
      ...(engine === 'postgres' ? (['terminate', 'terminate'] as const) : []),
    ];
    // Of the time that it listens: how long it takes to start is the machine's.
    const every = (seconds * 1_000) / (kills + 1);
    for (let n = 0; n <= kills; n += 1) {
      const until = performance.now() + every * (0.7 + this.random() * 0.6);
      while (performance.now() < until) {
        await sleep(Math.min(this.random() * 1_500, Math.max(until - performance.now(), 0)));
        if (performance.now() < until)
          await this.do(others[Math.floor(this.random() * others.length)] ?? 'cut', proxy);
      }
      if (n < kills) await this.kill();
    }
  }

  private async do(what: Exclude<Torment, 'kill'>, proxy: Proxy): Promise<void> {
    this.torments[what] += 1;
    if (what === 'stop') {
      this.server?.kill('SIGSTOP');
      await sleep(500 + this.random() * Math.min(this.options.seconds * 80, 6_000));
      this.server?.kill('SIGCONT');
      return;
    }
    if (what === 'terminate') return this.terminate();
    const link = proxy.pick(this.random);
    if (link === null) return;
    if (what === 'cut') proxy.cut(link);
    if (what === 'halve') proxy.halve(link, this.random() < 0.5 ? 'client' : 'server');
    if (what === 'stall') {
      proxy.stall(link);
      const lasts = this.random() * 5_000;
      // Meanwhile the rest goes on.
      setTimeout(() => {
        proxy.goOn(link);
      }, lasts).unref();
    }
  }

  /** Ends about half of the server's connections to PostgreSQL; the old app has a role of its own. */
  private async terminate(): Promise<void> {
    const client = new pg.Client({ connectionString: this.place.url });
    await client.connect();
    try {
      const { rows } = await client.query<{ pid: number }>(
        'SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() ORDER BY pid',
      );
      for (const { pid } of rows)
        if (this.random() < 0.5) await client.query('SELECT pg_terminate_backend($1)', [pid]);
    } finally {
      await client.end();
    }
  }

  /** Kills the server and starts it again at once. */
  private async kill(): Promise<void> {
    const { server } = this;
    this.server = null;
    server?.kill('SIGKILL');
    if (server !== null) await exited(server);
    this.torments.kill += 1;
    await this.start();
  }

  private async start(): Promise<void> {
    const script = this.options.fault === undefined ? CLI : program('faulty-server');
    const server = await startServer({ ...this.environment, PORT: String(this.port) }, script);
    this.server = server;
    server.once('exit', (code, signal) => {
      if (this.server === server)
        this.failures.push(`the server ended by itself: ${String(code ?? signal)}`);
    });
  }

  private async end(): Promise<void> {
    const { server } = this;
    this.server = null;
    server?.kill('SIGTERM');
    if (server !== null) await exited(server);
  }

  /** Until what the old app wrote was applied, and each reader was told of everything; or else it is missing. */
  private untilTold(readers: readonly Reader[]): Promise<void> {
    return withDatabase(this.place.url, async (database) => {
      const deadline = performance.now() + SETTLE_MS;
      for (;;) {
        const queue = await database.reader.all('SELECT 1 AS one FROM changeover_queue LIMIT 1');
        if (queue.length === 0) {
          const state = await State.read(database, this.firstMembers);
          if (readers.every((reader) => missingOf(state, reader).length === 0)) return;
        }
        if (performance.now() > deadline) return;
        // Of a fault that was planted nothing more comes.
        if (this.options.fault !== undefined && performance.now() > deadline - SETTLE_MS + 8_000)
          return;
        await sleep(300);
      }
    });
  }

  private judge(
    { lost, doubled, outOfOrder, wronglyTold, resyncs }: Findings,
    writers: readonly Writer[],
    readers: readonly Reader[],
  ): void {
    for (const [what, found] of Object.entries({ lost, doubled, outOfOrder, wronglyTold }))
      if (found.length > 0)
        this.failures.push(`${what}: ${found.length}: ${found.slice(0, 5).join('; ')}`);
    if (resyncs > 0) this.failures.push(`${resyncs} readers were told to begin anew`);
    const open = writers.flatMap(({ journal }) =>
      journal.filter(({ answers }) => answers.length === 0),
    );
    if (open.length > 0) this.failures.push(`${open.length} messages were never acknowledged`);
    for (const { unexpected } of [...writers, ...readers])
      this.failures.push(...[...new Set(unexpected)].slice(0, 5));
  }
}

/** Waits for work, but no longer. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const late = new AbortController();
  await Promise.race([work, sleep(ms, undefined, { signal: late.signal }).catch(() => undefined)]);
  late.abort();
}

function sumOf<Item>(items: readonly Item[], valueOf: (item: Item) => number): number {
  return items.reduce((sum, item) => sum + valueOf(item), 0);
}

import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import sqlite3 from 'sqlite3';
import { randomFrom } from '../../src/demo/legacy-generator.js';

/**
 * An old app: it knows nothing of us, writes raw SQL into the old tables, and journals each write once it was
 * acknowledged. It alone writes the rows whose id leaves its number when divided by the number of old apps, and those
 * that it makes. On PostgreSQL it has a role of its own without rights on our tables, and reads lastval().
 *
 * Waits for its orders on the channel to its parent, says when it has read which rows are its own, and begins when it is
 * told "begin": until then no other old app may make rows, which would be taken for some of the first. `beside` begins a
 * new set of latencies, `stop` ends it.
 */

export interface OldAppOrders {
  readonly url: string;
  readonly journal: string;
  readonly number: number;
  readonly of: number;
  /** It writes between the first so many people, and in the first so many groups. */
  readonly people: number;
  readonly seed: number;
  readonly writesPerSecond: number;
}

/** What a row of the old table must be, as the last acknowledged write left it. */
export interface Written {
  readonly id: string;
  /** null: deleted. */
  readonly row: { readonly content: string; readonly status: string } | null;
}

export interface Latencies {
  readonly writes: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface OldAppReport {
  readonly alone: Latencies;
  readonly beside: Latencies;
  readonly errors: readonly string[];
}

interface Connection {
  run(sql: string, ...values: unknown[]): Promise<void>;
  /** The id of the row that an INSERT made. */
  insert(sql: string, ...values: unknown[]): Promise<string>;
  all(sql: string): Promise<Record<string, unknown>[]>;
  readonly begin: string;
  close(): Promise<void>;
}

async function connectSqlite(path: string): Promise<Connection> {
  const database = await new Promise<sqlite3.Database>((resolve, reject) => {
    const opened: sqlite3.Database = new sqlite3.Database(path, sqlite3.OPEN_READWRITE, (error) => {
      if (error === null) resolve(opened);
      else reject(error);
    });
  });
  const run = (sql: string, values: readonly unknown[]): Promise<void> =>
    new Promise((resolve, reject) => {
      database.run(sql, values, (error: Error | null) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  const all = (sql: string): Promise<Record<string, unknown>[]> =>
    new Promise((resolve, reject) => {
      database.all(sql, (error: Error | null, rows: Record<string, unknown>[]) => {
        if (error === null) resolve(rows);
        else reject(error);
      });
    });
  database.configure('busyTimeout', 1_000);
  return {
    run: (sql, ...values) => run(sql, values),
    insert: async (sql, ...values) => {
      await run(sql, values);
      // As text: it may lie beyond 2^53.
      const [made] = await all('SELECT CAST(last_insert_rowid() AS TEXT) AS id');
      return String(made?.id);
    },
    all,
    begin: 'BEGIN IMMEDIATE',
    close: () =>
      new Promise((resolve, reject) => {
        database.close((error) => {
          if (error === null) resolve();
          else reject(error);
        });
      }),
  };
}

async function connectPostgres(url: string): Promise<Connection> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const numbered = (sql: string): string => {
    let place = 0;
    return sql.replaceAll('?', () => `$${(place += 1)}`);
  };
  return {
    run: async (sql, ...values) => {
      await client.query(numbered(sql), values);
    },
    insert: async (sql, ...values) => {
      const made = await client.query<{ id: string }>(`${numbered(sql)} RETURNING id`, values);
      const last = await client.query<{ id: string }>('SELECT lastval() AS id');
      const id = String(made.rows[0]?.id);
      if (String(last.rows[0]?.id) !== id)
        throw new Error(`lastval() is ${String(last.rows[0]?.id)} after the insert of ${id}`);
      return id;
    },
    all: async (sql) => (await client.query<Record<string, unknown>>(sql)).rows,
    begin: 'BEGIN',
    close: () => client.end(),
  };
}

class OldApp {
  private readonly ids: string[] = [];
  /** The text of rows that this one has written: what a write of the status alone leaves as it is. */
  private readonly contents = new Map<string, string>();
  private readonly errors: string[] = [];
  private latencies: number[] = [];
  private alone: number[] = [];
  private writes = 0;
  private isStopped = false;

  constructor(
    private readonly connection: Connection,
    private readonly orders: OldAppOrders,
    private readonly random: () => number,
  ) {}

  /** Takes the rows that are its own. */
  async take(): Promise<void> {
    const { number, of } = this.orders;
    for (const { key } of await this.connection.all(
      `SELECT CAST(id AS text) AS key FROM messages WHERE abs(id % ${of}) = ${number} ORDER BY id`,
    ))
      this.ids.push(String(key));
  }

  async run(): Promise<OldAppReport> {
    const { writesPerSecond } = this.orders;
    const began = performance.now();
    for (let n = 1; !this.isStopped; n += 1) {
      try {
        await this.write();
      } catch (error) {
        this.errors.push(String(error));
        await this.connection.run('ROLLBACK').catch(() => undefined);
      }
      await sleep(Math.max(began + (n * 1_000) / writesPerSecond - performance.now(), 0));
    }
    await this.connection.close();
    return {
      alone: summary(this.alone),
      beside: summary(this.latencies),
      errors: this.errors,
    };
  }

  beginBeside(): void {
    this.alone = this.latencies;
    this.latencies = [];
  }

  stop(): void {
    this.isStopped = true;
  }

  private async write(): Promise<void> {
    const kind = this.random();
    if (kind < 0.3) this.journal([await this.timed(() => this.insert())]);
    else if (kind < 0.5) this.journal([await this.timed(() => this.edit())]);
    else if (kind < 0.7) this.journal([await this.timed(() => this.setStatus())]);
    else if (kind < 0.78) this.journal([await this.timed(() => this.remove())]);
    else if (kind < 0.85) this.journal([await this.timed(() => this.replace())]);
    else await this.together(kind < 0.95);
  }

  /** Several statements in one transaction, which is rolled back at times. */
  private async together(commits: boolean): Promise<void> {
    const known = this.ids.length;
    let isCommitted = false;
    try {
      const written = await this.timed(async () => {
        await this.connection.run(this.connection.begin);
        const all = [await this.insert(), await this.edit(), await this.setStatus()];
        if (this.random() < 0.3) await sleep(5);
        await this.connection.run(commits ? 'COMMIT' : 'ROLLBACK');
        return all;
      });
      isCommitted = commits;
      if (commits) this.journal(written);
    } finally {
      if (!isCommitted) {
        // The number of the row that was not made may be another's by now, and the texts are those from before.
        this.ids.length = known;
        this.contents.clear();
      }
    }
  }

  private async timed<Result>(work: () => Promise<Result>): Promise<Result> {
    const began = performance.now();
    const result = await work();
    this.latencies.push(performance.now() - began);
    return result;
  }

  private get text(): string {
    this.writes += 1;
    return `written by ${this.orders.number}, the ${this.writes}th 'time' – ü`;
  }

  private pick<Value>(values: readonly Value[]): Value {
    return values[Math.floor(this.random() * values.length)] as Value;
  }

  private async insert(): Promise<Written> {
    const row = { content: this.text, status: this.pick(['sent', 'delivered', 'read']) };
    const { people } = this.orders;
    const [sender, peer] = [this.random(), this.random()].map((n) => 1 + Math.floor(n * people));
    const id = await this.connection.insert(
      this.random() < 0.7
        ? 'INSERT INTO messages (sender_id, recipient_id, content, type, status) VALUES (?, ?, ?, ?, ?)'
        : 'INSERT INTO messages (sender_id, group_id, content, type, status) VALUES (?, ?, ?, ?, ?)',
      sender,
      peer,
      row.content,
      'text',
      row.status,
    );
    this.ids.push(id);
    return this.wrote(id, row);
  }

  private async edit(id = this.pick(this.ids)): Promise<Written> {
    const row = { content: this.text, status: this.pick(['sent', 'delivered']) };
    await this.connection.run(
      'UPDATE messages SET content = ?, status = ? WHERE id = ?',
      row.content,
      row.status,
      id,
    );
    return this.wrote(id, row);
  }

  /** Writes the status alone, where the text is known. */
  private async setStatus(): Promise<Written> {
    const id = this.pick(this.ids);
    const content = this.contents.get(id);
    if (content === undefined) return this.edit(id);
    const row = { content, status: this.pick(['sent', 'delivered', 'read']) };
    await this.connection.run('UPDATE messages SET status = ? WHERE id = ?', row.status, id);
    return { id, row };
  }

  private async remove(): Promise<Written> {
    const at = Math.floor(this.random() * this.ids.length);
    const id = this.ids[at] ?? this.pick(this.ids);
    await this.connection.run('DELETE FROM messages WHERE id = ?', id);
    this.ids.splice(at, 1);
    this.contents.delete(id);
    return { id, row: null };
  }

  private async replace(): Promise<Written> {
    const id = this.pick(this.ids);
    const row = { content: this.text, status: 'sent' };
    const isSqlite = this.connection.begin === 'BEGIN IMMEDIATE';
    await this.connection.run(
      `${isSqlite ? 'REPLACE' : 'INSERT'} INTO messages (id, sender_id, recipient_id, content, type, status) VALUES (?, 1, 2, ?, 'text', ?)` +
        (isSqlite
          ? ''
          : ' ON CONFLICT (id) DO UPDATE SET sender_id = 1, recipient_id = 2, group_id = NULL, content = excluded.content, status = excluded.status'),
      id,
      row.content,
      row.status,
    );
    return this.wrote(id, row);
  }

  private wrote(id: string, row: NonNullable<Written['row']>): Written {
    this.contents.set(id, row.content);
    return { id, row };
  }

  private journal(written: readonly Written[]): void {
    appendFileSync(
      this.orders.journal,
      written.map((each) => `${JSON.stringify(each)}\n`).join(''),
    );
  }
}

function summary(latencies: readonly number[]): Latencies {
  const sorted = [...latencies].sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((sorted[Math.floor(share * (sorted.length - 1))] ?? 0) * 10) / 10;
  return { writes: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** Who gave the orders is gone. */
const abandoned = (): never => process.exit(1);
process.once('disconnect', abandoned);

process.once('message', (orders: OldAppOrders) => {
  const connect = orders.url.startsWith('postgres')
    ? connectPostgres(orders.url)
    : connectSqlite(orders.url.replace(/^sqlite:/, ''));
  connect
    .then(async (connection) => {
      const app = new OldApp(connection, orders, randomFrom(orders.seed));
      await app.take();
      await new Promise<void>((resolve) => {
        process.on('message', (message) => {
          if (message === 'begin') resolve();
          if (message === 'beside') app.beginBeside();
          if (message === 'stop') app.stop();
        });
        process.send?.('ready');
      });
      const report = await app.run();
      process.off('disconnect', abandoned);
      process.send?.(report);
      process.disconnect();
    })
    .catch((error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    });
});

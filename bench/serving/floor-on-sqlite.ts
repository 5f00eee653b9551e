import sqlite3 from 'sqlite3';

/** A message to be written, as clients give it. */
export interface Input {
  readonly conversationId: string;
  readonly clientId: string;
  readonly text: string;
}

/** The one table of a floor, in a SQLite file of its own that is synced to the disk with each commit. */
export interface FloorTable {
  run(sql: string): Promise<void>;
  /** @returns the row's id */
  insert(input: Input, sentAt: string): Promise<number>;
}

export const columnsOf = (id: string): string =>
  `(id ${id} PRIMARY KEY, conversation TEXT, client_id TEXT UNIQUE, content TEXT, sent_at TEXT)`;

export async function makeFloorTable(path: string): Promise<FloorTable> {
  const database = new sqlite3.Database(path);
  const run = (sql: string): Promise<void> =>
    new Promise((resolve, reject) => {
      database.run(sql, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  await run('PRAGMA journal_mode = WAL');
  await run('PRAGMA synchronous = FULL');
  await run(`CREATE TABLE messages ${columnsOf('INTEGER')}`);
  const statement = database.prepare(
    'INSERT INTO messages (conversation, client_id, content, sent_at) VALUES (?, ?, ?, ?)',
  );
  return {
    run,
    insert: ({ conversationId, clientId, text }, sentAt) =>
      new Promise((resolve, reject) => {
        statement.run(
          conversationId,
          clientId,
          text,
          sentAt,
          function (this: sqlite3.RunResult, error: Error | null) {
            if (error === null) resolve(this.lastID);
            else reject(error);
          },
        );
      }),
  };
}

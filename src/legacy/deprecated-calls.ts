import type { Database } from '../database/database.js';

/** Names of clients that are kept apart for each operation; what comes beyond is counted together. */
const MOST_CLIENTS = 200;
const OTHERS = 'others';

export interface DeprecatedUsage {
  readonly operation: string;
  readonly client: string;
  readonly calls: number;
  /** ISO 8601. */
  readonly lastCalledAt: string;
}

/**
 * Counts who calls the old API, by operation and client. Kept in memory and written by `flush`, so that a call costs no
 * write: of a process that is killed the last second's are lost.
 */
export class DeprecatedCalls {
  private counted = new Map<string, Map<string, { calls: number; at: number }>>();

  note(operation: string, client: string): void {
    const clients = this.counted.get(operation) ?? new Map<string, { calls: number; at: number }>();
    this.counted.set(operation, clients);
    const name = clients.has(client) || clients.size < MOST_CLIENTS ? client : OTHERS;
    clients.set(name, { calls: (clients.get(name)?.calls ?? 0) + 1, at: Date.now() });
  }

  /** Forgets what was counted: where nothing is expanded there is no table for it, and nothing to call instead. */
  forget(): void {
    this.counted = new Map();
  }

  /** Writes it down. What could not be written is counted on. */
  async flush(database: Database): Promise<void> {
    const { counted } = this;
    if (counted.size === 0) return;
    this.forget();
    try {
      await database.transaction(async (transaction) => {
        for (const [operation, clients] of counted)
          for (const [client, { calls, at }] of clients) {
            const [known] = await transaction.all<{
              clients: number | string;
              isKnown: number | string;
            }>(
              `SELECT count(*) AS clients, count(CASE WHEN client = CAST(:client AS text) THEN 1 END) AS "isKnown"
               FROM deprecated_usage WHERE operation = CAST(:operation AS text)`,
              { operation, client },
            );
            const isNew = Number(known?.isKnown) === 0;
            await transaction.run(
              `INSERT INTO deprecated_usage (operation, client, calls, last_called_at)
               VALUES (CAST(:operation AS text), CAST(:client AS text), :calls, CAST(:at AS bigint))
               ON CONFLICT (operation, client) DO UPDATE SET calls = deprecated_usage.calls + excluded.calls,
                 last_called_at = CASE WHEN excluded.last_called_at > deprecated_usage.last_called_at
                   THEN excluded.last_called_at ELSE deprecated_usage.last_called_at END`,
              {
                operation,
                client: isNew && Number(known?.clients) >= MOST_CLIENTS ? OTHERS : client,
                calls,
                at: `${at}000`,
              },
            );
          }
      });
    } catch (error) {
      for (const [operation, clients] of counted)
        for (const [client, { calls, at }] of clients) {
          const now =
            this.counted.get(operation) ?? new Map<string, { calls: number; at: number }>();
          this.counted.set(operation, now);
          const later = now.get(client);
          now.set(client, { calls: calls + (later?.calls ?? 0), at: later?.at ?? at });
        }
      throw error;
    }
  }
}

/** Who called what, the last call first. The table has to be there. */
export async function readDeprecatedUsage({ reader }: Database): Promise<DeprecatedUsage[]> {
  const rows = await reader.all<{
    operation: string;
    client: string;
    calls: number | string;
    at: number | string;
  }>(
    `SELECT operation, client, calls, CAST(last_called_at AS text) AS at FROM deprecated_usage
     ORDER BY last_called_at DESC, operation, client`,
  );
  return rows.map(({ operation, client, calls, at }) => ({
    operation,
    client,
    calls: Number(calls),
    lastCalledAt: new Date(Number(at) / 1_000).toISOString(),
  }));
}

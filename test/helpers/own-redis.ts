import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@redis/client';
import { freePort } from '../drills/processes.js';
import { atTheEnd } from './databases.js';
import { outputOf } from './programs.js';

/** Whether there is a Redis to start: see find-databases.js. */
export const HAS_REDIS = process.env.SEGUE_TEST_REDIS !== undefined;

/** A Redis of a test's own, which can be stopped and started again on its port. */
export class OwnRedis {
  private server: ChildProcess | null = null;

  private constructor(private readonly port: number) {}

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  static async start(): Promise<OwnRedis> {
    const redis = new OwnRedis(await freePort());
    atTheEnd(() => redis.stop());
    await redis.start();
    return redis;
  }

  async start(): Promise<void> {
    const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    this.server = spawn('redis-server', ['--port', String(this.port), ...options]);
    await outputOf(this.server).until('Ready to accept connections');
  }

  /** Resolves when somebody listens to a channel. */
  async untilListenedTo(channel: string): Promise<void> {
    await this.ask(async (client) => {
      while ((await client.pubSubNumSub(channel))[channel] === 0) await sleep(10);
    });
  }

  async publish(channel: string, text: string): Promise<void> {
    await this.ask((client) => client.publish(channel, text));
  }

  private async ask(question: (client: Client) => Promise<unknown>): Promise<void> {
    const client = await connect(this.url);
    try {
      await question(client);
    } finally {
      client.destroy();
    }
  }

  async stop(): Promise<void> {
    const { server } = this;
    this.server = null;
    if (server === null) return;
    const gone = once(server, 'close');
    server.kill('SIGKILL');
    await gone;
  }
}

function connect(url: string) {
  return createClient({ url }).connect();
}

type Client = Awaited<ReturnType<typeof connect>>;

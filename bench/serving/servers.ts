import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { issueToken } from '../../src/auth/tokens.service.js';
import { DEFAULT_MAPPING } from '../../src/config/legacy-mapping.js';
import type { EngineName } from '../../src/database/dialect.js';
import { generateLegacy } from '../../src/demo/legacy-generator.js';
import { withDatabase } from '../../test/drills/place.js';
import {
  CLI,
  environmentOf,
  exited,
  freePort,
  runCli,
  startServer,
} from '../../test/drills/processes.js';
import { placeOn } from '../databases.js';
import type { Member, Usage } from './protocol.js';

const SECRET = 'the secret of benchmarks, which are on this machine only';

/** Of the server that is measured, as --cpu-prof: to see where the time goes. */
const NODE_OPTIONS = process.env.BENCH_NODE_OPTIONS?.split(' ') ?? [];

/** Messages of the old table beside which is written. */
const OLD_ROWS = 20_000;

/** The most members that a group may have. */
const MOST_MEMBERS = 500;

const FIRST_PERSON = 1_000_000;

/** A server to be measured, in a process of its own. */
export interface Measured {
  readonly name: string;
  readonly url: string;
  /** So many pairs of people who write to each other: a sender and a listener of each. */
  pairs(count: number): Promise<{ senders: Member[]; listeners: Member[] }>;
  /** The members of a group. */
  group(size: number): Promise<Member[]>;
  usage(): Promise<Usage>;
  stop(): Promise<void>;
}

/** All servers that are compared on an engine, each started when it is its turn. */
export function serversOn(engine: EngineName): readonly (() => Promise<Measured>)[] {
  return [
    ...(engine === 'sqlite' ? [() => floor('bare ws', 'bare-ws', engine)] : []),
    () => floor('Mercurius', 'mercurius', engine),
    () => segue(engine, true),
    () => segue(engine, false),
  ];
}

/** Segue with the old side beside it, or without one, where no message has a mirror. */
export async function segue(engine: EngineName, hasOldSide: boolean): Promise<Measured> {
  const { place, folder, drop } = await placeOn(engine);
  const people = (count: number): readonly { id: string; phone: string }[] =>
    Array.from({ length: count }, (_, n) => ({
      id: String(FIRST_PERSON + n),
      phone: `+99${String(n).padStart(10, '0')}`,
    }));
  const environment = {
    ...environmentOf(place, folder),
    JWT_SECRET: SECRET,
    RATE_LIMIT: 'off',
    PORT: String(await freePort()),
  };
  if (hasOldSide) {
    await withDatabase(place.url, (database) =>
      generateLegacy(database, DEFAULT_MAPPING, { messages: OLD_ROWS, seed: 1 }),
    );
    const failure = await runCli(environment, 'migrate', '--no-backup');
    if (failure !== null) throw new Error(failure);
  }
  const child = await startServer(environment, CLI, NODE_OPTIONS);
  const url = `http://127.0.0.1:${environment.PORT}`;
  const sign = ({ id, phone }: { id: string; phone: string }): Promise<string> =>
    issueToken({ id, phone }, SECRET);
  const ask = async (token: string, query: string): Promise<string> => {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query }),
    });
    const { data, errors } = (await response.json()) as {
      data?: Record<string, { id: string }>;
      errors?: unknown;
    };
    const [answer] = Object.values(data ?? {});
    if (answer === undefined) throw new Error(JSON.stringify(errors));
    return answer.id;
  };
  const invite = async (count: number): Promise<{ id: string; token: string }[]> => {
    await withDatabase(place.url, (database) =>
      database.transaction(async (transaction) => {
        for (const { id, phone } of people(count))
          await transaction.run(
            `INSERT INTO users (id, phone, name) VALUES (CAST(:id AS bigint), :phone, :name)`,
            { id, phone, name: `Person ${id}` },
          );
      }),
    );
    return Promise.all(
      people(count).map(async (person) => ({ id: `usr_${person.id}`, token: await sign(person) })),
    );
  };
  return {
    name: hasOldSide ? 'Segue' : 'Segue without mirrors',
    url: `${url.replace('http', 'ws')}/graphql`,
    pairs: async (count) => {
      const all = await invite(2 * count);
      const pairs: { senders: Member[]; listeners: Member[] } = { senders: [], listeners: [] };
      for (let n = 0; n < count; n += 1) {
        const [one, other] = all.slice(2 * n, 2 * n + 2);
        if (one === undefined || other === undefined) break;
        const conversationId = await ask(
          one.token,
          `mutation { startDirectConversation(userId: "${other.id}") { id } }`,
        );
        pairs.senders.push({ token: one.token, conversationId });
        pairs.listeners.push({ token: other.token, conversationId });
      }
      return pairs;
    },
    group: async (size) => {
      const members = await invite(Math.min(size, MOST_MEMBERS));
      const [first, ...others] = members;
      if (first === undefined) throw new Error('A group has members');
      const ids = others.map(({ id }) => JSON.stringify(id)).join(', ');
      const conversationId = await ask(
        first.token,
        `mutation { createGroup(input: { name: "Group", participantIds: [${ids}] }) { id } }`,
      );
      // The most that a group may have; beyond, they have several devices.
      return Array.from({ length: size }, (_, n) => ({
        token: members[n % members.length]?.token ?? '',
        conversationId,
      }));
    },
    usage: async () => {
      const text = await (await fetch(`${url}/metrics`)).text();
      const value = (name: string): number =>
        Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
      return {
        cpuMs: value('process_cpu_seconds_total') * 1_000,
        rssBytes: value('process_resident_memory_bytes'),
      };
    },
    stop: async () => {
      child.kill('SIGTERM');
      await exited(child);
      await drop();
    },
  };
}

async function floor(name: string, program: string, engine: EngineName): Promise<Measured> {
  const { place, folder, drop } = await placeOn(engine);
  const port = await freePort();
  const child = fork(
    fileURLToPath(new URL(`./${program}.js`, import.meta.url)),
    [engine === 'sqlite' ? join(folder, 'floor.sqlite') : place.url, String(port)],
    { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  await answerOf(child);
  const anybody = (conversationId: string): Member => ({ token: 'anybody', conversationId });
  return {
    name,
    url: `ws://127.0.0.1:${port}/graphql`,
    pairs: (count) => {
      const all = Array.from({ length: count }, (_, n) => anybody(`c${n}`));
      return Promise.resolve({ senders: all, listeners: all });
    },
    group: (size) => Promise.resolve(Array.from({ length: size }, () => anybody('c'))),
    usage: async () => {
      const usage = answerOf(child);
      child.send('usage');
      return (await usage) as Usage;
    },
    stop: async () => {
      child.kill('SIGTERM');
      await exited(child);
      await drop();
    },
  };
}

/** The next message of a child. @throws when it ends instead. */
export function answerOf(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => {
      reject(new Error(`${child.spawnfile} ended with ${code}`));
    };
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message);
    });
  });
}

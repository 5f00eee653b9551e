import { setTimeout as sleep } from 'node:timers/promises';
import { say } from './databases.js';
import { connect } from './serving/clients.js';
import type { Connect, Sent, Usage } from './serving/protocol.js';
import { type Measured, segue, serversOn } from './serving/servers.js';

const ENGINES = ['sqlite', 'postgres'] as const;

/** How long each is measured, after as long to warm up, in seconds. */
const SECONDS = 5;

interface Run {
  readonly sent: Sent;
  readonly used: Usage;
}

/** Has clients send for a while, and measures what comes after that. */
async function measure(server: Measured, connection: Omit<Connect, 'url'>): Promise<Run> {
  const clients = await connect({ url: server.url, ...connection });
  try {
    await clients.send(SECONDS);
    const before = await server.usage();
    const sent = await clients.send(SECONDS);
    const after = await server.usage();
    return {
      sent,
      used: { cpuMs: after.cpuMs - before.cpuMs, rssBytes: after.rssBytes },
    };
  } finally {
    await clients.leave();
  }
}

async function onAll(work: (server: Measured, engine: string) => Promise<void>): Promise<void> {
  for (const engine of ENGINES)
    for (const start of serversOn(engine)) {
      const server = await start();
      try {
        await work(server, engine);
      } finally {
        await server.stop();
      }
    }
}

function sendBy(senders: number): () => Promise<void> {
  return () =>
    onAll(async (server, engine) => {
      const { sent, used } = await measure(server, {
        ...(await server.pairs(senders)),
        receivers: 1,
      });
      say(
        `${engine}, ${server.name}: ${number(sent.messages / sent.seconds)} messages/s, p50 ${sent.p50.toFixed(2)} ms, p99 ${sent.p99.toFixed(2)} ms, ` +
          `${(used.cpuMs / sent.messages).toFixed(3)} ms of CPU each`,
      );
    });
}

/** Pairs of people: one sends, the other has it, and it is acknowledged; then the next. */
export const sendBench = sendBy(50);

/** The CPU of a message, with few of them to a commit. */
export const fewSendersBench = sendBy(10);

/** One sender, one at a time. */
export const latencyBench = sendBy(1);

/** A group in which ten write and everybody listens. */
export async function fanoutBench(): Promise<void> {
  for (const size of [200, 1_000])
    await onAll(async (server, engine) => {
      const members = await server.group(size);
      const { sent, used } = await measure(server, {
        listeners: members,
        senders: members.slice(0, 10),
        receivers: size,
      });
      const deliveries = sent.messages * size;
      say(
        `${engine}, ${server.name}, ${number(size)} listeners: ${number(deliveries / sent.seconds)} deliveries/s, ` +
          `${((used.cpuMs * 1_000) / deliveries).toFixed(1)} µs of CPU each`,
      );
    });
}

/** What a subscriber who is told nothing takes of memory. */
export async function connectionsBench(count: number): Promise<void> {
  for (const engine of ENGINES) {
    const server = await segue(engine, true);
    try {
      const listeners = await server.group(count);
      const before = await server.usage();
      const clients = await connect({ url: server.url, listeners, senders: [], receivers: 0 });
      await sleep(SECONDS * 1_000);
      const { rssBytes } = await server.usage();
      await clients.leave();
      const each = (rssBytes - before.rssBytes) / count / 1_024;
      say(
        `${engine}, ${number(count)} subscribers: ${each.toFixed(1)} KiB each, of ${number(rssBytes / 1_048_576)} MiB`,
      );
    } finally {
      await server.stop();
    }
  }
}

function number(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

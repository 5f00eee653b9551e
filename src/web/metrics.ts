import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { pulseOf } from '../changeover/status.js';
import type { Commit } from '../database/grouped-writes.js';
import type { EventHub } from '../events/event-hub.js';
import type { Roster } from '../presence/roster.js';

/** What is measured of a running server. */
export interface MetricsParts {
  readonly hub: EventHub;
  readonly roster: Roster;
  /** The changeover as it stands, read for each answer. */
  readonly readPulse: () => ReturnType<typeof pulseOf>;
  /** How many old queries each side has answered. */
  readonly answered: Readonly<Record<string, number>>;
  /** Open connections by door. */
  readonly connections: () => Readonly<Record<string, number>>;
}

/**
 * What a monitoring system asks for at `/metrics`, in Prometheus' own format. No label says who somebody is, and none takes
 * more than a few values.
 */
export class Metrics {
  private readonly registry = new Registry();
  private readonly commitSeconds: Histogram;
  private readonly commitMembers: Histogram;
  private refresh = (): Promise<void> => Promise.resolve();

  constructor() {
    const registers = [this.registry];
    this.commitSeconds = new Histogram({
      name: 'segue_commit_seconds',
      help: 'Time that the commit of a group of messages took.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
      registers,
    });
    this.commitMembers = new Histogram({
      name: 'segue_commit_messages',
      help: 'Messages, retries and refusals that one commit served.',
      buckets: [1, 2, 4, 8, 16, 32, 64],
      registers,
    });
  }

  noteCommit({ members, tookMs }: Commit): void {
    this.commitSeconds.observe(tookMs / 1_000);
    this.commitMembers.observe(members);
  }

  /** Adds what is asked of a running server when somebody reads the metrics. */
  watch({ hub, roster, readPulse, answered, connections }: MetricsParts): void {
    const registers = [this.registry];
    // Of the process, which there is one of: not where resolvers are only put together.
    collectDefaultMetrics({ register: this.registry });
    new Gauge({
      name: 'segue_connections',
      help: 'Open connections.',
      labelNames: ['door'],
      registers,
      collect() {
        for (const [door, count] of Object.entries(connections())) this.set({ door }, count);
      },
    });
    new Gauge({
      name: 'segue_subscribers',
      help: 'Subscriptions to events that have read the log to its end.',
      registers,
      collect() {
        this.set(hub.listening);
      },
    });
    new Counter({
      name: 'segue_deliveries_total',
      help: 'Events and signals that were handed to a subscription.',
      registers,
      collect() {
        this.reset();
        this.inc(hub.delivered);
      },
    });
    new Counter({
      name: 'segue_old_queries_total',
      help: 'Queries of the old API by the side that they were answered from.',
      labelNames: ['side'],
      registers,
      collect() {
        this.reset();
        for (const [side, count] of Object.entries(answered)) this.inc({ side }, count);
      },
    });
    new Gauge({
      name: 'segue_people_online',
      help: 'People who are connected to this process, or said that they are there.',
      registers,
      collect() {
        this.set(roster.size);
      },
    });
    const stage = new Gauge({
      name: 'segue_changeover_stage',
      help: '1 for the stage of the changeover.',
      labelNames: ['stage'],
      registers,
    });
    const oldest = new Gauge({
      name: 'segue_changeover_oldest_pending_seconds',
      help: 'Age of the oldest write of the old app that is not on the new side yet.',
      registers,
    });
    const pending = new Gauge({
      name: 'segue_changeover_pending_changes',
      help: 'Writes of the old app that are not on the new side yet.',
      registers,
    });
    // Not in `collect`: the three are of one moment, and all metrics are collected at once.
    this.refresh = async () => {
      const { stage: reached, pendingChanges, oldSideLagMs } = await readPulse();
      pending.set(pendingChanges);
      oldest.set((oldSideLagMs ?? 0) / 1_000);
      stage.reset();
      stage.set({ stage: reached }, 1);
    };
  }

  /** @throws what reading the database throws. */
  async render(): Promise<string> {
    await this.refresh();
    return this.registry.metrics();
  }
}

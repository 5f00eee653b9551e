import { PresenceStatus } from './presence.types.js';

/** For how long somebody whose last connection ended still counts as there, in ms: most come back at once. */
export const GRACE_MS = 3_000;

/** For how long somebody without a connection counts as there after he said so, in ms. */
export const SAID_MS = 60_000;

interface Here {
  connections: number;
  /** What he wants to be shown as while he is there. */
  status: PresenceStatus;
  timer: NodeJS.Timeout | undefined;
}

/** What has changed for others: from when on somebody is shown as what. */
export interface Change {
  readonly userId: string;
  readonly status: PresenceStatus;
}

/**
 * Who is there: whoever has a connection, on any of his devices, and for a while whoever said that he is. Known to this
 * process alone; a heartbeat costs nothing, and only what others would see is told.
 */
export class Attendance {
  private readonly here = new Map<string, Here>();

  /** @param changed told of each change that others can see */
  constructor(
    private readonly changed: (change: Change) => void,
    private readonly graceMs = GRACE_MS,
    private readonly saidMs = SAID_MS,
  ) {}

  statusOf(userId: string): PresenceStatus {
    return this.here.get(userId)?.status ?? PresenceStatus.OFFLINE;
  }

  /** How many people are there. */
  get size(): number {
    return this.here.size;
  }

  /** A connection of his began. @returns to be called once when it has ended */
  arrive(userId: string): () => void {
    const here = this.enter(userId);
    here.connections += 1;
    clearTimeout(here.timer);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      here.connections -= 1;
      if (here.connections === 0) this.leaveIn(userId, here, this.graceMs);
    };
  }

  /** He says what he wants to be shown as, until he says otherwise or goes. OFFLINE: there, and shown to nobody. */
  say(userId: string, status: PresenceStatus): void {
    const before = this.statusOf(userId);
    const here = this.here.get(userId) ?? { connections: 0, status, timer: undefined };
    here.status = status;
    this.here.set(userId, here);
    if (here.connections === 0) this.leaveIn(userId, here, this.saidMs);
    if (status !== before) this.changed({ userId, status });
  }

  /** Everybody goes, since the server ends. */
  leaveAll(): void {
    for (const [userId, here] of this.here) {
      clearTimeout(here.timer);
      this.leave(userId, here);
    }
  }

  private enter(userId: string): Here {
    const known = this.here.get(userId);
    if (known !== undefined) return known;
    const here = { connections: 0, status: PresenceStatus.ONLINE, timer: undefined };
    this.here.set(userId, here);
    this.changed({ userId, status: here.status });
    return here;
  }

  private leaveIn(userId: string, here: Here, ms: number): void {
    clearTimeout(here.timer);
    here.timer = setTimeout(() => {
      this.leave(userId, here);
    }, ms);
    here.timer.unref();
  }

  private leave(userId: string, here: Here): void {
    if (this.here.get(userId) !== here) return;
    this.here.delete(userId);
    if (here.status !== PresenceStatus.OFFLINE)
      this.changed({ userId, status: PresenceStatus.OFFLINE });
  }
}

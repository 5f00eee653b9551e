import { PresenceStatus } from './presence.types.js';

/** For how long somebody whose last connection ended still counts as there, in ms: most come back at once. */
export const GRACE_MS = 3_000;

/** For how long somebody without a connection counts as there after he said so, in ms. */
export const SAID_MS = 60_000;

/** What somebody who is there is shown as. OFFLINE: there, and shown to nobody. */
export interface Shown {
  readonly status: PresenceStatus;
  /** When he said so, in ms; 0 where he has said nothing. What he said last holds, on whatever process. */
  readonly saidAt: number;
}

export const ARRIVED: Shown = { status: PresenceStatus.ONLINE, saidAt: 0 };

interface Here {
  connections: number;
  shown: Shown;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Who is there in this process: whoever has a connection, on any of his devices, and for a while whoever said that he is.
 * A heartbeat costs nothing.
 */
export class Attendance {
  private readonly here = new Map<string, Here>();

  /** @param changed told of whoever came, went, or is shown as something else */
  constructor(
    private readonly changed: (userId: string) => void,
    private readonly graceMs = GRACE_MS,
    private readonly saidMs = SAID_MS,
  ) {}

  /** Null for who is not there. */
  find(userId: string): Shown | null {
    return this.here.get(userId)?.shown ?? null;
  }

  /** How many people are there. */
  get size(): number {
    return this.here.size;
  }

  get userIds(): readonly string[] {
    return [...this.here.keys()];
  }

  /**
   * A connection of his began.
   * @param shown as what, where he was not there
   * @returns to be called once when it has ended
   */
  arrive(userId: string, shown: Shown): () => void {
    const here = this.here.get(userId) ?? this.enter(userId, shown);
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

  /** He says what he wants to be shown as, until he says otherwise or goes. */
  say(userId: string, shown: Shown): void {
    const here = this.here.get(userId) ?? this.enter(userId, shown);
    if (here.connections === 0) this.leaveIn(userId, here, this.saidMs);
    this.show(userId, shown);
  }

  /** Who is there is shown as he said elsewhere. */
  show(userId: string, shown: Shown): void {
    const here = this.here.get(userId);
    if (here === undefined || here.shown === shown) return;
    here.shown = shown;
    this.changed(userId);
  }

  /** Everybody goes, since the server ends. */
  leaveAll(): void {
    for (const [userId, here] of this.here) {
      clearTimeout(here.timer);
      this.leave(userId, here);
    }
  }

  private enter(userId: string, shown: Shown): Here {
    const here = { connections: 0, shown, timer: undefined };
    this.here.set(userId, here);
    this.changed(userId);
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
    this.changed(userId);
  }
}

import type { ChangeoverContext } from './context.js';
import type { TableSize } from './estimate.js';
import { measureTable } from './estimate.js';
import { measureSpace } from './readiness.js';
import type { ChangeoverState } from './stage.js';

/** How often the disk is asked for its room, and how often while there is too little, in ms. */
const LOOK_EVERY_MS = 5_000;
const SHORT_LOOK_MS = 1_000;

/**
 * Whether the disk has room for the rest of a copy: twice what is still to be written, as `expand` asks for, and never
 * less than the reserve. Others write to it too, and on a full disk the old app's own writes fail.
 */
export class Room {
  private lookedAt = -Infinity;
  private isShort = false;
  private size: TableSize | undefined;

  constructor(private readonly context: ChangeoverContext) {}

  /** Reads the old table once, without its texts; then, every 5 s, what is free. */
  async isMissing(state: ChangeoverState): Promise<boolean> {
    const { diskReserve = 0 } = this.context;
    if (diskReserve === 0) return false;
    const every = this.isShort ? SHORT_LOOK_MS : LOOK_EVERY_MS;
    if (performance.now() - this.lookedAt < every) return this.isShort;
    this.size ??= await measureTable(this.context);
    const { rows, textBytes } = this.size;
    const left = Math.max(state.rowsToCopy - state.migrated - state.quarantined, 0);
    const { bytesNeeded, bytesFree } = await measureSpace(
      this.context,
      { rows: left, textBytes: (textBytes / Math.max(rows, 1)) * left },
      state.fillsLink,
    );
    this.isShort = bytesFree !== null && bytesFree < Math.max(bytesNeeded, diskReserve);
    this.lookedAt = performance.now();
    return this.isShort;
  }
}

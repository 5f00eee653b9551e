import { type CanActivate, Injectable } from '@nestjs/common';

/** For how long it is believed that new clients are served, in ms: each write asks again, in its transaction. */
const BELIEVED_MS = 1_000;

/** Whether new clients are served: told by whoever knows the changeover. */
export class Serving {
  /** @param check throws SegueError NOT_EXPANDED while they are not */
  constructor(readonly check: () => Promise<void>) {}
}

/** Lets a field be asked only while there is a new side to answer it. */
@Injectable()
export class ServedGuard implements CanActivate {
  private believedUntil = 0;

  constructor(private readonly serving: Serving) {}

  async canActivate(): Promise<boolean> {
    if (performance.now() < this.believedUntil) return true;
    await this.serving.check();
    this.believedUntil = performance.now() + BELIEVED_MS;
    return true;
  }
}

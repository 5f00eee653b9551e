/** What a subscription has told so far, to be waited for. */
export class Heard<Item> {
  readonly items: Item[] = [];
  private waiting: (() => void)[] = [];
  private failure: unknown;

  add(item: Item): void {
    this.items.push(item);
    this.wake();
  }

  fail(error: unknown): void {
    this.failure = error;
    this.wake();
  }

  async until(isEnough: (items: readonly Item[]) => boolean): Promise<void> {
    while (!isEnough(this.items)) {
      if (this.failure !== undefined)
        throw new Error('The subscription failed', { cause: this.failure });
      await new Promise<void>((resolve) => {
        this.waiting.push(resolve);
      });
    }
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

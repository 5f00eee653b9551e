import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ConversationReader } from '../../src/conversations/conversation-reader.js';
import type { EventHub } from '../../src/events/event-hub.js';
import type { Signal } from '../../src/events/signals.js';
import { Loaders } from '../../src/graphql/loaders.js';
import { TYPING_MS, TypingService } from '../../src/presence/typing.service.js';

/** Everybody is a member of every conversation. */
const CONVERSATIONS = {
  find: (_: Loaders, viewerId: string, id: string) =>
    Promise.resolve({ id, viewerId, leftAt: null }),
} as unknown as ConversationReader;

describe('who types', () => {
  let told: [string, boolean][];
  let typing: TypingService;
  const type = (viewerId: string, isTyping = true): Promise<Date | null> =>
    typing.set(new Loaders(), viewerId, 'conv_1', isTyping);

  beforeEach(() => {
    jest.useFakeTimers();
    told = [];
    const hub = {
      tell: (signal: Signal) => {
        if (signal.kind === 'TypingChanged') told.push([signal.userId, signal.typing]);
      },
    } as unknown as EventHub;
    typing = new TypingService(CONVERSATIONS, hub);
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('expires 6 s after it was said last, whoever forgot to end it', async () => {
    const first = await type('7');
    expect(first?.getTime()).toBe(Date.now() + TYPING_MS);
    jest.advanceTimersByTime(TYPING_MS - 1);
    expect(told).toEqual([['7', true]]);
    // Said again: nobody is told what he knows.
    const again = await type('7');
    expect(again?.getTime()).toBe((first?.getTime() ?? 0) + TYPING_MS - 1);
    jest.advanceTimersByTime(TYPING_MS - 1);
    expect(told).toEqual([['7', true]]);
    jest.advanceTimersByTime(1);
    expect(told).toEqual([
      ['7', true],
      ['7', false],
    ]);
  });

  it('ends when he says so, or has sent it; what did not begin does not end', async () => {
    expect(await type('7', false)).toBeNull();
    expect(told).toEqual([]);
    await type('7');
    await type('8');
    expect(await type('7', false)).toBeNull();
    typing.end('1', '8');
    typing.end('1', '8');
    jest.advanceTimersByTime(TYPING_MS);
    expect(told).toEqual([
      ['7', true],
      ['8', true],
      ['7', false],
      ['8', false],
    ]);
    expect(jest.getTimerCount()).toBe(0);
  });
});

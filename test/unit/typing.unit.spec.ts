import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ConversationReader } from '../../src/conversations/conversation-reader.js';
import type { Topic } from '../../src/events/bus.js';
import type { EventHub } from '../../src/events/event-hub.js';
import type { Signal } from '../../src/events/signals.js';
import { Loaders } from '../../src/graphql/loaders.js';
import { TYPING_MS, type TypingMessage, TypingService } from '../../src/presence/typing.service.js';

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

  it('is known to all processes, which forget it by themselves', async () => {
    const followers = new Map<string, (message: TypingMessage, node: string) => void>();
    const said: TypingMessage[] = [];
    const topic = (node: string): Topic<TypingMessage> => ({
      node,
      say: (message) => {
        said.push(message);
        for (const hear of followers.values()) hear(message, node);
        return Promise.resolve(true);
      },
      follow: (hear) => {
        followers.set(node, hear);
      },
    });
    const toldAt = (node: string): { service: TypingService; told: [string, boolean][] } => {
      const heard: [string, boolean][] = [];
      const hub = {
        tell: (signal: Signal) => {
          if (signal.kind === 'TypingChanged') heard.push([signal.userId, signal.typing]);
        },
      } as unknown as EventHub;
      return { service: new TypingService(CONVERSATIONS, hub, topic(node)), told: heard };
    };
    const [here, there] = [toldAt('here'), toldAt('there')];
    const at = (service: TypingService, isTyping: boolean): Promise<Date | null> =>
      service.set(new Loaders(), '7', 'conv_1', isTyping);
    await at(here.service, true);
    jest.advanceTimersByTime(TYPING_MS - 1);
    await at(here.service, true);
    jest.advanceTimersByTime(TYPING_MS - 1);
    expect([here.told, there.told]).toEqual([[['7', true]], [['7', true]]]);
    // He has sent it through the other one.
    there.service.end('1', '7');
    expect([here.told, there.told]).toEqual([
      [
        ['7', true],
        ['7', false],
      ],
      [
        ['7', true],
        ['7', false],
      ],
    ]);
    await at(here.service, true);
    jest.advanceTimersByTime(TYPING_MS);
    expect(here.told).toHaveLength(4);
    expect(there.told).toHaveLength(4);
    // That it expired needs not to be said, and what nobody types not to be ended.
    there.service.end('1', '7');
    expect(said.map((message) => message.typing)).toEqual([true, true, false, true]);
  });
});

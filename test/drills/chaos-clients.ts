import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, createClient, type FormattedExecutionResult } from 'graphql-ws';
import { WebSocket } from 'ws';

/**
 * How long a client waits for an answer, or for any word on its connection, before it takes that for broken, in ms; each
 * time in a row that it did, as much again, since a machine may be slow.
 */
const PATIENCE_MS = 4_000;

/** Errors after which nobody knows, or another one stood in the way: the client sends the same again. */
const PASSING = /^(UNAVAILABLE|LOCK_TIMEOUT)$/;

/** Ends of a connection after which a client comes back: the network's, ours (4499, 4504), a server's that was late. */
const COME_BACK = new Set([1005, 1006, 1012, 1013, 4408, 4499, 4504]);

/** What the server said. */
type Answer<Data> = { readonly data: Data } | { readonly code: string; readonly message: string };

/** Nobody knows what came of it. */
class Broken extends Error {}

export interface Person {
  readonly id: string;
  readonly token: string;
}

/** A message as its writer knows it. */
export interface Sent {
  readonly clientId: string;
  readonly senderId: string;
  /** Global id. */
  readonly conversationId: string;
  readonly text: string;
  /** Global ids of the answers, of each time that it was sent; empty: never acknowledged. */
  readonly answers: string[];
}

export interface WriterOptions {
  readonly number: number;
  readonly person: Person;
  /** Global ids of conversations that he is in. */
  readonly conversations: readonly string[];
  readonly door: 'http' | 'socket';
  readonly port: number;
  readonly random: () => number;
}

const SEND = `mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id } }`;
const MARK_READ = `mutation ($c: ID!, $m: ID!) { markRead(conversationId: $c, upToMessageId: $m) { status } }`;

/**
 * A client that sends one message after the other, each of them again until it is acknowledged, and some once more
 * afterwards, as one does who lost the answer.
 */
export class Writer {
  readonly journal: Sent[] = [];
  readonly unexpected: string[] = [];
  retries = 0;
  private socket: Client | null = null;
  private isStopped = false;
  private hasGivenUp = false;

  constructor(private readonly options: WriterOptions) {}

  async run(): Promise<void> {
    const { number, person, conversations, random } = this.options;
    for (let n = 1; !this.isStopped; n += 1) {
      const clientId = `writer-${number}-${n}`;
      const message: Sent = {
        clientId,
        senderId: person.id,
        conversationId: conversations[Math.floor(random() * conversations.length)] ?? '',
        text: `${clientId} ${'– ü \u{1f600} '.repeat(Math.floor(random() * 80))}.`,
        answers: [],
      };
      this.journal.push(message);
      await this.send(message);
      if (random() < 0.1) await this.send(message);
      await sleep(random() * 60);
    }
    this.disconnect();
  }

  /** Lets it bring what it has begun to its end. */
  stop(): void {
    this.isStopped = true;
  }

  giveUp(): void {
    this.hasGivenUp = true;
  }

  private async send(message: Sent): Promise<void> {
    for (let attempt = 1; !this.hasGivenUp; attempt += 1) {
      try {
        const answer = await this.ask(message, PATIENCE_MS * Math.min(attempt, 10));
        if ('data' in answer) {
          message.answers.push(answer.data.sendMessage.id);
          return;
        }
        if (!PASSING.test(answer.code))
          this.unexpected.push(`sendMessage was answered with ${answer.code}: ${answer.message}`);
      } catch (error) {
        if (!(error instanceof Broken)) throw error;
        this.disconnect();
      }
      this.retries += 1;
      await sleep(50 + this.options.random() * 150);
    }
  }

  private ask(
    { clientId, conversationId, text }: Sent,
    patience: number,
  ): Promise<Answer<{ sendMessage: { id: string } }>> {
    const variables = { input: { clientId, conversationId, text } };
    return this.options.door === 'http'
      ? askOverHttp(this.options.port, this.options.person, SEND, variables, patience)
      : this.askOnSocket(variables, patience);
  }

  private async askOnSocket<Data>(
    variables: Record<string, unknown>,
    patience: number,
  ): Promise<Answer<Data>> {
    this.socket ??= connect(this.options.port, this.options.person, {});
    const { socket } = this;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Broken('no answer'));
      }, patience);
      socket.subscribe<Data>(
        { query: SEND, variables },
        {
          next: (result) => {
            resolve(answerOf(result));
          },
          error: (error) => {
            reject(this.brokenBy(error));
          },
          complete: () => {
            clearTimeout(timer);
            reject(new Broken('completed without an answer'));
          },
        },
      );
    });
  }

  private brokenBy(error: unknown): Broken {
    const { passes, what } = judge(error);
    if (!passes) this.unexpected.push(`a writer's connection ended: ${what}`);
    return new Broken(what);
  }

  private disconnect(): void {
    this.socket?.terminate();
    this.socket = null;
  }
}

/** An event as a reader got it. */
export interface Told {
  readonly cursor: string;
  readonly type: string;
  /** Global id; absent where it is about none. */
  readonly messageId?: string | undefined;
  readonly text?: string | null | undefined;
}

export interface ReaderOptions {
  readonly person: Person;
  readonly port: number;
  /** `cuts`: ends its own connection now and then. `stalls`: reads nothing for a while now and then. */
  readonly habit: 'steady' | 'cuts' | 'stalls';
  /** How long it reads nothing, in ms, at most. */
  readonly stallMs: number;
  readonly random: () => number;
  /** Where it begins. */
  readonly cursor: string;
}

const MESSAGE = 'message { id text status conversation { id } }';
/** Of one who stalls, each event is large, so that not all fits into the buffers of the network. */
const LARGE = `message { id text status conversation { id } ${Array.from({ length: 40 }, (_, n) => `t${n}: text`).join(' ')} }`;
const events = (message: string): string => `subscription ($after: String) { events(after: $after) {
  cursor __typename ... on MessageAdded { ${message} } ... on MessageChanged { ${message} } ... on MessageRemoved { messageId } } }`;

interface EventData {
  readonly events: {
    readonly cursor: string;
    readonly __typename: string;
    readonly message?: {
      readonly id: string;
      readonly text: string | null;
      readonly conversation: { readonly id: string };
    };
    readonly messageId?: string;
  };
}

/** A client that follows the events, and after each break goes on from the cursor of the last one. */
export class Reader {
  readonly journal: Told[] = [];
  readonly unexpected: string[] = [];
  /** How often it came back. */
  breaks = 0;
  private isStopped = false;
  private cursor: string;
  private socket: WebSocket | null = null;
  private client: Client | null = null;
  private heardAt = 0;
  private patience = PATIENCE_MS;
  private isStalled = false;
  private isCalm = false;

  constructor(readonly options: ReaderOptions) {
    this.cursor = options.cursor;
  }

  async run(): Promise<void> {
    const habits = this.followHabit();
    const watch = setInterval(() => {
      // A half-open connection says nothing: its pings are not answered.
      if (this.isStalled || performance.now() - this.heardAt < this.patience) return;
      this.patience = Math.min(this.patience + PATIENCE_MS, 10 * PATIENCE_MS);
      this.client?.terminate();
    }, 500);
    while (!this.isStopped) {
      await this.connection();
      this.breaks += 1;
      await sleep(50 + this.options.random() * 100);
    }
    clearInterval(watch);
    await habits;
  }

  stop(): void {
    this.isStopped = true;
    this.client?.terminate();
  }

  /** Ends its habits. */
  calm(): void {
    this.isCalm = true;
  }

  private async untilOver(deadline: number): Promise<void> {
    while (performance.now() < deadline && !this.isOver) await sleep(100);
  }

  private get isOver(): boolean {
    return this.isCalm || this.isStopped;
  }

  private async followHabit(): Promise<void> {
    const { habit, random, stallMs } = this.options;
    while (habit !== 'steady' && !this.isOver) {
      await sleep(1_000 + random() * 2_500);
      if (habit === 'cuts') this.client?.terminate();
      else {
        this.isStalled = true;
        this.socket?.pause();
        const until = performance.now() + stallMs * (0.2 + random() * 0.8);
        await this.untilOver(until);
        if (this.socket?.readyState === WebSocket.OPEN) this.socket.resume();
        this.heardAt = performance.now();
        this.isStalled = false;
      }
    }
  }

  /** One connection, until it ends. */
  private connection(): Promise<void> {
    const { person, port, habit } = this.options;
    this.heardAt = performance.now();
    const heard = (): void => {
      this.heardAt = performance.now();
    };
    const client = connect(port, person, {
      message: heard,
      pong: heard,
      connected: (socket) => {
        this.socket = socket as WebSocket;
        if (this.isStalled) this.socket.pause();
      },
    });
    this.client = client;
    return new Promise<void>((resolve) => {
      client.subscribe<EventData>(
        { query: events(habit === 'stalls' ? LARGE : MESSAGE), variables: { after: this.cursor } },
        {
          next: (result) => {
            const answer = answerOf(result);
            if (this.client !== client) return;
            if ('data' in answer) this.take(answer.data.events);
            else {
              this.unexpected.push(`an event came as ${answer.code}: ${answer.message}`);
              client.terminate();
            }
          },
          error: (error) => {
            const { passes, what } = judge(error);
            if (!passes) this.unexpected.push(`a reader's subscription ended: ${what}`);
            resolve();
          },
          complete: resolve,
        },
      );
    }).finally(() => {
      this.client = null;
      this.socket = null;
      client.terminate();
    });
  }

  private take({ cursor, __typename, message, messageId }: EventData['events']): void {
    this.cursor = cursor;
    this.patience = PATIENCE_MS;
    // Signals stand in no log, and nobody promises them.
    if (__typename === 'PresenceUpdated' || __typename === 'TypingChanged') return;
    this.journal.push({
      cursor,
      type: __typename,
      messageId: message?.id ?? messageId,
      text: message?.text,
    });
    if (message !== undefined && __typename === 'MessageAdded' && this.options.random() < 0.3)
      void this.markRead(message.conversation.id, message.id);
  }

  /** Once: a receipt that is lost is no loss, the next one covers it. */
  private async markRead(c: string, m: string): Promise<void> {
    const { port, person } = this.options;
    try {
      const answer = await askOverHttp(port, person, MARK_READ, { c, m }, PATIENCE_MS);
      // The old app deletes messages.
      if ('code' in answer && !PASSING.test(answer.code) && answer.code !== 'NOT_FOUND')
        this.unexpected.push(`markRead was answered with ${answer.code}: ${answer.message}`);
    } catch (error) {
      if (!(error instanceof Broken)) this.unexpected.push(String(error));
    }
  }
}

/** Asks over HTTP. */
export async function askOverHttp<Data>(
  port: number,
  { token }: Person,
  query: string,
  variables: Record<string, unknown> = {},
  patience = 10 * PATIENCE_MS,
): Promise<Answer<Data>> {
  let text: string;
  try {
    const response = await fetch(`http://127.0.0.1:${port}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(patience),
    });
    text = await response.text();
  } catch (error) {
    throw new Broken('the connection broke', { cause: error });
  }
  return answerOf(JSON.parse(text) as FormattedExecutionResult<Data>);
}

function answerOf<Data>({
  data,
  errors,
}: Pick<FormattedExecutionResult<Data>, 'data' | 'errors'>): Answer<Data> {
  const [error] = errors ?? [];
  if (error !== undefined) return { code: String(error.extensions?.code), message: error.message };
  if (data == null) return { code: 'NOTHING', message: 'neither data nor errors' };
  return { data };
}

/** One that may be ended before it is there: graphql-ws does not listen any more then. */
class EndedEarly extends WebSocket {
  constructor(...given: ConstructorParameters<typeof WebSocket>) {
    super(...given);
    this.on('error', () => undefined);
  }
}

/** A connection that does not come back by itself, so that each break is seen. */
function connect(
  port: number,
  { token }: Person,
  on: Exclude<Parameters<typeof createClient>[0]['on'], null | undefined>,
): Client {
  return createClient({
    url: `ws://127.0.0.1:${port}/graphql`,
    webSocketImpl: EndedEarly,
    connectionParams: { authorization: `Bearer ${token}` },
    connectionAckWaitTimeout: 10 * PATIENCE_MS,
    keepAlive: 1_000,
    retryAttempts: 0,
    // Kept until it is ended.
    lazyCloseTimeout: 3_600_000,
    on,
  });
}

/** What ended a connection or an operation, and whether a client has to expect it. */
function judge(error: unknown): { passes: boolean; what: string } {
  if (Array.isArray(error)) {
    const [first] = error as { message: string; extensions?: { code?: unknown } }[];
    const code = String(first?.extensions?.code);
    return { passes: PASSING.test(code), what: `${code}: ${first?.message ?? ''}` };
  }
  if (typeof error === 'object' && error !== null && 'code' in error && 'reason' in error) {
    const { code, reason } = error as { code: number; reason: string };
    return { passes: COME_BACK.has(code), what: `${code} ${reason}` };
  }
  // No connection came about: the server is not there.
  return { passes: true, what: String(error) };
}

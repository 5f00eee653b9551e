import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { issueToken } from '../../src/auth/tokens.service.js';
import type { Database } from '../../src/database/database.js';
import type { Written } from './old-app.js';

/** Accounts of the drill's own, which no old app writes as, or to. */
const [WRITER, READER, PEER] = [90_001, 90_002, 90_003] as const;
const phoneOf = (id: number): string => `0809${id}`;

/** The rest after an attempt that nobody answered, and between two messages, in ms. */
const AGAIN_MS = 30;
const PAUSE_MS = 15;

export interface ClientReport {
  /** Messages that were acknowledged, and attempts that had to be made again. */
  readonly acknowledged: number;
  readonly again: number;
  /** Answers NOT_EXPANDED: there was no new side to be served from. */
  readonly notServed: number;
  /** Whatever else went wrong. */
  readonly errors: readonly string[];
}

interface Answer {
  readonly data?: Record<string, unknown> | null;
  readonly errors?: readonly { message: string; extensions: { code: string } }[];
}

/** Makes the accounts, in the old app's table. */
export async function makePeople(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    for (const id of [WRITER, READER, PEER])
      await transaction.run(`INSERT INTO users (id, phone) VALUES (${id}, '${phoneOf(id)}')`);
  });
}

/**
 * New clients and old ones of a server that is killed and started again, on one address: a new client writes to somebody who
 * reads what he gets, each message sent until it is acknowledged; an old client writes by the old API, once, and asks for what he
 * has written. Each acknowledged message is journalled like those of old apps.
 */
export class People {
  private readonly of = {
    newClients: { acknowledged: 0, again: 0, notServed: 0, errors: [] as string[] },
    oldClients: { acknowledged: 0, again: 0, notServed: 0, errors: [] as string[] },
  };
  /** What new clients have sent: clients' ids, with the ids of the messages and their old rows. */
  readonly sent = new Map<string, { readonly id: string; readonly legacyId: string }>();
  private isOver = false;
  private running: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly url: string,
    private readonly secret: string,
    private readonly journal: string,
  ) {}

  begin(): void {
    this.running = Promise.all([this.send(), this.ask()]);
  }

  async stop(): Promise<{ newClients: ClientReport; oldClients: ClientReport }> {
    this.isOver = true;
    await this.running;
    return this.of;
  }

  /** The last message is read, and with it all before it. */
  async readAll(): Promise<void> {
    const last = [...this.sent.values()].at(-1);
    if (last === undefined) return;
    for (;;) {
      const answer = await this.post(
        READER,
        `mutation { markRead(conversationId: "${await this.conversation()}", upToMessageId: "${last.id}") { status } }`,
      );
      if (answer?.data != null) return;
      await sleep(AGAIN_MS);
    }
  }

  private conversationId: string | null = null;

  private async conversation(): Promise<string> {
    while (this.conversationId === null) {
      const answer = await this.post(
        WRITER,
        `mutation { startDirectConversation(userId: "usr_${READER}") { id } }`,
      );
      const made = answer?.data?.startDirectConversation as { id: string } | undefined;
      this.conversationId = made?.id ?? null;
      if (made === undefined) await sleep(AGAIN_MS);
    }
    return this.conversationId;
  }

  private async send(): Promise<void> {
    const { newClients } = this.of;
    for (let n = 1; !this.isOver; n += 1) {
      const clientId = `message ${n}`;
      const input = {
        conversationId: await this.conversation(),
        clientId,
        text: `new: ${clientId}`,
      };
      for (;;) {
        const answer = await this.post(
          WRITER,
          'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { id legacyId } }',
          { input },
        );
        const made = answer?.data?.sendMessage as { id: string; legacyId: string } | undefined;
        if (made !== undefined) {
          newClients.acknowledged += 1;
          this.sent.set(clientId, made);
          // By the end all of them are read.
          this.write({ id: made.legacyId, row: { content: input.text, status: 'read' } });
          break;
        }
        newClients.again += 1;
        if (this.isNotServed(answer)) newClients.notServed += 1;
        else this.note(newClients.errors, answer);
        // The last one is given up only where the new side is gone for good.
        if (this.hasToEnd() && this.isNotServed(answer)) return;
        await sleep(AGAIN_MS);
      }
      if (n % 10 === 0)
        await this.post(
          READER,
          `mutation { markRead(conversationId: "${input.conversationId}", upToMessageId: "${this.sent.get(clientId)?.id}") { status } }`,
        );
      await sleep(PAUSE_MS);
    }
  }

  private async ask(): Promise<void> {
    const { oldClients } = this.of;
    for (let n = 1; !this.isOver; n += 1) {
      const content = `old: message ${n}`;
      const written = await this.post(
        WRITER,
        `mutation { createMessage(senderId: ${WRITER}, recipientId: ${PEER}, content: "${content}") { id } }`,
      );
      const made = written?.data?.createMessage as { id: number } | undefined;
      if (made === undefined) {
        oldClients.again += 1;
        this.note(oldClients.errors, written);
      } else {
        oldClients.acknowledged += 1;
        this.write({ id: String(made.id), row: { content, status: 'sent' } });
        const answer = await this.post(
          WRITER,
          `{ messages(userId: ${WRITER}, peerId: ${PEER}, limit: 1) { content } }`,
        );
        const shown = answer?.data?.messages as { content: string }[] | undefined;
        if (shown === undefined) this.note(oldClients.errors, answer);
        else if (shown[0]?.content !== content)
          oldClients.errors.push(`${content} was acknowledged, and ${JSON.stringify(shown)} shown`);
      }
      await sleep(PAUSE_MS * 4);
    }
  }

  private hasToEnd(): boolean {
    return this.isOver;
  }

  private write(written: Written): void {
    appendFileSync(this.journal, `${JSON.stringify(written)}\n`);
  }

  private isNotServed(answer: Answer | null): boolean {
    return answer?.errors?.every(({ extensions }) => extensions.code === 'NOT_EXPANDED') === true;
  }

  /** An answer that says that something went wrong; none at all is a server that was killed. */
  private note(errors: string[], answer: Answer | null): void {
    for (const { message, extensions } of answer?.errors ?? [])
      errors.push(`${extensions.code}: ${message}`);
  }

  /** Null where nobody answers. */
  private async post(
    viewer: number,
    query: string,
    variables: Record<string, unknown> = {},
  ): Promise<Answer | null> {
    const token = await issueToken({ id: String(viewer), phone: phoneOf(viewer) }, this.secret);
    try {
      const response = await fetch(`${this.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ query, variables }),
        signal: AbortSignal.timeout(20_000),
      });
      return (await response.json()) as Answer;
    } catch {
      await sleep(AGAIN_MS);
      return null;
    }
  }
}

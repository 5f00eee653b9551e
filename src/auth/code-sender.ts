import { Logger } from '@nestjs/common';
import type { Config } from '../config/config.js';
import { messageOf, SegueError } from '../errors/segue-error.js';

/** How long the service that sends codes may take, in ms. */
const PATIENCE_MS = 5_000;

/** A sign-in code on its way to its phone. */
export interface IssuedCode {
  readonly phone: string;
  readonly code: string;
  readonly expiresAt: Date;
}

export interface CodeSender {
  /** Resolves when the code is on its way. */
  send(code: IssuedCode): Promise<void>;
}

/**
 * The sender that the settings ask for.
 * @throws SegueError BAD_CONFIG in production without CODE_WEBHOOK_URL: codes in a log open every account.
 */
export function codeSenderOf({ codeWebhookUrl, production }: Config): CodeSender {
  if (codeWebhookUrl !== undefined) return new WebhookSender(codeWebhookUrl);
  if (production)
    throw new SegueError(
      'BAD_CONFIG',
      'CODE_WEBHOOK_URL is not set: in production it takes the address of what sends sign-in codes, to which they are posted as JSON.',
    );
  return new ConsoleSender();
}

/** Prints codes, for development. */
class ConsoleSender implements CodeSender {
  private readonly logger = new Logger('SignIn');

  send({ phone, code }: IssuedCode): Promise<void> {
    this.logger.log(`The sign-in code of ${phone} is ${code}`);
    return Promise.resolve();
  }
}

/** Posts codes to a service that sends them. */
export class WebhookSender implements CodeSender {
  private readonly logger = new Logger('SignIn');

  constructor(
    private readonly url: string,
    private readonly patienceMs = PATIENCE_MS,
  ) {}

  async send({ phone, code, expiresAt }: IssuedCode): Promise<void> {
    const failure = await this.post({ phone, code, expiresAt: expiresAt.toISOString() });
    if (failure === null) return;
    this.logger.warn(`CODE_WEBHOOK_URL did not take a code: ${failure}`);
    throw new SegueError(
      'UNAVAILABLE',
      'The code could not be sent at the moment, and does not count: ask for another one in a while.',
    );
  }

  /** What went wrong; null when it was taken. */
  private async post(body: object): Promise<string | null> {
    try {
      const response = await fetch(this.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        redirect: 'manual',
        signal: AbortSignal.timeout(this.patienceMs),
      });
      await response.body?.cancel();
      return response.ok ? null : `it answered ${response.status}`;
    } catch (error) {
      return messageOf(error);
    }
  }
}

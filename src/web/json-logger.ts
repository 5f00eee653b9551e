import type { LoggerService, LogLevel } from '@nestjs/common';
import { pino, type Logger } from 'pino';

/** Nest's levels by pino's names. */
const LEVELS = {
  verbose: 'trace',
  debug: 'debug',
  log: 'info',
  warn: 'warn',
  error: 'error',
  fatal: 'fatal',
} as const satisfies Record<LogLevel, string>;

/**
 * The server's log as JSON, a line each, for who collects it. Only sentences and stacks of ours are written: an error of a
 * driver's has the values of its statement on it, which are people's texts and numbers.
 */
export class JsonLogger implements LoggerService {
  private readonly logger: Logger;

  /** @param levels those that are written */
  constructor(
    private readonly levels: readonly LogLevel[],
    destination?: NodeJS.WritableStream,
  ) {
    const options = { level: 'trace', base: { pid: process.pid }, messageKey: 'message' };
    this.logger = destination === undefined ? pino(options) : pino(options, destination);
  }

  log(message: unknown, ...rest: unknown[]): void {
    this.write('log', message, rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.write('error', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.write('warn', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.write('debug', message, rest);
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.write('verbose', message, rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.write('fatal', message, rest);
  }

  /** Nest gives a context last, and before it a stack. */
  private write(level: LogLevel, message: unknown, rest: readonly unknown[]): void {
    if (!this.levels.includes(level)) return;
    const texts = rest.filter((one) => typeof one === 'string');
    const context = texts.at(-1);
    const stack = texts.length > 1 ? texts[0] : undefined;
    this.logger[LEVELS[level]](
      {
        ...(context === undefined ? {} : { context }),
        ...(stack === undefined ? {} : { stack }),
      },
      message instanceof Error ? message.message : String(message),
    );
  }
}

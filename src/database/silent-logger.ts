import { AbstractLogger } from 'typeorm';

/**
 * For our own connections: every failure is thrown and told once, where it is known what it means. TypeORM's default
 * prints a line for each migration that is tried again, even with logging off.
 */
export class SilentLogger extends AbstractLogger {
  protected writeLog(): void {
    // Nothing is told here.
  }
}

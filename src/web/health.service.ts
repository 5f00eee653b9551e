import { Injectable, Logger } from '@nestjs/common';
import { readState, type Stage } from '../changeover/stage.js';
import type { Database } from '../database/database.js';
import { messageOf } from '../errors/segue-error.js';

/** How long the database may take to answer before this server counts as not ready, in ms. */
const PATIENCE_MS = 2_000;

@Injectable()
export class HealthService {
  private readonly logger = new Logger('Health');

  constructor(private readonly database: Database) {}

  /** The stage of the changeover, read from the database now; null when it does not answer. */
  async findStage(): Promise<Stage | null> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error(`no answer in ${PATIENCE_MS} ms`));
      }, PATIENCE_MS);
    });
    try {
      return (await Promise.race([readState(this.database), tooLate])).stage;
    } catch (error) {
      this.logger.warn(`The database does not answer: ${messageOf(error)}`);
      return null;
    } finally {
      clearTimeout(timer);
    }
  }
}

import { Controller, Get, Header, ServiceUnavailableException } from '@nestjs/common';
import { explainDatabaseError } from '../database/database-errors.js';
import { Metrics } from './metrics.js';

/** For monitoring systems, who ask again and again. */
@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  @Get()
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  async read(): Promise<string> {
    try {
      return await this.metrics.render();
    } catch (error) {
      if (explainDatabaseError(error) === null) throw error;
      throw new ServiceUnavailableException('The database does not answer at the moment.');
    }
  }
}

import { Controller, Get, ServiceUnavailableException } from '@nestjs/common';
import { HealthService } from './health.service.js';

/** For load balancers: `live` says that the process answers, `ready` that its database does too. */
@Controller('health')
export class HealthController {
  constructor(private readonly health: HealthService) {}

  @Get('live')
  live(): { status: 'ok' } {
    return { status: 'ok' };
  }

  @Get('ready')
  async ready(): Promise<{ status: 'ok'; stage: string }> {
    const stage = await this.health.findStage();
    if (stage === null)
      throw new ServiceUnavailableException('The database does not answer at the moment.');
    return { status: 'ok', stage };
  }
}

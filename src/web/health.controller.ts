import { Controller, Get, HttpException, HttpStatus } from '@nestjs/common';
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
      throw new HttpException(
        { status: 'unavailable', message: 'The database does not answer.' },
        HttpStatus.SERVICE_UNAVAILABLE,
      );
    return { status: 'ok', stage };
  }
}

import { UseGuards } from '@nestjs/common';
import { Query, Resolver } from '@nestjs/graphql';
import { SessionsService } from '../auth/sessions.service.js';
import { SignedInGuard, Viewer } from '../auth/viewer.js';
import { Device } from './device.types.js';
import { DevicesService } from './devices.service.js';

@Resolver(() => Device)
@UseGuards(SignedInGuard)
export class DevicesResolver {
  constructor(
    private readonly devicesService: DevicesService,
    private readonly sessions: SessionsService,
  ) {}

  @Query(() => [Device], { description: "The caller's devices." })
  async devices(@Viewer() viewer: Viewer): Promise<Device[]> {
    await this.sessions.checkExpanded();
    return this.devicesService.list(viewer.id);
  }
}

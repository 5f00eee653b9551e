import { UseGuards } from '@nestjs/common';
import { Args, Int, Mutation, Query, ResolveField, Resolver, Subscription } from '@nestjs/graphql';
import { Viewer } from '../auth/viewer.js';
import { mapped } from '../graphql/mapped.js';
import { ChangeoverService } from './changeover.service.js';
import {
  Changeover,
  ChangeoverStage,
  DeprecatedUsage,
  GateCondition,
  QuarantineConnection,
  ShadowDifferenceConnection,
} from './changeover.types.js';
import { OperatorGuard } from './operator.guard.js';

/** The changeover as operators see and lead it; whoever is none is told FORBIDDEN. */
@Resolver(() => Changeover)
export class ChangeoverResolver {
  constructor(private readonly service: ChangeoverService) {}

  @Query(() => Changeover, { nullable: true, description: 'For operators only.' })
  @UseGuards(OperatorGuard)
  changeover(): Promise<Changeover> {
    return this.service.find();
  }

  @ResolveField('quarantine', () => QuarantineConnection, {
    description: 'The old rows that could not be moved, by id.',
  })
  quarantine(
    @Args('first', { type: () => Int, nullable: true }) first?: number | null,
    @Args('after', { type: () => String, nullable: true }) after?: string | null,
    @Args('reason', { type: () => String, nullable: true }) reason?: string | null,
  ): Promise<QuarantineConnection> {
    return this.service.quarantine({
      first: first ?? null,
      after: after ?? null,
      reason: reason ?? null,
    });
  }

  @ResolveField('shadowDifferences', () => ShadowDifferenceConnection, {
    description: 'Old calls that both sides answer differently, one for each call of a person.',
  })
  shadowDifferences(
    @Args('first', { type: () => Int, nullable: true }) first?: number | null,
    @Args('after', { type: () => String, nullable: true }) after?: string | null,
  ): Promise<ShadowDifferenceConnection> {
    return this.service.shadowDifferences({ first: first ?? null, after: after ?? null });
  }

  @ResolveField('gate', () => [GateCondition], {
    description: 'What the contract step still waits for.',
  })
  gate(): Promise<readonly GateCondition[]> {
    return this.service.gate();
  }

  @ResolveField('deprecatedUsage', () => [DeprecatedUsage], {
    description: 'Who still calls what of the old API, the last call first.',
  })
  deprecatedUsage(): Promise<readonly DeprecatedUsage[]> {
    return this.service.deprecatedUsage();
  }

  @Mutation(() => Changeover, { description: 'For operators only: has the copy rest.' })
  @UseGuards(OperatorGuard)
  pauseChangeover(@Viewer() viewer: Viewer): Promise<Changeover> {
    return this.service.setPaused(viewer.id, true);
  }

  @Mutation(() => Changeover, { description: 'For operators only: has the copy go on.' })
  @UseGuards(OperatorGuard)
  resumeChangeover(@Viewer() viewer: Viewer): Promise<Changeover> {
    return this.service.setPaused(viewer.id, false);
  }

  @Mutation(() => Changeover, {
    description: 'For operators only. Null: as fast as is harmless.',
  })
  @UseGuards(OperatorGuard)
  setBackfillRate(
    @Viewer() viewer: Viewer,
    @Args('maxRowsPerSecond', { type: () => Int, nullable: true }) maxRowsPerSecond?: number | null,
  ): Promise<Changeover> {
    return this.service.setRate(viewer.id, maxRowsPerSecond ?? null);
  }

  @Mutation(() => Changeover, {
    description:
      'For operators only: of all people, so many percent are answered from the new side when they ask by the old API. More of them need a verification of the last 24 hours that found nothing.',
  })
  @UseGuards(OperatorGuard)
  setCutover(
    @Viewer() viewer: Viewer,
    @Args('percent', { type: () => Int }) percent: number,
  ): Promise<Changeover> {
    return this.service.setCutover(viewer.id, percent);
  }

  @Mutation(() => Changeover, {
    description: 'For operators only. confirm: the name of the stage, typed.',
  })
  @UseGuards(OperatorGuard)
  rollbackChangeover(
    @Viewer() viewer: Viewer,
    @Args('to', { type: () => ChangeoverStage }) to: ChangeoverStage,
    @Args('confirm') confirm: string,
  ): Promise<Changeover> {
    return this.service.rollback(viewer.id, to, confirm);
  }

  @Subscription(() => Changeover, {
    nullable: true,
    description: 'For operators only: where it stands, and each time that this has changed.',
  })
  @UseGuards(OperatorGuard)
  changeoverProgress(@Viewer() viewer: Viewer): AsyncIterable<{ changeoverProgress: Changeover }> {
    return mapped(this.service.follow(viewer.id), (changeover) => ({
      changeoverProgress: changeover,
    }));
  }
}

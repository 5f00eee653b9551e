import { Field, Float, ID, Int, ObjectType, registerEnumType } from '@nestjs/graphql';
import { STAGES } from '../changeover/stage.js';
import { PageInfo } from '../graphql/connections.js';
import { DateTime, SafeInt } from '../graphql/scalars.js';

export const ChangeoverStage = Object.fromEntries(STAGES.map((stage) => [stage, stage])) as {
  readonly [Name in (typeof STAGES)[number]]: Name;
};
export type ChangeoverStage = (typeof STAGES)[number];
registerEnumType(ChangeoverStage, { name: 'ChangeoverStage' });

@ObjectType()
export class QuarantinedMessage {
  @Field(() => ID)
  readonly legacyId!: string;

  @Field()
  readonly reason!: string;

  @Field()
  readonly detail!: string;
}

@ObjectType()
export class QuarantineEdge {
  @Field()
  readonly cursor!: string;

  @Field(() => QuarantinedMessage)
  readonly node!: QuarantinedMessage;
}

@ObjectType()
export class QuarantineConnection {
  @Field(() => [QuarantineEdge])
  readonly edges!: readonly QuarantineEdge[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;
}

@ObjectType({ description: 'An old call that both sides answer differently: the last time.' })
export class ShadowDifference {
  @Field({ description: 'With its arguments.' })
  readonly operation!: string;

  @Field(() => ID)
  readonly userId!: string;

  @Field(() => DateTime)
  readonly at!: Date;

  @Field()
  readonly oldAnswer!: string;

  @Field()
  readonly newAnswer!: string;

  @Field(() => String, { nullable: true, description: 'Why an operator says that it is right so.' })
  readonly reason!: string | null;
}

@ObjectType()
export class ShadowDifferenceEdge {
  @Field()
  readonly cursor!: string;

  @Field(() => ShadowDifference)
  readonly node!: ShadowDifference;
}

@ObjectType()
export class ShadowDifferenceConnection {
  @Field(() => [ShadowDifferenceEdge])
  readonly edges!: readonly ShadowDifferenceEdge[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;
}

@ObjectType({ description: 'One thing that the contract step waits for.' })
export class GateCondition {
  @Field()
  readonly name!: string;

  @Field(() => Boolean)
  readonly met!: boolean;

  @Field()
  readonly detail!: string;
}

@ObjectType({ description: 'Who still calls what of the old API, since expand.' })
export class DeprecatedUsage {
  @Field()
  readonly operation!: string;

  @Field()
  readonly client!: string;

  @Field(() => SafeInt)
  readonly calls!: number;

  @Field(() => DateTime)
  readonly lastCalledAt!: Date;
}

@ObjectType({ description: 'Where the move out of the old table stands.' })
export class Changeover {
  @Field(() => ChangeoverStage)
  readonly stage!: ChangeoverStage;

  @Field(() => Boolean)
  readonly paused!: boolean;

  @Field(() => SafeInt)
  readonly legacyMessages!: number;

  @Field(() => SafeInt)
  readonly migratedMessages!: number;

  @Field(() => SafeInt)
  readonly quarantinedMessages!: number;

  @Field(() => SafeInt, { description: 'What the old app wrote and is not on the new side yet.' })
  readonly pendingChanges!: number;

  @Field(() => SafeInt, {
    description: 'Receipts that are not written on all of their old rows yet.',
  })
  readonly pendingMirrors!: number;

  @Field(() => Float)
  readonly rowsPerSecond!: number;

  @Field(() => Int, { nullable: true })
  readonly etaSeconds!: number | null;

  @Field(() => String, { nullable: true, description: 'What the copy rests longer for.' })
  readonly throttledBy!: string | null;

  @Field(() => Float, {
    nullable: true,
    description: 'How long writers may have to wait for a lock of ours.',
  })
  readonly lockWaitMs!: number | null;

  @Field(() => Float, { nullable: true, description: 'Age of the oldest pending change.' })
  readonly oldSideLagMs!: number | null;

  @Field(() => Int, {
    description: 'Of the people who ask by the old API, how many are answered from the new side.',
  })
  readonly cutoverPercent!: number;

  @Field(() => SafeInt, { description: 'Old calls that were compared with the other side.' })
  readonly shadowCompared!: number;

  @Field(() => SafeInt, { description: 'Those of them that differed.' })
  readonly shadowMismatches!: number;

  @Field(() => DateTime, { nullable: true })
  readonly verifiedAt!: Date | null;

  @Field(() => SafeInt, { description: 'That the last verification found.' })
  readonly mismatches!: number;

  @Field(() => String, { nullable: true })
  readonly certificate!: string | null;
}

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

  @Field(() => DateTime, { nullable: true })
  readonly verifiedAt!: Date | null;

  @Field(() => SafeInt, { description: 'That the last verification found.' })
  readonly mismatches!: number;

  @Field(() => String, { nullable: true })
  readonly certificate!: string | null;
}

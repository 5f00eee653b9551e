import { Field, ID, ObjectType } from '@nestjs/graphql';
import { PageInfo } from '../graphql/connections.js';
import { globalId } from '../graphql/global-ids.js';
import { DateTime, instantToDate } from '../graphql/scalars.js';
import { MessageStatus } from '../messages/message.types.js';
import type { ReceiptRow } from './receipt-reader.js';
import { ViewerIndependent } from '../graphql/viewer-independence.js';

@ObjectType({
  description:
    'That somebody has got, or read, all messages of a conversation up to one. It never goes back.',
})
export class Receipt {
  @ViewerIndependent()
  @Field(() => ID)
  readonly conversationId!: string;

  @ViewerIndependent()
  @Field(() => MessageStatus)
  readonly status!: MessageStatus;

  @ViewerIndependent()
  @Field(() => ID)
  readonly upToMessageId!: string;

  @ViewerIndependent()
  @Field(() => DateTime, {
    nullable: true,
    description: 'Null: it was migrated, and nobody knows when.',
  })
  readonly at!: Date | null;

  /** Whose; not a field. */
  readonly userKey!: string;
}

@ObjectType()
export class ReceiptEdge {
  @Field()
  readonly cursor!: string;

  @Field(() => Receipt)
  readonly node!: Receipt;
}

@ObjectType()
export class ReceiptConnection {
  @Field(() => [ReceiptEdge])
  readonly edges!: readonly ReceiptEdge[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;
}

const STATUSES = [
  MessageStatus.SENT,
  MessageStatus.SENT,
  MessageStatus.DELIVERED,
  MessageStatus.READ,
] as const;

/** A status of the API from its code in the database. */
export function presentStatus(code: number): MessageStatus {
  return STATUSES[code] ?? MessageStatus.SENT;
}

export function presentReceipt(row: ReceiptRow): Receipt {
  return {
    conversationId: globalId('Conversation', row.conversationId),
    status: presentStatus(row.status),
    upToMessageId: globalId('Message', row.upToMessageId),
    at: row.at === null ? null : instantToDate(row.at),
    userKey: row.userId,
  };
}

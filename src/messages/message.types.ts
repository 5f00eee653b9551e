import { Field, ID, InputType, ObjectType, registerEnumType } from '@nestjs/graphql';
import { PageInfo } from '../graphql/connections.js';
import { Node } from '../graphql/node.js';
import { DateTime } from '../graphql/scalars.js';
import type { MessageRow } from './message-reader.js';
import { ViewerIndependent } from '../graphql/viewer-independence.js';

export enum MessageKind {
  TEXT = 'TEXT',
  IMAGE = 'IMAGE',
  AUDIO = 'AUDIO',
  VIDEO = 'VIDEO',
  FILE = 'FILE',
  SYSTEM = 'SYSTEM',
}
registerEnumType(MessageKind, { name: 'MessageKind' });

export enum MessageStatus {
  SENT = 'SENT',
  DELIVERED = 'DELIVERED',
  READ = 'READ',
}
registerEnumType(MessageStatus, {
  name: 'MessageStatus',
  description: 'The least that is true of every other participant.',
});

@ObjectType({ implements: () => [Node], description: 'A message, as the viewer sees it.' })
export class Message implements Node {
  @ViewerIndependent()
  @Field(() => ID)
  readonly id!: string;

  @ViewerIndependent()
  @Field(() => MessageKind)
  readonly kind!: MessageKind;

  @ViewerIndependent()
  @Field(() => String, { nullable: true })
  readonly text!: string | null;

  @ViewerIndependent()
  @Field(() => DateTime)
  readonly sentAt!: Date;

  @ViewerIndependent()
  @Field(() => ID, { nullable: true, description: "The old row's key." })
  readonly legacyId!: string | null;

  /** Not a field. */
  readonly row!: MessageRow;
}

@ObjectType()
export class MessageEdge {
  @Field()
  readonly cursor!: string;

  @Field(() => Message)
  readonly node!: Message;
}

@ObjectType()
export class MessageConnection {
  @Field(() => [MessageEdge])
  readonly edges!: readonly MessageEdge[];

  @Field(() => PageInfo)
  readonly pageInfo!: PageInfo;
}

@InputType()
export class SendMessageInput {
  @Field(() => ID)
  readonly conversationId!: string;

  @Field({
    description:
      'Made by the client, 1 to 64 characters: a retry with the same one returns the first message.',
  })
  readonly clientId!: string;

  @Field(() => String, { nullable: true, description: '1 to 20,000 characters.' })
  readonly text?: string | null;

  @Field(() => ID, { nullable: true })
  readonly replyToId?: string | null;
}

/** A message of the API from a row. */
export function presentMessage(row: MessageRow, globalId: string): Message {
  return {
    id: globalId,
    kind: MessageKind[row.kind.toUpperCase() as keyof typeof MessageKind],
    text: textOf(row.text),
    sentAt: new Date(Math.floor(Number(row.sentAt) / 1_000)),
    legacyId: row.legacyId,
    row,
  };
}

/** Bytes that are no text are shown with U+FFFD; what is stored stays as it is. */
function textOf(text: MessageRow['text']): string | null {
  if (text === null) return null;
  return Buffer.isBuffer(text) ? text.toString('utf8') : String(text);
}

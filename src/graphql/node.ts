import { Field, ID, InterfaceType } from '@nestjs/graphql';
import { typeOfId } from './global-ids.js';
import { ViewerIndependent } from './viewer-independence.js';

@InterfaceType({
  description: 'What has a global id, readable, with the prefix of its type: usr_7, dev_3.',
  resolveType: ({ id }: Node) => typeOfId(id),
})
export abstract class Node {
  @ViewerIndependent()
  @Field(() => ID)
  readonly id!: string;
}

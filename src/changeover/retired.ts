import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { ChangeoverState } from './stage.js';

/** What the old table of messages is called once the contract step has put it away, until it is dropped. */
export function retiredName({ messages }: LegacyMapping): string {
  return `${messages.table}_retired`;
}

/** The mapping of the old tables with that name. */
export function retiredMapping(mapping: LegacyMapping): LegacyMapping {
  return { ...mapping, messages: { ...mapping.messages, table: retiredName(mapping) } };
}

/** The mapping under which the old table is found at the moment. */
export function presentMapping(
  mapping: LegacyMapping,
  { retiredAt }: Pick<ChangeoverState, 'retiredAt'>,
): LegacyMapping {
  return retiredAt === null ? mapping : retiredMapping(mapping);
}

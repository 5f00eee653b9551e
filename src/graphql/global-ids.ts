import { isDatabaseId } from '../database/ids.js';

/** The prefix of each type's ids in the API. */
export const PREFIXES = {
  User: 'usr',
  Conversation: 'conv',
  Message: 'msg',
  Participant: 'part',
  Device: 'dev',
} as const;

export type NodeType = keyof typeof PREFIXES;

/** `usr_7` for the database's 7. */
export function globalId(type: NodeType, id: string): string {
  return `${PREFIXES[type]}_${id}`;
}

/** The database's id in a global one of this type; null when it is none, so that it is answered as what does not exist. */
export function findDatabaseId(type: NodeType, id: string): string | null {
  const prefix = `${PREFIXES[type]}_`;
  if (!id.startsWith(prefix)) return null;
  const own = id.slice(prefix.length);
  return isDatabaseId(own) ? own : null;
}

/** The type that a global id names by its prefix. */
export function typeOfId(id: string): NodeType | undefined {
  return NODE_TYPES.find((type) => id.startsWith(`${PREFIXES[type]}_`));
}

const NODE_TYPES = Object.keys(PREFIXES) as NodeType[];

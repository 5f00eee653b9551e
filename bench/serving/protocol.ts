/** What drivers ask of each server, in the same words: of Segue, of Mercurius, and of the bare floor, which only looks for them. */
export const SEND =
  'mutation S($input: SendMessageInput!) { sendMessage(input: $input) { id sentAt } }';
export const LISTEN =
  'subscription L($c: ID!) { messageAdded(conversationId: $c) { id text sentAt sender { id name } } }';

/** One who connects, and the conversation that he writes to or listens to. */
export interface Member {
  readonly token: string;
  readonly conversationId: string;
}

export interface Connect {
  readonly url: string;
  readonly listeners: readonly Member[];
  readonly senders: readonly Member[];
  /** How many have to receive a message before its sender sends the next one. */
  readonly receivers: number;
}

/** What a driver is told by its parent. */
export type Order =
  | { readonly do: 'connect'; readonly with: Connect }
  | { readonly do: 'send'; readonly seconds: number };

export interface Sent {
  readonly messages: number;
  readonly seconds: number;
  /** From a send to the answer and the last receiver, in ms, ascending. */
  readonly p50: number;
  readonly p99: number;
}

/** What a server uses: CPU since it began, in ms, and its resident memory. */
export interface Usage {
  readonly cpuMs: number;
  readonly rssBytes: number;
}

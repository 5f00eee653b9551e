/**
 * What a client knows, kept by the events alone, as docs/protocol.md tells clients to: the test of equivalence compares it
 * with what a client that begins anew would be told.
 */

type Fields = Record<string, unknown>;

interface Ref {
  readonly id: string;
}

export interface MessageState extends Ref {
  readonly sentAt: string;
  status: string;
  readonly sender: Ref | null;
  readonly conversation: Ref;
  receipts: { edges: { node: ReceiptState }[] };
}

export interface ReceiptState {
  readonly status: string;
  readonly upToMessageId: string;
  readonly at: string | null;
  readonly user: Ref | null;
}

export interface ConversationState extends Ref {
  readonly participants: { edges: { node: { user: Ref | null } & Fields }[] };
}

const CONVERSATION = `id kind name title avatarUrl lastActivityAt isMarkedUnread unreadCount participantCount historyState createdAt
  createdBy { id } lastMessage { id } firstUnreadMessage { id } myParticipant { ...P }
  participants(first: 100) { edges { node { ...P } } }`;

/** What is shown of one conversation that is new to somebody. */
export const HISTORY = (id: string): string =>
  `{ conversation(id: "${id}") { messages(last: 100) { edges { node { ...M } } } } }${MESSAGES}`;

const FRAGMENTS = `
fragment P on Participant { id role joinedAt lastReadMessageId lastReadAt lastDeliveredMessageId lastDeliveredAt user { id name } }`;

const MESSAGES = `
fragment R on Receipt { status upToMessageId at user { id } }
fragment M on Message { id kind text sentAt status clientId legacyId sender { id name } replyTo { id } conversation { id }
  receipts(first: 100) { edges { node { ...R } } } }`;

/** All that a person is shown. */
export const STATE = `{
  devices { id deviceId deviceType }
  conversations(first: 100) { edges { node { ${CONVERSATION} messages(last: 100) { edges { node { ...M } } } } } }
}${FRAGMENTS}${MESSAGES}`;

export const EVENTS = `subscription ($after: String) { events(after: $after) { __typename cursor
  ... on MessageAdded { message { ...M conversation { ${CONVERSATION} } } }
  ... on MessageChanged { message { ...M conversation { ${CONVERSATION} } } }
  ... on MessageRemoved { messageId conversationId conversation { ${CONVERSATION} } }
  ... on ReceiptUpdated { receipt { conversationId ...R } conversation { ${CONVERSATION} } }
  ... on ConversationChanged { conversation { ${CONVERSATION} } }
  ... on ConversationLeft { conversationId }
  ... on DeviceChanged { device { id deviceId deviceType } }
  ... on ResyncRequired { reason }
} }${FRAGMENTS}${MESSAGES}`;

export interface ToldEvent extends Fields {
  readonly __typename: string;
  readonly cursor: string;
}

const RANK = ['SENT', 'DELIVERED', 'READ'];

export class Replica {
  private conversations = new Map<string, ConversationState>();
  private messages = new Map<string, Map<string, MessageState>>();
  private devices = new Map<string, Ref>();

  /** From the answer to `STATE`. */
  constructor(state: Fields) {
    const { conversations, devices } = state as {
      devices: Ref[];
      conversations: {
        edges: {
          node: ConversationState & { messages: { edges: { node: MessageState }[] } };
        }[];
      };
    };
    for (const device of devices) this.devices.set(device.id, device);
    for (const { node } of conversations.edges) {
      const { messages, ...conversation } = node;
      this.conversations.set(node.id, conversation);
      this.messages.set(node.id, new Map(messages.edges.map(({ node: one }) => [one.id, one])));
    }
  }

  /** @returns a conversation that was not known, and whose messages have to be read */
  apply(event: ToldEvent): string | null {
    const before = new Set(this.conversations.keys());
    this.work(event);
    return [...this.conversations.keys()].find((id) => !before.has(id)) ?? null;
  }

  /** From the answer to `HISTORY`. */
  fill(id: string, state: Fields): void {
    const { conversation } = state as {
      conversation: { messages: { edges: { node: MessageState }[] } } | null;
    };
    const edges = conversation?.messages.edges ?? [];
    this.messages.set(id, new Map(edges.map(({ node }) => [node.id, node])));
  }

  private work(event: ToldEvent): void {
    switch (event.__typename) {
      case 'MessageAdded':
      case 'MessageChanged': {
        const { conversation, ...message } = event.message as MessageState & {
          conversation: ConversationState;
        };
        this.take(conversation);
        this.of(conversation.id).set(message.id, {
          ...message,
          conversation: { id: conversation.id },
        });
        return;
      }
      case 'MessageRemoved':
        this.of(String(event.conversationId)).delete(String(event.messageId));
        this.take(event.conversation as ConversationState);
        return;
      case 'ReceiptUpdated':
        this.take(event.conversation as ConversationState);
        this.receive(event.receipt as ReceiptState & { conversationId: string });
        return;
      case 'ConversationChanged':
        this.take(event.conversation as ConversationState);
        return;
      case 'ConversationLeft':
        this.conversations.delete(String(event.conversationId));
        this.messages.delete(String(event.conversationId));
        return;
      case 'DeviceChanged':
        this.devices.set((event.device as Ref).id, event.device as Ref);
        return;
      default:
        throw new Error(`No client knows what to do with ${JSON.stringify(event)}`);
    }
  }

  /** What is known, in a form that two of them are compared by. */
  known(): unknown {
    const byId = (a: Ref, b: Ref): number => (a.id < b.id ? -1 : 1);
    return structuredClone({
      devices: [...this.devices.values()].sort(byId),
      conversations: [...this.conversations.values()].sort(byId).map((conversation) => ({
        ...conversation,
        messages: this.inOrder(conversation.id).map((message) => ({
          ...message,
          receipts: message.receipts.edges
            .map(({ node }) => node)
            .sort((a, b) => ((a.user?.id ?? '') < (b.user?.id ?? '') ? -1 : 1)),
        })),
      })),
    });
  }

  private of(conversationId: string): Map<string, MessageState> {
    const known = this.messages.get(conversationId) ?? new Map<string, MessageState>();
    this.messages.set(conversationId, known);
    return known;
  }

  private take(conversation: ConversationState): void {
    this.conversations.set(conversation.id, conversation);
  }

  private inOrder(conversationId: string): MessageState[] {
    const number = ({ id }: Ref): bigint => BigInt(id.replace('msg_', ''));
    return [...this.of(conversationId).values()].sort((a, b) =>
      a.sentAt === b.sentAt ? (number(a) < number(b) ? -1 : 1) : a.sentAt < b.sentAt ? -1 : 1,
    );
  }

  /** Each message up to there has at least that status from its user. */
  private receive({ conversationId, ...receipt }: ReceiptState & { conversationId: string }): void {
    const members = this.conversations.get(conversationId)?.participants.edges ?? [];
    const messages = this.inOrder(conversationId);
    const last = messages.findIndex(({ id }) => id === receipt.upToMessageId);
    for (const message of messages.slice(0, last + 1)) {
      if (message.sender?.id === receipt.user?.id) continue;
      // What was sent before he joined was not for him.
      const member = members.find(({ node }) => node.user?.id === receipt.user?.id);
      if (member !== undefined && message.sentAt < String(member.node.joinedAt)) continue;
      const others = message.receipts.edges.filter(
        ({ node }) => node.user?.id !== receipt.user?.id,
      );
      const mine = message.receipts.edges.find(({ node }) => node.user?.id === receipt.user?.id);
      // A receipt of the old app's, whose time nobody knows, gives way to one that has a time.
      const isNew =
        mine === undefined ||
        (mine.node.at === null && mine.node.status === receipt.status) ||
        RANK.indexOf(mine.node.status) < RANK.indexOf(receipt.status);
      message.receipts = {
        edges: isNew ? [...others, { node: receipt }] : message.receipts.edges,
      };
      const statuses = members
        .filter(({ node }) => message.sentAt >= String(node.joinedAt))
        .map(({ node }) => node.user?.id)
        .filter((id) => id !== message.sender?.id)
        .map((id) => {
          const one = message.receipts.edges.find(({ node }) => node.user?.id === id);
          return one === undefined ? 0 : RANK.indexOf(one.node.status);
        });
      const least = Math.min(2, ...statuses);
      message.status = RANK[Math.max(least, RANK.indexOf(message.status))] ?? 'SENT';
    }
  }
}

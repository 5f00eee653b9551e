import { setTimeout as sleep } from 'node:timers/promises';
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { OperationTypeNode } from 'graphql';
import { createClient } from 'graphql-ws';
import { tap } from 'rxjs';
import { WebSocket } from 'ws';
import { issueToken } from '../../src/auth/tokens.service.js';
import type { DatabaseLocation } from '../../src/config/config.js';
import { asOldApp, atTheEnd, ENGINES, urlOf } from '../helpers/databases.js';
import { Heard } from '../helpers/heard.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';
import { ask, serve } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

const FRAGMENTS = gql`
  fragment MessageParts on Message {
    id
    text
    kind
    sentAt
    status
    sender {
      id
      name
    }
    replyTo {
      id
      text
    }
  }
  fragment ConversationParts on Conversation {
    id
    kind
    name
    title
    lastActivityAt
    unreadCount
    isMarkedUnread
    participantCount
    lastMessage {
      ...MessageParts
    }
    participants(first: 100) {
      edges {
        node {
          id
          role
          lastReadMessageId
          lastDeliveredMessageId
          user {
            id
            name
          }
        }
      }
    }
  }
`;

const LIST = gql`
  query List {
    conversations(first: 100) {
      edges {
        node {
          ...ConversationParts
        }
      }
    }
  }
  ${FRAGMENTS}
`;

const ONE = gql`
  query One($id: ID!) {
    conversation(id: $id) {
      ...ConversationParts
      messages(last: 100) {
        edges {
          node {
            ...MessageParts
          }
        }
      }
    }
  }
  ${FRAGMENTS}
`;

const EVENTS = gql`
  subscription Events($after: String) {
    events(after: $after) {
      cursor
      ... on MessageAdded {
        message {
          ...MessageParts
          conversation {
            ...ConversationParts
          }
        }
      }
      ... on MessageChanged {
        message {
          ...MessageParts
        }
      }
      ... on MessageRemoved {
        messageId
        conversation {
          ...ConversationParts
        }
      }
      ... on ReceiptUpdated {
        conversation {
          ...ConversationParts
        }
      }
      ... on ConversationChanged {
        conversation {
          ...ConversationParts
        }
      }
      ... on ConversationLeft {
        conversationId
      }
    }
  }
  ${FRAGMENTS}
`;

type Status = 'SENT' | 'DELIVERED' | 'READ';
const STATUSES: readonly Status[] = ['SENT', 'DELIVERED', 'READ'];

interface Message {
  readonly id: string;
  readonly text: string | null;
  readonly sentAt: string;
  readonly status: Status;
  readonly sender: { readonly id: string } | null;
}
interface Participant {
  readonly lastReadMessageId: string | null;
  readonly lastDeliveredMessageId: string | null;
  readonly user: { readonly id: string } | null;
}
interface Edge<Node> {
  readonly __typename: string;
  readonly node: Node;
}
interface Conversation {
  readonly id: string;
  readonly lastActivityAt: string;
  readonly participants: { readonly edges: readonly Edge<Participant>[] };
}
interface List {
  readonly conversations: { readonly edges: readonly Edge<Conversation>[] };
}
interface One {
  readonly conversation: Conversation & {
    readonly messages: { readonly edges: readonly Edge<Message>[] };
  };
}
type Told = { readonly cursor: string } & (
  | {
      readonly __typename: 'MessageAdded';
      readonly message: Message & { readonly conversation: Conversation };
    }
  | { readonly __typename: 'MessageChanged'; readonly message: Message }
  | {
      readonly __typename: 'MessageRemoved';
      readonly messageId: string;
      readonly conversation: Conversation;
    }
  | {
      readonly __typename: 'ReceiptUpdated' | 'ConversationChanged';
      readonly conversation: Conversation;
    }
  | { readonly __typename: 'ConversationLeft'; readonly conversationId: string }
  | { readonly __typename: 'ResyncRequired' | 'DeviceChanged' }
);

const number = (id: string): number => Number(id.replace(/^\w+_/, ''));

/**
 * What a client does with each event, as docs/protocol.md has it. The fields of what an event names were merged by id into
 * the cache before: what is left are the lists.
 * @param open the conversation that is shown
 */
function apply(cache: InMemoryCache, open: string, event: Told): void {
  const inList = (conversation: Conversation): void => {
    cache.updateQuery<List>({ query: LIST }, (list) => {
      if (list === null) return list;
      const others = list.conversations.edges.filter(({ node }) => node.id !== conversation.id);
      const edges = [...others, { __typename: 'ConversationEdge', node: conversation }].sort(
        (a, b) =>
          b.node.lastActivityAt.localeCompare(a.node.lastActivityAt) ||
          number(b.node.id) - number(a.node.id),
      );
      return { ...list, conversations: { ...list.conversations, edges } };
    });
  };
  const inOpen = (change: (edges: readonly Edge<Message>[]) => Edge<Message>[]): void => {
    cache.updateQuery<One>({ query: ONE, variables: { id: open } }, (one) => {
      if (one === null) return one;
      const { conversation } = one;
      const { messages } = conversation;
      return {
        ...one,
        conversation: { ...conversation, messages: { ...messages, edges: change(messages.edges) } },
      };
    });
  };
  switch (event.__typename) {
    case 'MessageAdded': {
      const { message } = event;
      inList(message.conversation);
      if (message.conversation.id === open)
        inOpen((edges) =>
          [
            ...edges.filter(({ node }) => node.id !== message.id),
            { __typename: 'MessageEdge', node: message },
          ].sort(
            (a, b) =>
              a.node.sentAt.localeCompare(b.node.sentAt) || number(a.node.id) - number(b.node.id),
          ),
        );
      break;
    }
    case 'MessageRemoved':
      inList(event.conversation);
      inOpen((edges) => edges.filter(({ node }) => node.id !== event.messageId));
      break;
    case 'ReceiptUpdated':
      inList(event.conversation);
      if (event.conversation.id === open)
        inOpen((edges) => raised(edges, event.conversation.participants.edges));
      break;
    case 'ConversationChanged':
      inList(event.conversation);
      break;
    case 'ConversationLeft':
      cache.updateQuery<List>({ query: LIST }, (list) =>
        list === null
          ? list
          : {
              ...list,
              conversations: {
                ...list.conversations,
                edges: list.conversations.edges.filter(
                  ({ node }) => node.id !== event.conversationId,
                ),
              },
            },
      );
      break;
    case 'MessageChanged':
    case 'DeviceChanged':
      break;
    case 'ResyncRequired':
      throw new Error('There was a gap');
  }
}

/** Each message with at least the status that all others have come to. */
function raised(
  edges: readonly Edge<Message>[],
  members: readonly Edge<Participant>[],
): Edge<Message>[] {
  const places = new Map(edges.map(({ node }, place) => [node.id, place]));
  const reaches = (id: string | null, place: number): boolean =>
    id !== null && (places.get(id) ?? -1) >= place;
  return edges.map((edge, place) => {
    const least = Math.min(
      ...members
        .filter(({ node }) => node.user?.id !== edge.node.sender?.id)
        .map(({ node }) =>
          reaches(node.lastReadMessageId, place)
            ? 2
            : reaches(node.lastDeliveredMessageId, place)
              ? 1
              : 0,
        ),
    );
    const status = STATUSES[Math.max(least, STATUSES.indexOf(edge.node.status))] ?? 'SENT';
    return { ...edge, node: { ...edge.node, status } };
  });
}

describe.each(ENGINES)('Apollo Client with a server on %s', (engine) => {
  let location: DatabaseLocation;
  let url: string;
  let sent = 0;

  beforeAll(async () => {
    const legacy = await legacyDatabase(engine, { messages: 100 });
    ({ location } = legacy);
    await migrate(legacy.database);
    await legacy.database.close();
    ({ url } = await serve({ DATABASE_URL: urlOf(location), JWT_SECRET: SECRET }));
  });

  const tokenOf = (id: number): Promise<string> =>
    issueToken({ id: String(id), phone: `080${String(id).padStart(8, '0')}` }, SECRET);

  const get = async (
    viewer: number,
    query: string,
    variables: Record<string, unknown> = {},
  ): Promise<string> => {
    const { data, errors } = await ask(url, await tokenOf(viewer), query, variables);
    if (errors !== undefined) throw new Error(`${JSON.stringify(errors)}: ${query}`);
    const [value] = Object.values(data ?? {});
    return typeof value === 'string' ? value : ((value as { id?: string }).id ?? '');
  };
  const send = (
    viewer: number,
    conversationId: string,
    text: string,
    replyToId: string | null = null,
  ): Promise<string> => {
    sent += 1;
    const input = { conversationId, text, replyToId, clientId: `apollo ${sent}` };
    return get(
      viewer,
      'mutation S($input: SendMessageInput!) { sendMessage(input: $input) { id } }',
      { input },
    );
  };
  const group = (name: string, ...others: number[]): Promise<string> =>
    get(1, 'mutation G($input: CreateGroupInput!) { createGroup(input: $input) { id } }', {
      input: { name, participantIds: others.map((id) => `usr_${id}`) },
    });
  const mark = (
    field: 'markRead' | 'markDelivered',
    viewer: number,
    conversation: string,
    message: string,
  ): Promise<string> =>
    get(
      viewer,
      `mutation M($c: ID!, $m: ID!) { ${field}(conversationId: $c, upToMessageId: $m) { status } }`,
      { c: conversation, m: message },
    );

  const apolloOf = (token: string, link?: ApolloLink): ApolloClient => {
    const http = new HttpLink({
      uri: `${url}/graphql`,
      headers: { authorization: `Bearer ${token}` },
    });
    const replaced = { merge: false } as const;
    const client = new ApolloClient({
      cache: new InMemoryCache({
        typePolicies: {
          Query: { fields: { conversations: replaced } },
          Conversation: { fields: { messages: replaced, participants: replaced } },
        },
      }),
      link:
        link === undefined
          ? http
          : ApolloLink.split(
              ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
              link,
              http,
            ),
    });
    atTheEnd(() => {
      client.stop();
      return Promise.resolve();
    });
    return client;
  };

  it.each([
    ['kept', false],
    ['cut again and again', true],
  ])('holds what a fresh query gives, with a socket that is %s', async (_, isCut) => {
    const token = await tokenOf(2);
    let opened: WebSocket | undefined;
    const socket = createClient({
      url: `${url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      on: {
        opened: (given) => {
          opened = given as WebSocket;
        },
      },
      connectionParams: { authorization: `Bearer ${token}` },
      retryAttempts: Number.POSITIVE_INFINITY,
      retryWait: () => sleep(50),
      shouldRetry: () => true,
    });
    atTheEnd(async () => {
      await socket.dispose();
    });
    // When it connects again it sends these variables anew: with the cursor of the last event.
    const fromCursor = new ApolloLink((operation, forward) =>
      forward(operation).pipe(
        tap(({ data }) => {
          const { events } = (data ?? {}) as { events?: Told };
          if (events !== undefined) operation.variables.after = events.cursor;
        }),
      ),
    );
    const client = apolloOf(token, ApolloLink.from([fromCursor, new GraphQLWsLink(socket)]));
    const cache = client.cache as InMemoryCache;
    const open = await group('open', 2, 3);
    const left = await group('left', 2, 3);
    await send(1, open, 'there before');

    const after = await get(2, '{ eventCursor }');
    await client.query({ query: LIST });
    await client.query({ query: ONE, variables: { id: open } });
    const heard = new Heard<Told>();
    client.subscribe<{ events: Told }>({ query: EVENTS, variables: { after } }).subscribe({
      next: ({ data, error }) => {
        if (data === undefined) {
          heard.fail(error);
          return;
        }
        apply(cache, open, data.events);
        heard.add(data.events);
      },
      error: (error: unknown) => {
        heard.fail(error);
      },
    });
    const cut = (): void => {
      if (isCut) opened?.terminate();
    };
    const heardOf = (text: string): Promise<void> =>
      heard.until((events) =>
        events.some((event) => event.__typename === 'MessageAdded' && event.message.text === text),
      );

    const first = await send(1, open, 'one');
    await heardOf('one');
    cut();
    await send(3, open, 'two', first);
    const own = await send(2, open, 'three, by the viewer');
    await mark('markDelivered', 3, open, own);
    cut();
    await mark('markRead', 1, open, own);
    await mark('markRead', 2, open, first);
    await get(1, 'mutation U($c: ID!) { updateGroup(id: $c, input: { name: "renamed" }) { id } }', {
      c: open,
    });
    const made = await group('made meanwhile', 2);
    await send(1, made, 'welcome');
    await heardOf('welcome');
    cut();
    await get(
      1,
      'mutation R($c: ID!) { removeParticipant(conversationId: $c, userId: "usr_2") { id } }',
      { c: left },
    );
    await send(3, left, 'not for the viewer');
    const gone = await send(1, open, 'deleted by the old app');
    await send(1, open, 'changed by the old app');
    await heardOf('changed by the old app');
    await asOldApp(
      location,
      `INSERT INTO messages (sender_id, recipient_id, content, type, status, created_at)
       VALUES (1, 2, 'by raw SQL', 'text', 'sent', CURRENT_TIMESTAMP)`,
      `UPDATE messages SET content = 'changed' WHERE content = 'changed by the old app'`,
      `DELETE FROM messages WHERE id = ${number(gone)}`,
    );
    cut();
    await heardOf('by raw SQL');
    await heard.until(
      (events) =>
        events.some(({ __typename }) => __typename === 'MessageRemoved') &&
        events.some(({ __typename }) => __typename === 'MessageChanged'),
    );
    await mark('markRead', 3, open, own);
    await get(2, 'mutation U($c: ID!) { markUnread(conversationId: $c) { id } }', { c: made });
    const last = `the last one${isCut ? ', after cuts' : ''}`;
    await send(3, open, last);
    await heardOf(last);

    const fresh = apolloOf(token);
    expect(cache.readQuery({ query: LIST })).toEqual((await fresh.query({ query: LIST })).data);
    const variables = { id: open };
    const shown = (await fresh.query({ query: ONE, variables })).data as One | undefined;
    expect(cache.readQuery({ query: ONE, variables })).toEqual(shown);
    // And it is not for want of anything to hold.
    const messages = shown?.conversation.messages.edges.map(({ node }) => [node.text, node.status]);
    expect(messages).toEqual([
      ['there before', 'READ'],
      ['one', 'READ'],
      ['two', 'SENT'],
      ['three, by the viewer', 'READ'],
      ['changed', 'SENT'],
      [last, 'SENT'],
    ]);
  });
});

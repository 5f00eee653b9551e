import { beforeAll, describe, expect, it } from '@jest/globals';
import {
  getNamedType,
  type GraphQLField,
  type GraphQLInputType,
  isInputObjectType,
  isLeafType,
  isObjectType,
} from 'graphql';
import type { Database } from '../../src/database/database.js';
import { type App, appOn, listening, type Outcome } from '../helpers/app.js';
import { ENGINES } from '../helpers/databases.js';
import { legacyDatabase, migrate } from '../helpers/legacy.js';

/** Who asks, by the database's ids. */
const PEOPLE = { anonymous: null, stranger: '4', member: '2', admin: '1', former: '3' } as const;
type Who = keyof typeof PEOPLE;
const WHO = Object.keys(PEOPLE) as Who[];

/** A member who writes, and whom all but the stranger have a conversation with. */
const WRITER = '5';

/** A group, and what was said in it before and after the former member was removed. */
interface Scene {
  readonly group: string;
  readonly groupNumber: number;
  readonly early: string;
  readonly late: string;
  /** A row of the old table, from the writer to the member. */
  readonly toMember: number;
  /** The caller's number. */
  readonly me: number;
}

/** `empty`: a list without what the scene has in it. */
type Gets = 'ok' | 'null' | 'empty' | 'hears' | 'silent' | (string & {});

interface Case {
  readonly of?: string;
  /** The field, with its arguments and what is asked of it. */
  readonly ask: (scene: Scene) => string;
  /** What a list or a text has to have in it, to be more than empty. */
  readonly shows?: (scene: Scene) => string;
  /** Anonymous, stranger, member, admin, former member. */
  readonly gets: readonly [Gets, Gets, Gets, Gets, Gets];
}

const OUT = 'UNAUTHENTICATED';
const WRONG = 'BAD_USER_INPUT';
const ALL = [OUT, 'ok', 'ok', 'ok', 'ok'] as const;
const INSIDE = [OUT, 'NOT_FOUND', 'ok', 'ok', 'NOT_FOUND'] as const;
const ADMIN = [OUT, 'NOT_FOUND', 'FORBIDDEN', 'ok', 'NOT_FOUND'] as const;
const NOBODY = [OUT, 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN'] as const;

const number = (id: string): string => id.replace(/^\w+_/, '');

const QUERIES: Record<string, readonly Case[]> = {
  // Operators' own tests say what they get.
  changeover: [{ ask: () => 'changeover { stage }', gets: NOBODY }],
  conversation: [
    {
      ask: ({ group }) => `conversation(id: "${group}") { id }`,
      gets: [OUT, 'null', 'ok', 'ok', 'ok'],
    },
  ],
  conversations: [
    {
      ask: () => 'conversations(first: 100) { edges { node { id } } }',
      shows: ({ group }) => group,
      gets: [OUT, 'empty', 'ok', 'ok', 'empty'],
    },
  ],
  devices: [{ ask: () => 'devices { id }', gets: ALL }],
  directConversation: [
    {
      ask: () => `directConversation(userId: "usr_${WRITER}") { id }`,
      gets: [OUT, 'null', 'ok', 'ok', 'ok'],
    },
  ],
  eventCursor: [{ ask: () => 'eventCursor', gets: ALL }],
  // The old table knows no removal: who wrote in a group reads it there, as in the old app.
  groupMessages: [
    {
      ask: ({ groupNumber }) => `groupMessages(groupId: ${groupNumber}) { id }`,
      shows: ({ late }) => number(late),
      gets: [OUT, 'empty', 'ok', 'ok', 'ok'],
    },
  ],
  me: [{ ask: () => 'me { id }', gets: ALL }],
  message: [
    {
      ask: ({ late }) => `message(id: ${number(late)}) { id }`,
      gets: [OUT, 'null', 'ok', 'ok', 'ok'],
    },
    {
      of: 'two other people',
      ask: ({ toMember }) => `message(id: ${toMember}) { id }`,
      gets: [OUT, 'null', 'ok', 'null', 'null'],
    },
  ],
  messages: [
    {
      ask: ({ me }) => `messages(userId: ${me}, peerId: ${WRITER}) { id }`,
      shows: ({ toMember }) => String(toMember),
      gets: [OUT, 'empty', 'ok', 'empty', 'empty'],
    },
    {
      of: 'another person',
      ask: () => `messages(userId: ${WRITER}, peerId: 1) { id }`,
      gets: NOBODY,
    },
  ],
  node: [
    { of: 'a person', ask: () => 'node(id: "usr_5") { id }', gets: ALL },
    {
      of: 'a conversation',
      ask: ({ group }) => `node(id: "${group}") { id }`,
      gets: [OUT, 'null', 'ok', 'ok', 'ok'],
    },
    {
      of: 'a message before the removal',
      ask: ({ early }) => `node(id: "${early}") { id }`,
      gets: [OUT, 'null', 'ok', 'ok', 'ok'],
    },
    {
      of: 'a message after the removal',
      ask: ({ late }) => `node(id: "${late}") { id }`,
      gets: [OUT, 'null', 'ok', 'ok', 'null'],
    },
    {
      of: 'a member',
      ask: ({ group }) => `node(id: "part_${number(group)}_${WRITER}") { id }`,
      gets: [OUT, 'null', 'ok', 'ok', 'null'],
    },
    {
      of: 'the former member’s device',
      ask: () => 'node(id: "dev_1") { id }',
      gets: [OUT, 'null', 'null', 'null', 'ok'],
    },
    { of: 'nothing of the kind', ask: () => 'node(id: "x_1") { id }', gets: [OUT, ...nulls()] },
  ],
  presence: [{ ask: () => `presence(userIds: ["usr_${WRITER}"]) { status }`, gets: ALL }],
  recentMessages: [
    {
      ask: ({ me }) => `recentMessages(userId: ${me}) { id }`,
      shows: ({ late }) => number(late),
      gets: [OUT, 'empty', 'ok', 'ok', 'ok'],
    },
    {
      of: 'another person',
      ask: () => `recentMessages(userId: ${WRITER}) { id }`,
      gets: NOBODY,
    },
  ],
  unreadCount: [
    { ask: ({ me }) => `unreadCount(userId: ${me})`, gets: ALL },
    { of: 'another person', ask: () => `unreadCount(userId: ${WRITER})`, gets: NOBODY },
  ],
  user: [{ ask: () => 'user(id: "usr_5") { id }', gets: ALL }],
  userByPhone: [{ ask: () => 'userByPhone(phone: "08000000005") { id }', gets: ALL }],
};

function nulls(): ['null', 'null', 'null', 'null'] {
  return ['null', 'null', 'null', 'null'];
}

const MUTATIONS: Record<string, readonly Case[]> = {
  pauseChangeover: [{ ask: () => 'pauseChangeover { stage }', gets: NOBODY }],
  resumeChangeover: [{ ask: () => 'resumeChangeover { stage }', gets: NOBODY }],
  rollbackChangeover: [
    { ask: () => 'rollbackChangeover(to: LEGACY, confirm: "LEGACY") { stage }', gets: NOBODY },
  ],
  setBackfillRate: [{ ask: () => 'setBackfillRate(maxRowsPerSecond: 1) { stage }', gets: NOBODY }],
  setCutover: [{ ask: () => 'setCutover(percent: 100) { stage }', gets: NOBODY }],
  addParticipants: [
    {
      ask: ({ group }) => `addParticipants(conversationId: "${group}", userIds: ["usr_6"]) { id }`,
      gets: ADMIN,
    },
  ],
  createGroup: [{ ask: () => 'createGroup(input: { participantIds: [] }) { id }', gets: ALL }],
  createMessage: [
    {
      ask: ({ me, groupNumber }) =>
        `createMessage(senderId: ${me}, groupId: ${groupNumber}, content: "x") { id }`,
      gets: [OUT, 'FORBIDDEN', 'ok', 'ok', 'FORBIDDEN'],
    },
    {
      of: 'another person',
      ask: ({ groupNumber }) =>
        `createMessage(senderId: ${WRITER}, groupId: ${groupNumber}, content: "x") { id }`,
      gets: NOBODY,
    },
  ],
  leaveConversation: [
    {
      ask: ({ group }) => `leaveConversation(id: "${group}") { conversationId }`,
      gets: INSIDE,
    },
  ],
  markDelivered: [
    {
      ask: ({ group, early }) =>
        `markDelivered(conversationId: "${group}", upToMessageId: "${early}") { status }`,
      gets: INSIDE,
    },
  ],
  markMessageAsRead: [
    {
      ask: ({ toMember }) => `markMessageAsRead(id: ${toMember}) { id }`,
      gets: [OUT, 'NOT_FOUND', 'ok', 'NOT_FOUND', 'NOT_FOUND'],
    },
  ],
  markRead: [
    {
      ask: ({ group, early }) =>
        `markRead(conversationId: "${group}", upToMessageId: "${early}") { status }`,
      gets: INSIDE,
    },
  ],
  markUnread: [
    { ask: ({ group }) => `markUnread(conversationId: "${group}") { id }`, gets: INSIDE },
  ],
  refreshToken: [
    {
      ask: () => 'refreshToken(refreshToken: "a.b") { accessToken }',
      gets: [OUT, OUT, OUT, OUT, OUT],
    },
  ],
  removeParticipant: [
    {
      ask: ({ group }) =>
        `removeParticipant(conversationId: "${group}", userId: "usr_${WRITER}") { id }`,
      gets: ADMIN,
    },
  ],
  requestVerification: [
    {
      ask: () => 'requestVerification(phone: "08000000012") { phone }',
      gets: ['ok', 'ok', 'ok', 'ok', 'ok'],
    },
  ],
  sendMessage: [
    {
      ask: ({ group }) =>
        `sendMessage(input: { conversationId: "${group}", clientId: "matrix ${group}", text: "x" }) { id }`,
      gets: INSIDE,
    },
    {
      of: 'an answer to what the former member saw',
      ask: ({ group, early }) =>
        `sendMessage(input: { conversationId: "${group}", clientId: "reply ${group}", text: "x", replyToId: "${early}" }) { id }`,
      gets: INSIDE,
    },
  ],
  setPresence: [{ ask: () => 'setPresence(status: BUSY) { status }', gets: ALL }],
  setTyping: [
    {
      ask: ({ group }) => `setTyping(conversationId: "${group}", typing: true) { expiresAt }`,
      gets: INSIDE,
    },
  ],
  signOut: [{ ask: () => 'signOut { signedOut }', gets: ALL }],
  startDirectConversation: [
    { ask: () => 'startDirectConversation(userId: "usr_7") { id }', gets: ALL },
  ],
  updateGroup: [
    {
      ask: ({ group }) => `updateGroup(id: "${group}", input: { name: "x" }) { id }`,
      gets: ADMIN,
    },
  ],
  verify: [
    {
      ask: () => 'verify(phone: "08000000011", code: "123456") { accessToken }',
      gets: [WRONG, WRONG, WRONG, WRONG, WRONG],
    },
  ],
};

const HEARS = [OUT, 'silent', 'hears', 'hears', 'silent'] as const;

const SUBSCRIPTIONS: Record<string, readonly Case[]> = {
  changeoverProgress: [{ ask: () => 'changeoverProgress { stage }', gets: NOBODY }],
  events: [
    {
      ask: () => 'events { __typename ... on MessageAdded { message { id } } }',
      gets: HEARS,
    },
  ],
  messageAdded: [
    { ask: () => 'messageAdded { id }', gets: HEARS },
    {
      of: 'one conversation',
      ask: ({ group }) => `messageAdded(conversationId: "${group}") { id }`,
      gets: HEARS,
    },
  ],
  newMessage: [
    { ask: ({ me }) => `newMessage(userId: ${me}) { content }`, gets: HEARS },
    { of: 'another person', ask: () => `newMessage(userId: ${WRITER}) { content }`, gets: NOBODY },
  ],
  receiptUpdated: [
    { ask: () => 'receiptUpdated { upToMessageId }', gets: HEARS },
    {
      of: 'one conversation',
      ask: ({ group }) => `receiptUpdated(conversationId: "${group}") { upToMessageId }`,
      gets: HEARS,
    },
  ],
  // Of people, who are known to everybody that is signed in; what they hide is checked below.
  presenceChanged: [
    {
      ask: () => `presenceChanged(userIds: ["usr_${WRITER}"]) { user { id } }`,
      gets: [OUT, 'hears', 'hears', 'hears', 'hears'],
    },
  ],
  typingChanged: [
    {
      ask: ({ group }) => `typingChanged(conversationId: "${group}") { user { id } }`,
      gets: HEARS,
    },
  ],
};

const TABLES = { query: QUERIES, mutation: MUTATIONS, subscription: SUBSCRIPTIONS };

/** Asked by the stranger, about what exists and what does not; null: people are known to everybody who is signed in. */
interface Ids {
  readonly conversation: string;
  readonly message: string;
  readonly groupNumber: number;
  readonly row: number;
}
const LOOK_ALIKE: Record<string, readonly ((ids: Ids) => string)[] | null> = {
  'Query.conversation': [({ conversation }) => `conversation(id: "${conversation}") { id }`],
  'Query.directConversation': null,
  'Query.groupMessages': [({ groupNumber }) => `groupMessages(groupId: ${groupNumber}) { id }`],
  'Query.message': [({ row }) => `message(id: ${row}) { id }`],
  // One's own id, and that of a person.
  'Query.messages': null,
  'Query.node': [
    ({ conversation }) => `node(id: "${conversation}") { id }`,
    ({ message }) => `node(id: "${message}") { id }`,
    ({ conversation }) => `node(id: "part_${number(conversation)}_${WRITER}") { id }`,
  ],
  'Query.presence': null,
  'Query.recentMessages': null,
  'Query.unreadCount': null,
  'Query.user': null,
  'Mutation.addParticipants': [
    ({ conversation }) =>
      `addParticipants(conversationId: "${conversation}", userIds: ["usr_4"]) { id }`,
  ],
  'Mutation.createGroup': null,
  'Mutation.createMessage': [
    ({ groupNumber }) => `createMessage(senderId: 4, groupId: ${groupNumber}, content: "x") { id }`,
  ],
  'Mutation.leaveConversation': [
    ({ conversation }) => `leaveConversation(id: "${conversation}") { conversationId }`,
  ],
  'Mutation.markDelivered': [
    ({ conversation, message }) =>
      `markDelivered(conversationId: "${conversation}", upToMessageId: "${message}") { status }`,
  ],
  'Mutation.markMessageAsRead': [({ row }) => `markMessageAsRead(id: ${row}) { id }`],
  'Mutation.markRead': [
    ({ conversation, message }) =>
      `markRead(conversationId: "${conversation}", upToMessageId: "${message}") { status }`,
  ],
  'Mutation.markUnread': [
    ({ conversation }) => `markUnread(conversationId: "${conversation}") { id }`,
  ],
  'Mutation.removeParticipant': [
    ({ conversation }) =>
      `removeParticipant(conversationId: "${conversation}", userId: "usr_${WRITER}") { id }`,
  ],
  'Mutation.sendMessage': [
    ({ conversation }) =>
      `sendMessage(input: { conversationId: "${conversation}", clientId: "a", text: "x" }) { id }`,
    ({ conversation, message }) =>
      `sendMessage(input: { conversationId: "${conversation}", clientId: "a", text: "x", replyToId: "${message}" }) { id }`,
  ],
  'Mutation.setTyping': [
    ({ conversation }) =>
      `setTyping(conversationId: "${conversation}", typing: true) { expiresAt }`,
  ],
  'Mutation.startDirectConversation': null,
  'Mutation.updateGroup': [
    ({ conversation }) => `updateGroup(id: "${conversation}", input: { name: "x" }) { id }`,
  ],
  'Subscription.messageAdded': [
    ({ conversation }) => `messageAdded(conversationId: "${conversation}") { id }`,
  ],
  'Subscription.newMessage': null,
  'Subscription.presenceChanged': null,
  'Subscription.receiptUpdated': [
    ({ conversation }) => `receiptUpdated(conversationId: "${conversation}") { status }`,
  ],
  'Subscription.typingChanged': [
    ({ conversation }) => `typingChanged(conversationId: "${conversation}") { typing }`,
  ],
};

/**
 * Of each field of each object: the `same` for all who may see the object; the caller's `own`, where nobody else is given
 * the object; other objects, which decide by themselves (`parts`); or `depends`, which has a check below.
 */
type Dependence = 'same' | 'own' | 'parts' | 'depends';
const PAGE = { edges: 'parts', pageInfo: 'parts' } as const;
const EDGE = { cursor: 'same', node: 'parts' } as const;
const FIELDS: Record<string, Readonly<Record<string, Dependence>>> = {
  Changeover: {
    certificate: 'same',
    cutoverPercent: 'same',
    deprecatedUsage: 'same',
    gate: 'same',
    shadowCompared: 'same',
    shadowDifferences: 'same',
    shadowMismatches: 'same',
    etaSeconds: 'same',
    legacyMessages: 'same',
    lockWaitMs: 'same',
    migratedMessages: 'same',
    mismatches: 'same',
    oldSideLagMs: 'same',
    paused: 'same',
    pendingChanges: 'same',
    pendingMirrors: 'same',
    quarantine: 'same',
    quarantinedMessages: 'same',
    rowsPerSecond: 'same',
    stage: 'same',
    throttledBy: 'same',
    verifiedAt: 'same',
  },
  DeprecatedUsage: { calls: 'same', client: 'same', lastCalledAt: 'same', operation: 'same' },
  GateCondition: { detail: 'same', met: 'same', name: 'same' },
  ShadowDifference: {
    at: 'same',
    newAnswer: 'same',
    oldAnswer: 'same',
    operation: 'same',
    reason: 'same',
    userId: 'same',
  },
  ShadowDifferenceConnection: { edges: 'same', pageInfo: 'same' },
  ShadowDifferenceEdge: { cursor: 'same', node: 'same' },
  QuarantineConnection: { edges: 'same', pageInfo: 'same' },
  QuarantineEdge: { cursor: 'same', node: 'same' },
  QuarantinedMessage: { detail: 'same', legacyId: 'same', reason: 'same' },
  AuthPayload: { accessToken: 'own', refreshToken: 'own', user: 'parts' },
  Conversation: {
    avatarUrl: 'same',
    createdAt: 'same',
    createdBy: 'same',
    firstUnreadMessage: 'depends',
    historyState: 'same',
    id: 'same',
    isMarkedUnread: 'depends',
    kind: 'same',
    lastActivityAt: 'depends',
    lastMessage: 'depends',
    messages: 'depends',
    myParticipant: 'depends',
    name: 'same',
    participantCount: 'depends',
    participants: 'depends',
    title: 'depends',
    typing: 'depends',
    unreadCount: 'depends',
  },
  ConversationChanged: { conversation: 'parts', cursor: 'same' },
  ConversationConnection: PAGE,
  ConversationEdge: EDGE,
  ConversationLeft: { conversationId: 'own', cursor: 'same' },
  Device: { deviceId: 'own', deviceType: 'own', id: 'own', lastActiveAt: 'own' },
  DeviceChanged: { cursor: 'same', device: 'parts' },
  LeaveConversationPayload: { conversationId: 'own' },
  LegacyMessage: {
    content: 'same',
    created_at: 'same',
    group_id: 'same',
    id: 'same',
    recipient_id: 'same',
    sender_id: 'same',
    status: 'same',
    type: 'same',
  },
  Message: {
    clientId: 'depends',
    conversation: 'parts',
    id: 'same',
    kind: 'same',
    legacyId: 'same',
    receipts: 'depends',
    replyTo: 'depends',
    sender: 'same',
    sentAt: 'same',
    status: 'same',
    text: 'same',
  },
  MessageAdded: { cursor: 'same', message: 'parts' },
  MessageChanged: { cursor: 'same', message: 'parts' },
  MessageConnection: PAGE,
  MessageEdge: EDGE,
  MessageRemoved: {
    conversation: 'parts',
    conversationId: 'same',
    cursor: 'same',
    messageId: 'same',
  },
  PageInfo: {
    endCursor: 'parts',
    hasNextPage: 'parts',
    hasPreviousPage: 'parts',
    startCursor: 'parts',
  },
  Participant: {
    id: 'same',
    joinedAt: 'same',
    lastDeliveredAt: 'same',
    lastDeliveredMessageId: 'same',
    lastReadAt: 'same',
    lastReadMessageId: 'same',
    role: 'same',
    user: 'same',
  },
  ParticipantConnection: PAGE,
  ParticipantEdge: EDGE,
  Presence: { customStatus: 'depends', lastSeenAt: 'depends', status: 'depends', user: 'parts' },
  PresenceUpdated: { cursor: 'same', presence: 'parts' },
  Receipt: {
    at: 'same',
    conversationId: 'same',
    status: 'same',
    upToMessageId: 'same',
    user: 'same',
  },
  ReceiptConnection: PAGE,
  ReceiptEdge: EDGE,
  ReceiptUpdated: { conversation: 'parts', cursor: 'same', receipt: 'parts' },
  ResyncRequired: { cursor: 'same', reason: 'own' },
  SetTypingPayload: { expiresAt: 'own' },
  SignOutPayload: { signedOut: 'own' },
  TypingChanged: { conversationId: 'same', cursor: 'same', typing: 'same', user: 'parts' },
  User: {
    avatarUrl: 'same',
    bio: 'same',
    createdAt: 'same',
    id: 'same',
    isVerified: 'same',
    name: 'depends',
    phone: 'depends',
    presence: 'parts',
    username: 'same',
  },
  VerificationRequest: { expiresAt: 'own', phone: 'own', resendAfter: 'own' },
};

describe.each(ENGINES)('who may ask what, on %s', (engine) => {
  let app: App;
  let database: Database;
  let common: Scene;
  let sent = 0;

  beforeAll(async () => {
    ({ database } = await legacyDatabase(engine, { messages: 0 }));
    // Person 2 has the number of person 3 in his contacts, and nobody knows a name of his.
    await database.transaction((transaction) =>
      transaction.run('UPDATE users SET name = NULL, username = NULL WHERE id = 3'),
    );
    await migrate(database);
    app = await appOn(database);
    for (const viewer of ['1', '2', '3'])
      await app.get(viewer, `mutation { startDirectConversation(userId: "usr_${WRITER}") { id } }`);
    common = await sceneFor('member');
  });

  const send = async (viewer: string, group: string, text: string): Promise<string> => {
    sent += 1;
    const { sendMessage } = await app.get<{ sendMessage: { id: string } }>(
      viewer,
      `mutation { sendMessage(input: { conversationId: "${group}", clientId: "${sent}", text: "${text}" }) { id } }`,
    );
    return sendMessage.id;
  };

  /** A scene of its own, in which only the people differ from one caller to the next. */
  const sceneFor = async (who: Who, name: string | null = 'Group'): Promise<Scene> => {
    const { createGroup } = await app.get<{ createGroup: { id: string } }>(
      '1',
      `mutation { createGroup(input: { name: ${JSON.stringify(name)}, participantIds: ["usr_2", "usr_3", "usr_${WRITER}"] }) { id } }`,
    );
    const group = createGroup.id;
    for (const viewer of ['1', '2', '3']) await send(viewer, group, 'here');
    const early = await send(WRITER, group, 'early');
    await app.get(
      '1',
      `mutation { removeParticipant(conversationId: "${group}", userId: "usr_3") { id } }`,
    );
    const late = await send(WRITER, group, 'late');
    const { createMessage } = await app.get<{ createMessage: { id: number } }>(
      WRITER,
      `mutation { createMessage(senderId: ${WRITER}, recipientId: 2, content: "x") { id } }`,
    );
    const [row] = await database.reader.all<{ groupNumber: number | string }>(
      'SELECT legacy_group_id AS "groupNumber" FROM conversations WHERE id = CAST(:id AS bigint)',
      { id: number(group) },
    );
    return {
      group,
      groupNumber: Number(row?.groupNumber),
      early,
      late,
      toMember: createMessage.id,
      me: Number(PEOPLE[who] ?? 1),
    };
  };

  const got = ({ data, code }: Outcome, field: string, wanted: string | undefined): Gets => {
    if (code !== null) return code;
    const value = data?.[field] ?? null;
    if (value === null) return 'null';
    if (wanted === undefined) return 'ok';
    return new RegExp(`\\b${wanted}\\b`).test(JSON.stringify(value)) ? 'ok' : 'empty';
  };

  /** Whether a caller hears what is said in the group; those outside are let in afterwards, and hear what comes then. */
  const heard = async (who: Who, { ask }: Case): Promise<Gets> => {
    const scene = await sceneFor(who);
    const { group, me } = scene;
    const stream = await app.subscribe(PEOPLE[who], `subscription { ${ask(scene)} }`);
    if (!(Symbol.asyncIterator in stream)) return stream.code ?? 'null';
    let next = stream.next();
    await listening(app, 1);
    const say = async (text: string, typist: string): Promise<string> => {
      for (const status of ['BUSY', 'AWAY'])
        await app.get(WRITER, `mutation { setPresence(status: ${status}) { status } }`);
      await app.get(
        typist,
        `mutation { setTyping(conversationId: "${group}", typing: true) { expiresAt } }`,
      );
      const id = await send(WRITER, group, text);
      await app.get(
        '1',
        `mutation { markRead(conversationId: "${group}", upToMessageId: "${id}") { status } }`,
      );
      return id;
    };
    const secret = await say('a secret', WRITER);
    await app.get(
      '1',
      `mutation { addParticipants(conversationId: "${group}", userIds: ["usr_${me}"]) { id } }`,
    );
    const open = await say('an open word', '1');
    // For the old API, to which who never wrote in a group is no member of it.
    await app.get(
      WRITER,
      `mutation { createMessage(senderId: ${WRITER}, recipientId: ${me}, content: "an open word") { id } }`,
    );
    try {
      for (;;) {
        const { value } = (await next) as { value: unknown };
        next = stream.next();
        const told = JSON.stringify(value);
        const tells = (...words: string[]): boolean => words.some((word) => told.includes(word));
        if (tells(`"${secret}"`, 'a secret', `"usr_${WRITER}"`)) return 'hears';
        if (tells(`"${open}"`, 'an open word', '"usr_1"')) return 'silent';
      }
    } finally {
      await stream.return(undefined);
    }
  };

  it.each(Object.entries(TABLES))('has a row for each %s, and no other', (operation, table) => {
    const type = { query: 'Query', mutation: 'Mutation', subscription: 'Subscription' }[operation];
    const root = app.schema.getType(type ?? '');
    expect(Object.keys(table).sort()).toEqual(
      isObjectType(root) ? Object.keys(root.getFields()).sort() : [],
    );
    for (const [field, cases] of Object.entries(table))
      expect([field, cases]).not.toEqual([field, []]);
  });

  const cases = Object.entries(TABLES).flatMap(([operation, table]) =>
    Object.entries(table).flatMap(([field, rows]) =>
      rows.map((row) => ({
        operation,
        field,
        title: `${operation} ${field}${row.of === undefined ? '' : ` of ${row.of}`}`,
        row,
      })),
    ),
  );

  it.each(cases)('gives to each his own: $title', async ({ operation, field, row }) => {
    const answers: Gets[] = [];
    for (const who of WHO) {
      if (operation === 'subscription') {
        answers.push(await heard(who, row));
        continue;
      }
      // What is refused, and what only reads, leaves the common one as it is.
      const isChanging = operation === 'mutation' && row.gets[WHO.indexOf(who)] === 'ok';
      const scene = isChanging ? await sceneFor(who) : { ...common, me: Number(PEOPLE[who] ?? 1) };
      const outcome = await app.ask(PEOPLE[who], `${operation} { ${row.ask(scene)} }`);
      answers.push(got(outcome, field, row.shows?.(scene)));
    }
    expect(Object.fromEntries(WHO.map((who, n) => [who, answers[n]]))).toEqual(
      Object.fromEntries(WHO.map((who, n) => [who, row.gets[n]])),
    );
  });

  describe('what one may not see', () => {
    const namesAnId = (name: string, type: GraphQLInputType): boolean => {
      const named = getNamedType(type);
      if (isInputObjectType(named))
        return Object.values(named.getFields()).some((field) => namesAnId(field.name, field.type));
      return named.name === 'ID' || (named.name === 'Int' && /id$/i.test(name));
    };

    it('has a row for each field that takes an id, and no other', () => {
      const taking = ['Query', 'Mutation', 'Subscription'].flatMap((type) => {
        const root = app.schema.getType(type);
        const fields = isObjectType(root) ? Object.values(root.getFields()) : [];
        return fields
          .filter(({ args }) => args.some(({ name, type: given }) => namesAnId(name, given)))
          .map(({ name }) => `${type}.${name}`);
      });
      expect(Object.keys(LOOK_ALIKE).sort()).toEqual(taking.sort());
    });

    const asked = Object.entries(LOOK_ALIKE).flatMap(([field, rows]) =>
      (rows ?? []).map((ask) => ({ field, ask })),
    );
    it.each(asked)('looks like what does not exist: $field', async ({ field, ask }) => {
      const { group, groupNumber, late } = common;
      const operation = field.split('.')[0]?.toLowerCase() ?? '';
      const answerTo = async (ids: Ids): Promise<unknown> => {
        const document = `${operation} { ${ask(ids)} }`;
        if (operation !== 'subscription') {
          const { data, code, message } = await app.ask('4', document);
          return { data, code, message: message?.replaceAll(/\d+/g, 'N') ?? null };
        }
        const stream = await app.subscribe('4', document);
        if (!(Symbol.asyncIterator in stream)) return stream;
        await stream.return(undefined);
        return 'silence';
      };
      const existing = await answerTo({
        conversation: group,
        message: late,
        groupNumber,
        row: Number(number(late)),
      });
      const absent = await answerTo({
        conversation: 'conv_987654321',
        message: 'msg_987654321',
        groupNumber: 987_654_321,
        row: 987_654_321,
      });
      expect(existing).toEqual(absent);
    });
  });

  describe('the fields of objects', () => {
    const objects = (): { name: string; fields: GraphQLField<unknown, unknown>[] }[] =>
      Object.values(app.schema.getTypeMap())
        .filter(isObjectType)
        .filter(({ name }) => !/^(__|Query$|Mutation$|Subscription$)/.test(name))
        .map((type) => ({ name: type.name, fields: Object.values(type.getFields()) }));

    it('have a row each, and there is no other', () => {
      const rowsOf = (table: typeof FIELDS): string[] =>
        Object.entries(table).flatMap(([type, fields]) =>
          Object.keys(fields).map((field) => `${type}.${field}`),
        );
      expect(rowsOf(FIELDS).sort()).toEqual(
        objects()
          .flatMap(({ name, fields }) => fields.map((field) => `${name}.${field.name}`))
          .sort(),
      );
    });

    it('that depend on the caller have a check each', () => {
      const dependent = Object.entries(FIELDS).flatMap(([type, fields]) =>
        Object.keys(fields)
          .filter((field) => fields[field] === 'depends')
          .map((field) => `${type}.${field}`),
      );
      expect(Object.keys(CHECKS).sort()).toEqual(dependent.sort());
    });

    /** The fields of a type that are said to be the same, as they are asked for. */
    const sameOf = (type: string): string =>
      (objects().find(({ name }) => name === type)?.fields ?? [])
        .filter(({ name }) => FIELDS[type]?.[name] === 'same')
        .map(({ name, type: given }) => (isLeafType(getNamedType(given)) ? name : `${name} { id }`))
        .join(' ');

    it('that do not are the same to all who may see the object', async () => {
      const scene = await sceneFor('member');
      await app.get(
        '2',
        `mutation { markRead(conversationId: "${scene.group}", upToMessageId: "${scene.early}") { status } }`,
      );
      const asked: readonly [document: string, callers: readonly Who[]][] = [
        [`user(id: "usr_5") { ${sameOf('User')} }`, ['stranger', 'member', 'admin', 'former']],
        [
          `conversation(id: "${scene.group}") { ${sameOf('Conversation')} }`,
          ['member', 'admin', 'former'],
        ],
        [
          `node(id: "${scene.early}") { ... on Message { ${sameOf('Message')} } }`,
          ['member', 'admin', 'former'],
        ],
        [
          `node(id: "${scene.late}") { ... on Message { ${sameOf('Message')} receipts { edges { cursor node { ${sameOf('Receipt')} } } } } }`,
          ['member', 'admin'],
        ],
        [
          `conversation(id: "${scene.group}") { participants { edges { cursor node { ${sameOf('Participant')} } } } }`,
          ['member', 'admin'],
        ],
        [
          `message(id: ${number(scene.early)}) { ${sameOf('LegacyMessage')} }`,
          ['member', 'admin', 'former'],
        ],
      ];
      for (const [document, callers] of asked) {
        const answers = await Promise.all(
          callers.map((who) => app.get(PEOPLE[who] ?? '', `{ ${document} }`)),
        );
        for (const answer of answers) expect(answer).toEqual(answers[0]);
        expect(JSON.stringify(answers[0])).toContain('"id"');
      }
    });

    const conversationFor = async <Data>(
      who: Who,
      { group }: Scene,
      fields: string,
    ): Promise<Data> =>
      (
        await app.get<{ conversation: Data }>(
          PEOPLE[who] ?? '',
          `{ conversation(id: "${group}") { ${fields} } }`,
        )
      ).conversation;
    const messageFor = async (who: string, id: string, fields: string): Promise<unknown> =>
      (
        await app.get<{ node: unknown }>(
          who,
          `{ node(id: "${id}") { ... on Message { ${fields} } } }`,
        )
      ).node;
    const personFor = async (viewer: string, field: string): Promise<unknown> =>
      (await app.get<{ user: unknown }>(viewer, `{ user(id: "usr_3") { ${field} } }`)).user;

    /** What a member and a former member see of one field of the group's conversation. */
    const compare = async (
      fields: string,
      member: (scene: Scene) => unknown,
      former: (scene: Scene) => unknown,
    ): Promise<void> => {
      const scene = await sceneFor('member', null);
      expect(await conversationFor('member', scene, fields)).toEqual(member(scene));
      expect(await conversationFor('former', scene, fields)).toEqual(former(scene));
    };

    /** What person 2, whom person 3 has in his contacts, and anybody else are shown of his presence. */
    const comparePresence = async (
      field: string,
      shown: unknown,
      hidden: unknown,
    ): Promise<void> => {
      await database.transaction(async (transaction) => {
        await transaction.run('DELETE FROM settings WHERE user_id = 3');
        await transaction.run('DELETE FROM contacts WHERE owner_id = 3');
        await transaction.run(
          `INSERT INTO settings (user_id, privacy_last_seen) VALUES (3, 'contacts')`,
        );
        await transaction.run('INSERT INTO contacts (owner_id, contact_user_id) VALUES (3, 2)');
      });
      await app.get(
        '3',
        'mutation { setPresence(status: BUSY, customStatus: "at work") { status } }',
      );
      if (field === 'lastSeenAt') app.presences.roster.leaveAll();
      for (const [viewer, expected] of [
        ['3', shown],
        ['2', shown],
        ['4', hidden],
      ] as const)
        expect({ viewer, seen: await personFor(viewer, `presence { ${field} }`) }).toEqual({
          viewer,
          seen: { presence: { [field]: expected } },
        });
    };

    const CHECKS: Record<string, () => Promise<void>> = {
      'Conversation.firstUnreadMessage': async () => {
        const scene = await sceneFor('member');
        // Both have read what was said until then.
        const { group, early, late } = scene;
        await app.get(
          '2',
          `mutation { markRead(conversationId: "${group}", upToMessageId: "${early}") { status } }`,
        );
        const fields = 'firstUnreadMessage { id }';
        expect(await conversationFor('member', scene, fields)).toEqual({
          firstUnreadMessage: { id: late },
        });
        await database.transaction((transaction) =>
          transaction.run(
            `UPDATE conversation_participants SET (read_position, read_message_id) =
               (SELECT position, id FROM enhanced_messages WHERE id = CAST(:early AS bigint))
             WHERE user_id = 3 AND conversation_id = CAST(:group AS bigint)`,
            { early: number(early), group: number(group) },
          ),
        );
        expect(await conversationFor('former', scene, fields)).toEqual({
          firstUnreadMessage: null,
        });
      },
      'Conversation.isMarkedUnread': async () => {
        const scene = await sceneFor('member');
        await app.get('2', `mutation { markUnread(conversationId: "${scene.group}") { id } }`);
        expect(await conversationFor('member', scene, 'isMarkedUnread')).toEqual({
          isMarkedUnread: true,
        });
        expect(await conversationFor('admin', scene, 'isMarkedUnread')).toEqual({
          isMarkedUnread: false,
        });
      },
      'Conversation.lastActivityAt': async () => {
        const scene = await sceneFor('member');
        const sentAt = async (id: string): Promise<unknown> =>
          ((await messageFor('1', id, 'sentAt')) as { sentAt: unknown }).sentAt;
        expect(await conversationFor('member', scene, 'lastActivityAt')).toEqual({
          lastActivityAt: await sentAt(scene.late),
        });
        expect(await conversationFor('former', scene, 'lastActivityAt')).toEqual({
          lastActivityAt: await sentAt(scene.early),
        });
      },
      'Conversation.lastMessage': () =>
        compare(
          'lastMessage { id }',
          ({ late }) => ({ lastMessage: { id: late } }),
          ({ early }) => ({ lastMessage: { id: early } }),
        ),
      'Conversation.messages': async () => {
        const scene = await sceneFor('member');
        const last = async (who: Who, first: string): Promise<unknown> => {
          const { messages } = await conversationFor<{
            messages: { edges: { node: { id: string } }[]; pageInfo: unknown };
          }>(who, scene, `messages(${first}) { edges { node { id } } pageInfo { hasNextPage } }`);
          return [messages.edges.at(-1)?.node.id, messages.pageInfo];
        };
        expect(await last('member', 'last: 3')).toEqual([scene.late, { hasNextPage: false }]);
        expect(await last('member', 'first: 4')).toEqual([scene.early, { hasNextPage: true }]);
        for (const first of ['last: 3', 'first: 4', `around: "${scene.early}"`])
          expect(await last('former', first)).toEqual([scene.early, { hasNextPage: false }]);
        const { code } = await app.ask(
          '3',
          `{ conversation(id: "${scene.group}") { messages(around: "${scene.late}") { edges { cursor } } } }`,
        );
        expect(code).toBe('NOT_FOUND');
      },
      'Conversation.myParticipant': () =>
        compare(
          'myParticipant { user { id } }',
          () => ({ myParticipant: { user: { id: 'usr_2' } } }),
          () => ({ myParticipant: null }),
        ),
      'Conversation.participantCount': () =>
        compare(
          'participantCount',
          () => ({ participantCount: 3 }),
          () => ({ participantCount: 0 }),
        ),
      'Conversation.participants': () =>
        compare(
          'participants { edges { node { user { id } } } pageInfo { hasNextPage } }',
          () => ({
            participants: {
              edges: ['usr_1', 'usr_2', 'usr_5'].map((id) => ({ node: { user: { id } } })),
              pageInfo: { hasNextPage: false },
            },
          }),
          () => ({ participants: { edges: [], pageInfo: { hasNextPage: false } } }),
        ),
      'Conversation.title': () =>
        compare(
          'title',
          () => ({ title: 'Person 1, Person 5' }),
          () => ({ title: 'Group' }),
        ),
      'Conversation.typing': async () => {
        const scene = await sceneFor('member');
        for (const viewer of ['2', WRITER])
          await app.get(
            viewer,
            `mutation { setTyping(conversationId: "${scene.group}", typing: true) { expiresAt } }`,
          );
        const typing = async (who: Who): Promise<string[]> =>
          (await conversationFor<{ typing: { id: string }[] }>(who, scene, 'typing { id }')).typing
            .map(({ id }) => id)
            .sort();
        // The member is one of them himself.
        expect(await typing('member')).toEqual([`usr_${WRITER}`]);
        expect(await typing('admin')).toEqual(['usr_2', `usr_${WRITER}`]);
        expect(await typing('former')).toEqual([]);
      },
      'Conversation.unreadCount': () =>
        compare(
          'unreadCount',
          () => ({ unreadCount: 4 }),
          () => ({ unreadCount: 3 }),
        ),
      'Message.clientId': async () => {
        const { early } = await sceneFor('member');
        expect(await messageFor(WRITER, early, 'clientId')).toEqual({
          clientId: expect.stringMatching(/^\d+$/),
        });
        for (const who of ['1', '2', '3'])
          expect(await messageFor(who, early, 'clientId')).toEqual({ clientId: null });
      },
      'Message.receipts': async () => {
        const { group, early } = await sceneFor('member');
        const late = await send(WRITER, group, 'after the one that was late');
        await app.get(
          '1',
          `mutation { addParticipants(conversationId: "${group}", userIds: ["usr_6"]) { id } }`,
        );
        const last = await send(WRITER, group, 'to the newcomer too');
        for (const viewer of ['2', '6'])
          await app.get(
            viewer,
            `mutation { markRead(conversationId: "${group}", upToMessageId: "${last}") { status } }`,
          );
        const readers = async (viewer: string, id: string): Promise<unknown> => {
          const message = (await messageFor(
            viewer,
            id,
            'receipts { edges { node { user { id } } } }',
          )) as { receipts: { edges: { node: { user: { id: string } } }[] } };
          return message.receipts.edges.map(({ node }) => node.user.id);
        };
        expect(await readers('1', last)).toEqual(['usr_2', 'usr_6']);
        // The newcomer could not see these, whatever he read since.
        expect(await readers('1', late)).toEqual(['usr_2']);
        expect(await readers('1', early)).toEqual(['usr_2']);
        // Who has left is told neither who is in it by now, nor how far they have come.
        expect(await readers('3', early)).toEqual([]);
      },
      'Message.replyTo': async () => {
        const { group, early } = await sceneFor('member');
        await app.get(
          '1',
          `mutation { addParticipants(conversationId: "${group}", userIds: ["usr_6"]) { id } }`,
        );
        const { sendMessage } = await app.get<{ sendMessage: { id: string } }>(
          WRITER,
          `mutation { sendMessage(input: { conversationId: "${group}", clientId: "to ${early}", text: "x", replyToId: "${early}" }) { id } }`,
        );
        expect(await messageFor('2', sendMessage.id, 'replyTo { id }')).toEqual({
          replyTo: { id: early },
        });
        expect(await messageFor('6', sendMessage.id, 'text replyTo { id }')).toEqual({
          text: 'x',
          replyTo: null,
        });
      },
      'Presence.customStatus': () => comparePresence('customStatus', 'at work', null),
      'Presence.lastSeenAt': () =>
        comparePresence('lastSeenAt', expect.stringMatching(/^20/), null),
      'Presence.status': () => comparePresence('status', 'BUSY', 'OFFLINE'),
      'User.name': async () => {
        expect(await personFor('3', 'name')).toEqual({ name: '08000000003' });
        expect(await personFor('2', 'name')).toEqual({ name: '08000000003' });
        expect(await personFor('4', 'name')).toEqual({ name: 'Unknown' });
      },
      'User.phone': async () => {
        expect(await personFor('3', 'phone')).toEqual({ phone: '08000000003' });
        expect(await personFor('2', 'phone')).toEqual({ phone: '08000000003' });
        for (const viewer of ['1', '4'])
          expect(await personFor(viewer, 'phone')).toEqual({ phone: null });
      },
    };

    it.each(Object.keys(CHECKS))('show to each what he may see: %s', async (field) => {
      await CHECKS[field]?.();
    });
  });
});

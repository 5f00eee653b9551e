/** An old table and its columns: ours names on the left, the database's on the right. */
export interface TableMapping<Column extends string> {
  readonly table: string;
  readonly columns: Readonly<Record<Column, string>>;
}

/**
 * The names of the seven old tables. SQL elsewhere takes every old name from here, so that a database of
 * another shape needs another mapping and no other statement.
 *
 * `socketId`, `lastSeen` and `conversationId` are the three columns that expand adds.
 */
export interface LegacyMapping {
  readonly users: TableMapping<
    | 'id'
    | 'phone'
    | 'email'
    | 'name'
    | 'username'
    | 'avatar'
    | 'bio'
    | 'country'
    | 'city'
    | 'isVerified'
    | 'truecallerId'
    | 'lastLogin'
    | 'createdAt'
    | 'updatedAt'
    | 'socketId'
    | 'lastSeen'
  >;
  readonly settings: TableMapping<
    'userId' | 'notificationsEnabled' | 'darkMode' | 'language' | 'ringtone' | 'privacyLastSeen'
  >;
  readonly devices: TableMapping<
    'id' | 'userId' | 'deviceId' | 'deviceType' | 'pushToken' | 'lastActive'
  >;
  readonly contacts: TableMapping<
    | 'id'
    | 'ownerId'
    | 'contactUserId'
    | 'name'
    | 'phone'
    | 'email'
    | 'avatar'
    | 'label'
    | 'isFavorite'
    | 'notes'
    | 'createdAt'
    | 'updatedAt'
  >;
  readonly messages: TableMapping<
    | 'id'
    | 'senderId'
    | 'recipientId'
    | 'groupId'
    | 'content'
    | 'type'
    | 'status'
    | 'createdAt'
    | 'conversationId'
  >;
  readonly callLogs: TableMapping<
    | 'id'
    | 'callerId'
    | 'calleeId'
    | 'channel'
    | 'callType'
    | 'direction'
    | 'status'
    | 'startedAt'
    | 'endedAt'
    | 'duration'
  >;
  readonly verificationCodes: TableMapping<'id' | 'userId' | 'code' | 'createdAt' | 'expiresAt'>;
}

/** The shape that the old app was found with. */
export const DEFAULT_MAPPING: LegacyMapping = {
  users: {
    table: 'users',
    columns: {
      id: 'id',
      phone: 'phone',
      email: 'email',
      name: 'name',
      username: 'username',
      avatar: 'avatar',
      bio: 'bio',
      country: 'country',
      city: 'city',
      isVerified: 'is_verified',
      truecallerId: 'truecaller_id',
      lastLogin: 'last_login',
      createdAt: 'created_at',
      updatedAt: 'updated_at',
      socketId: 'socket_id',
      lastSeen: 'last_seen',
    },
  },
  settings: {
    table: 'settings',
    columns: {
      userId: 'user_id',
      notificationsEnabled: 'notifications_enabled',
      darkMode: 'dark_mode',
      language: 'language',
      ringtone: 'ringtone',
      privacyLastSeen: 'privacy_last_seen',
    },
  },
  devices: {
    table: 'devices',
    columns: {
      id: 'id',
      userId: 'user_id',
      deviceId: 'device_id',
      deviceType: 'device_type',
      pushToken: 'push_token',
      lastActive: 'last_active',
    },
  },
  contacts: {
    table: 'contacts',
    columns: {
      id: 'id',
      ownerId: 'owner_id',
      contactUserId: 'contact_user_id',
      name: 'name',
      phone: 'phone',
      email: 'email',
      avatar: 'avatar',
      label: 'label',
      isFavorite: 'is_favorite',
      notes: 'notes',
      createdAt: 'created_at',
      updatedAt: 'updated_at',
    },
  },
  messages: {
    table: 'messages',
    columns: {
      id: 'id',
      senderId: 'sender_id',
      recipientId: 'recipient_id',
      groupId: 'group_id',
      content: 'content',
      type: 'type',
      status: 'status',
      createdAt: 'created_at',
      conversationId: 'conversation_id',
    },
  },
  callLogs: {
    table: 'call_logs',
    columns: {
      id: 'id',
      callerId: 'caller_id',
      calleeId: 'callee_id',
      channel: 'channel',
      callType: 'call_type',
      direction: 'direction',
      status: 'status',
      startedAt: 'started_at',
      endedAt: 'ended_at',
      duration: 'duration',
    },
  },
  verificationCodes: {
    table: 'verification_codes',
    columns: {
      id: 'id',
      userId: 'user_id',
      code: 'code',
      createdAt: 'created_at',
      expiresAt: 'expires_at',
    },
  },
};

import { Injectable } from '@nestjs/common';
import type { GraphQLContext } from '../auth/viewer.js';
import type { Database } from '../database/database.js';
import { isUnfit } from '../database/texts.js';
import { SegueError } from '../errors/segue-error.js';
import { findDatabaseId } from '../graphql/global-ids.js';
import type { Loaders } from '../graphql/loaders.js';
import type { PeopleService } from './people.service.js';
import type { PhoneNumbers } from './phone-numbers.js';
import type { User } from './user.type.js';
import type { UsersService } from './users.service.js';

/** Finds people for an operation, through its loaders, and says what its viewer may know of them. */
@Injectable()
export class UserLookup {
  constructor(
    private readonly database: Database,
    private readonly users: UsersService,
    private readonly people: PeopleService,
    private readonly phones: PhoneNumbers,
  ) {}

  /** The person of a database key; null when his account is gone. */
  find(key: string, loaders: Loaders): Promise<User | null> {
    return loaders.of(this.people.byKey).load(key);
  }

  /** @throws SegueError UNAUTHENTICATED when the account went while its token was checked. */
  async get(key: string, loaders: Loaders): Promise<User> {
    const user = await this.find(key, loaders);
    if (user === null)
      throw new SegueError('UNAUTHENTICATED', 'Your account is gone: sign in again.');
    return user;
  }

  async findById(id: string, loaders: Loaders): Promise<User | null> {
    const key = findDatabaseId('User', id);
    return key === null ? null : this.find(key, loaders);
  }

  async findByPhone(typed: string, loaders: Loaders): Promise<User | null> {
    // No database holds these, and PostgreSQL takes them for an error.
    if (isUnfit(typed)) return null;
    const account = await this.users.findByPhone(this.database.reader, this.phones.read(typed));
    return account === null ? null : this.find(account.id, loaders);
  }

  async phoneFor(user: User, { viewer, loaders }: GraphQLContext): Promise<string | null> {
    if (viewer === undefined || user.ownPhone === null) return null;
    const { id } = await viewer;
    return loaders.of(this.people.phoneFor).load({ viewerId: id, user });
  }

  async nameFor(user: User, context: GraphQLContext): Promise<string> {
    return user.ownName ?? user.username ?? (await this.phoneFor(user, context)) ?? 'Unknown';
  }
}

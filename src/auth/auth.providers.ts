import type { Provider } from '@nestjs/common';
import type { CountryCode } from 'libphonenumber-js/min';
import type { LegacyMapping } from '../config/legacy-mapping.js';
import type { Database } from '../database/database.js';
import { Contacts } from '../users/contacts.js';
import { DevicesService } from '../users/devices.service.js';
import { PeopleService } from '../users/people.service.js';
import { PhoneNumbers } from '../users/phone-numbers.js';
import { UserLookup } from '../users/user-lookup.js';
import { UsersService } from '../users/users.service.js';
import { ClientSessions } from './client-sessions.js';
import type { CodeSender } from './code-sender.js';
import { CodesService } from './codes.service.js';
import { OldCodes } from './old-codes.js';
import { SessionCookies } from './session-cookies.js';
import { type IsExpanded, SessionsService } from './sessions.service.js';
import { SignInService } from './sign-in.service.js';
import { type Secrets, TokensService } from './tokens.service.js';
import { SignedInGuard } from './viewer.js';

export interface AuthParts {
  readonly database: Database;
  readonly mapping: LegacyMapping;
  readonly secrets: Secrets;
  readonly sender: CodeSender;
  readonly isExpanded: IsExpanded;
  readonly defaultCountry: CountryCode | undefined;
  readonly isRateLimited: boolean;
  /** Whether browsers may send cookies over HTTPS only. */
  readonly hasSecureCookies: boolean;
}

/** People and their sign-in, put together. */
export function authProviders(parts: AuthParts): Provider[] {
  const { database, mapping, secrets, isExpanded } = parts;
  const phones = new PhoneNumbers(parts.defaultCountry);
  const users = new UsersService(database, mapping, phones);
  const people = new PeopleService(database, mapping, new Contacts(database, mapping, phones));
  const lookup = new UserLookup(database, users, people, phones);
  const devices = new DevicesService(database, mapping);
  const sessions = new SessionsService(database, users, isExpanded);
  const tokens = new TokensService(users, sessions, secrets);
  const signIn = new SignInService({
    database,
    users,
    devices,
    phones,
    codes: new CodesService(database, { secret: secrets.own, isLimited: parts.isRateLimited }),
    oldCodes: new OldCodes(database, mapping),
    sessions,
    sender: parts.sender,
  });
  const cookies = new SessionCookies(parts.hasSecureCookies);
  return [
    SignedInGuard,
    { provide: UsersService, useValue: users },
    { provide: UserLookup, useValue: lookup },
    { provide: DevicesService, useValue: devices },
    { provide: SessionsService, useValue: sessions },
    { provide: TokensService, useValue: tokens },
    { provide: SignInService, useValue: signIn },
    {
      provide: ClientSessions,
      useValue: new ClientSessions(signIn, sessions, tokens, lookup, cookies),
    },
  ];
}

import { Injectable } from '@nestjs/common';
import type { Database, Queryable } from '../database/database.js';
import { SegueError } from '../errors/segue-error.js';
import type { DeviceInput } from '../users/device.types.js';
import type { DevicesService } from '../users/devices.service.js';
import type { PhoneNumber, PhoneNumbers } from '../users/phone-numbers.js';
import type { UsersService } from '../users/users.service.js';
import type { CodeSender } from './code-sender.js';
import type { CodesService, ReservedCode } from './codes.service.js';
import type { OldCodes } from './old-codes.js';
import type { OpenSession, SessionsService } from './sessions.service.js';

/** The parts that signing in is put together from. */
export interface SignInParts {
  readonly database: Database;
  readonly users: UsersService;
  readonly devices: DevicesService;
  readonly phones: PhoneNumbers;
  readonly codes: CodesService;
  readonly oldCodes: OldCodes;
  readonly sessions: SessionsService;
  readonly sender: CodeSender;
}

/** Signing in: a code to the phone, and a session for whoever knows it. No answer tells whether a number is known. */
@Injectable()
export class SignInService {
  constructor(private readonly parts: SignInParts) {}

  /**
   * Sends a code. Nobody is looked up: a known number and an unknown one cannot be told apart.
   * @throws SegueError BAD_USER_INPUT, NOT_EXPANDED, RATE_LIMITED; UNAVAILABLE when it could not be sent.
   */
  async requestVerification(typed: string): Promise<ReservedCode> {
    const { phones, codes, sessions, sender } = this.parts;
    const { canonical } = phones.get(typed);
    await sessions.checkExpanded();
    const code = await codes.reserve(canonical);
    try {
      await sender.send(code);
    } catch (error) {
      await codes.takeBack(code);
      throw error;
    }
    return code;
  }

  /**
   * Opens a session for whoever knows the code of a number; the account of a new number is made by it.
   * @throws SegueError BAD_USER_INPUT, NOT_EXPANDED.
   */
  async verify(typed: string, code: string, device: DeviceInput | null): Promise<OpenSession> {
    const { database, phones, devices, sessions } = this.parts;
    const phone = phones.get(typed);
    if (device !== null) devices.check(device);
    await sessions.checkExpanded();
    // What failed is told after the commit, or the try would not be counted.
    const session = await database.transaction(async (transaction) =>
      (await this.isRight(transaction, phone, code))
        ? this.enter(transaction, phone, device)
        : null,
    );
    if (session === null)
      throw new SegueError(
        'BAD_USER_INPUT',
        `The code for ${phone.canonical} is wrong, was used, was tried too often, or has run out: ask for a new one with requestVerification.`,
      );
    return session;
  }

  /** @throws SegueError UNAUTHENTICATED, NOT_EXPANDED. */
  refresh(token: string): Promise<OpenSession> {
    const { sessions, devices } = this.parts;
    return sessions.refresh(token, (transaction, id) => devices.touch(transaction, id));
  }

  private async isRight(
    transaction: Queryable,
    phone: PhoneNumber,
    code: string,
  ): Promise<boolean> {
    const { users, codes, oldCodes } = this.parts;
    await codes.lock(transaction, phone.canonical);
    const account = await users.findByPhone(transaction, phone);
    const old = account === null ? [] : await oldCodes.of(transaction, account.id);
    return codes.use(transaction, phone.canonical, code.trim(), old);
  }

  private async enter(
    transaction: Queryable,
    phone: PhoneNumber,
    device: DeviceInput | null,
  ): Promise<OpenSession> {
    const { users, devices, sessions } = this.parts;
    const account = await users.getOrCreate(transaction, phone);
    await users.noteSignIn(transaction, account);
    if (device === null) return sessions.open(transaction, account, null);
    const deviceId = await devices.getOrCreate(transaction, account.id, device);
    const session = await sessions.open(transaction, account, deviceId);
    // After the session, as a refresh does, so that neither waits for the other.
    await devices.touch(transaction, deviceId, device);
    return session;
  }
}

import { getJwtSecret } from '../auth/jwt-secret.js';
import { issueToken } from '../auth/tokens.service.js';
import type { Config } from '../config/config.js';
import { openDatabase } from '../database/open-database.js';
import { schemaOf } from '../schema.js';
import { PhoneNumbers } from '../users/phone-numbers.js';
import { UsersService } from '../users/users.service.js';

/**
 * Prints an access token, alone on a line.
 * @param who a user's id, phone number or username
 * @param creates whether a user is made for a phone number that nobody has
 * @throws SegueError NOT_FOUND, or BAD_USER_INPUT, of `who`.
 */
export async function printToken(config: Config, who: string, creates: boolean): Promise<void> {
  const database = await openDatabase(
    config.database,
    schemaOf(config.database.engine, config.mapping),
    { zone: config.legacyZone },
  );
  try {
    const users = new UsersService(
      database,
      config.mapping,
      new PhoneNumbers(config.defaultCountry),
    );
    const account = creates ? await users.getOrCreateByPhone(who) : await users.get(who);
    process.stdout.write(`${await issueToken(account, getJwtSecret(config))}\n`);
  } finally {
    await database.close();
  }
}

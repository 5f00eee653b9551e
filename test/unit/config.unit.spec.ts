import { describe, expect, it } from '@jest/globals';
import { readConfig } from '../../src/config/config.js';

describe('the configuration', () => {
  it('has a default for everything', () => {
    expect(readConfig({})).toMatchObject({
      database: { engine: 'sqlite', shown: 'sqlite:data/segue.sqlite' },
      legacyReads: 'cutover',
      host: '127.0.0.1',
      port: 3000,
      production: false,
      logFormat: 'text',
      diskReserve: 1024 ** 3,
      defaultCountry: undefined,
      codeWebhookUrl: undefined,
      redisUrl: undefined,
      isRateLimited: true,
    });
    expect(readConfig({ RATE_LIMIT: 'off', DEFAULT_COUNTRY: 'ng' })).toMatchObject({
      isRateLimited: false,
      defaultCountry: 'NG',
    });
  });

  it('never shows a password', () => {
    const { database } = readConfig({ DATABASE_URL: 'postgres://me:hush@db.example:5433/chat' });
    expect(database).toEqual({
      engine: 'postgres',
      url: 'postgres://me:hush@db.example:5433/chat',
      shown: 'postgres://db.example:5433/chat',
    });
  });

  it.each([
    ['DATABASE_URL', 'mysql://me:hush@db/chat', 'mysql:…'],
    ['DATABASE_URL', ' postgres://me:hush@db/chat', '…'],
    ['DATABASE_URL', 'postgres://me:12/hush@db/chat', 'postgres://…'],
    ['DATABASE_URL', 'postgres://me:hush%@db/chat', 'postgres://…'],
    ['DATABASE_URL', 'sqlite:', 'sqlite:'],
    ['DATABASE_URL', 'sqlite::memory:', 'memory'],
    ['DATABASE_URL', 'postgres://me:hush@', 'postgres://…'],
    ['PORT', '70000', '70000'],
    ['PORT', 'http', 'http'],
    ['LEGACY_READS', 'both', 'both'],
    ['LEGACY_TIMEZONE', 'Europe/Berlln', 'Europe/Berlln'],
    ['DISK_RESERVE', '1 GiB', '1 GiB'],
    ['JWT_SECRET', 'short', '5 bytes'],
    ['RATE_LIMIT', 'none', 'none'],
    ['DEFAULT_COUNTRY', 'Nigeria', 'Nigeria'],
    ['CODE_WEBHOOK_URL', 'ftp://me:hush@codes', '…'],
    ['CODE_WEBHOOK_URL', 'https://', '…'],
    ['REDIS_URL', 'http://me:hush@redis', '…'],
    ['REDIS_URL', 'redis://', '…'],
    ['REDIS_URL', 'redis://me:12/hush@redis', '…'],
  ])('refuses %s=%s, and says what it was', (name, value, said) => {
    let message = '';
    try {
      readConfig({ [name]: value });
    } catch (error) {
      expect(error).toMatchObject({ code: 'BAD_CONFIG' });
      message = String(error);
    }
    expect(message).toContain(name);
    expect(message).toContain(said);
    expect(message).toContain('it takes');
    expect(message).not.toContain('hush');
  });
});

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { atTheEnd, emptyDatabase, ENGINES, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import {
  type Answer,
  ask,
  type Environment,
  finished,
  segue,
  serve,
  startCli,
} from '../helpers/programs.js';

interface SentCode {
  readonly phone: string;
  readonly code: string;
}

/** A service that sends codes, and keeps them. */
async function codeService(): Promise<{ url: string; sent: SentCode[]; isDown: boolean }> {
  const service = { url: '', sent: [] as SentCode[], isDown: false };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (!service.isDown) service.sent.push(JSON.parse(body) as SentCode);
      response.writeHead(service.isDown ? 503 : 204).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  atTheEnd(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  service.url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
  return service;
}

const REQUEST =
  'mutation R($phone: String!) { requestVerification(phone: $phone) { phone expiresAt resendAfter } }';
const VERIFY = `mutation V($phone: String!, $code: String!, $device: DeviceInput) {
  verify(phone: $phone, code: $code, device: $device) { accessToken refreshToken user { id name phone isVerified } } }`;
const REFRESH =
  'mutation F($token: String!) { refreshToken(refreshToken: $token) { accessToken refreshToken user { phone } } }';
const ME = '{ me { __typename id name phone } devices { id deviceId } }';

/** A browser's answer, with the cookies that it is given. */
interface BrowserAnswer extends Answer {
  readonly cookies: readonly string[];
}

async function browse(
  url: string,
  headers: Environment,
  query: string,
  variables: Record<string, unknown> = {},
): Promise<BrowserAnswer> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  });
  const answer = (await response.json()) as object;
  return { status: response.status, cookies: response.headers.getSetCookie(), ...answer };
}

const sentBack = (cookies: readonly string[]): string =>
  cookies.map((cookie) => cookie.split(';', 1)[0] ?? '').join('; ');

describe.each(ENGINES)('signing in to a server on %s', (engine) => {
  let url: string;
  let service: Awaited<ReturnType<typeof codeService>>;
  let environment: Environment;

  beforeAll(async () => {
    service = await codeService();
    environment = {
      DATABASE_URL: urlOf(await emptyDatabase(engine)),
      CODE_WEBHOOK_URL: service.url,
      DEFAULT_COUNTRY: 'NG',
      RATE_LIMIT: 'off',
    };
    ({ url } = await serve(environment));
  });

  const signIn = async (phone: string, headers: Environment = {}): Promise<BrowserAnswer> => {
    await ask(url, null, REQUEST, { phone });
    const code = service.sent.at(-1)?.code;
    return browse(url, headers, VERIFY, { phone, code, device: { deviceId: 'browser' } });
  };
  const payloadOf = ({ data }: Answer): Record<'accessToken' | 'refreshToken', string> =>
    Object.values(data ?? {})[0] as Record<'accessToken' | 'refreshToken', string>;
  const codeOf = ({ errors }: Answer): string | undefined => errors?.[0]?.extensions.code;

  it('goes from a phone number to an account and out again', async () => {
    const requested = await ask(url, null, REQUEST, { phone: '0801 234 5678' });
    expect(requested.data).toEqual({
      requestVerification: {
        phone: '+2348012345678',
        expiresAt: expect.stringMatching(/Z$/),
        resendAfter: expect.stringMatching(/Z$/),
      },
    });
    const entered = await signIn('08012345678');
    expect(entered.data).toMatchObject({
      verify: {
        user: { id: 'usr_1', name: '+2348012345678', phone: '+2348012345678', isVerified: true },
      },
    });
    expect(entered.cookies).toEqual([]);
    const { accessToken, refreshToken } = payloadOf(entered);
    expect((await ask(url, accessToken, ME)).data).toEqual({
      me: { __typename: 'User', id: 'usr_1', name: '+2348012345678', phone: '+2348012345678' },
      devices: [{ id: 'dev_1', deviceId: 'browser' }],
    });
    const next = payloadOf(await ask(url, null, REFRESH, { token: refreshToken }));
    expect((await ask(url, next.accessToken, 'mutation { signOut { signedOut } }')).data).toEqual({
      signOut: { signedOut: true },
    });
    for (const token of [accessToken, next.accessToken])
      expect(codeOf(await ask(url, token, ME))).toBe('UNAUTHENTICATED');
    expect(codeOf(await ask(url, null, REFRESH, { token: next.refreshToken }))).toBe(
      'UNAUTHENTICATED',
    );
  });

  it('shows people to each other without their numbers', async () => {
    const { accessToken } = payloadOf(await signIn('+2348000000001'));
    await signIn('+2348000000002');
    const question = `{ userByPhone(phone: "08000000002") { id name phone createdAt } user(id: "usr_999999") { id } nobody: userByPhone(phone: "x") { id } }`;
    expect((await ask(url, accessToken, question)).data).toEqual({
      userByPhone: {
        id: expect.stringMatching(/^usr_\d+$/),
        name: 'Unknown',
        phone: null,
        createdAt: expect.stringMatching(/^20/),
      },
      user: null,
      nobody: null,
    });
    expect(codeOf(await ask(url, null, question))).toBe('UNAUTHENTICATED');
  });

  it('leaves a token without a session as it is', async () => {
    const token = (await segue(environment, 'token', '08012345678', '--create')).stdout.trim();
    expect((await ask(url, token, 'mutation { signOut { signedOut } }')).data).toEqual({
      signOut: { signedOut: false },
    });
    expect((await ask(url, token, '{ me { phone } }')).data).toEqual({
      me: { phone: '+2348012345678' },
    });
  });

  it('keeps a browser’s session in cookies that no script reads and no other site sends', async () => {
    const entered = await signIn('+2348000000003', { 'x-segue-session': 'cookie' });
    expect(entered.cookies).toHaveLength(2);
    for (const cookie of entered.cookies) {
      expect(cookie).toMatch(/^segue_(access|refresh)=[\w.-]+; Max-Age=\d+; Path=\/; /);
      expect(cookie).toMatch(/; HttpOnly/);
      expect(cookie).toMatch(/; SameSite=Strict/);
      expect(cookie).not.toMatch(/Secure/);
    }
    const cookie = sentBack(entered.cookies);
    const own = { cookie, origin: url };
    expect((await browse(url, own, ME)).data).toMatchObject({ me: { phone: '+2348000000003' } });
    expect((await browse(url, { cookie, 'sec-fetch-site': 'same-origin' }, ME)).data).toMatchObject(
      {
        me: { phone: '+2348000000003' },
      },
    );
    for (const foreign of [
      {},
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: url.replace(/\d+$/, '1') },
      { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'none' },
    ] as Environment[])
      for (const [query, variables] of [
        [ME],
        ['mutation { signOut { signedOut } }'],
        [REFRESH, { token: '' }],
      ] as const)
        expect(codeOf(await browse(url, { cookie, ...foreign }, query, variables))).toBe(
          'FORBIDDEN',
        );
    // What is no cookie's asks for no Origin, and comes first.
    const { accessToken } = payloadOf(entered);
    expect(
      (await browse(url, { authorization: `Bearer ${accessToken}` }, ME)).errors,
    ).toBeUndefined();
    expect(codeOf(await browse(url, { ...own, authorization: 'Bearer x' }, ME))).toBe(
      'UNAUTHENTICATED',
    );

    const refreshed = await browse(url, own, REFRESH, { token: '' });
    expect(refreshed.data).toMatchObject({ refreshToken: { user: { phone: '+2348000000003' } } });
    expect(refreshed.cookies).toHaveLength(2);
    expect(sentBack(refreshed.cookies)).not.toBe(cookie);
    const out = await browse(
      url,
      { cookie: sentBack(refreshed.cookies), origin: url },
      'mutation { signOut { signedOut } }',
    );
    expect(out.data).toEqual({ signOut: { signedOut: true } });
    expect(out.cookies.map((cleared) => cleared.split(';', 2))).toEqual([
      ['segue_access=', ' Max-Age=0'],
      ['segue_refresh=', ' Max-Age=0'],
    ]);
    const late = await browse(url, own, REFRESH, { token: '' });
    expect(codeOf(late)).toBe('UNAUTHENTICATED');
    expect(late.cookies).toHaveLength(2);
    expect(codeOf(await browse(url, {}, REFRESH, { token: '' }))).toBe('UNAUTHENTICATED');
  });

  it('takes no operation that a form of another site could send', async () => {
    const response = await fetch(`${url}/graphql?query=${encodeURIComponent('{ me { id } }')}`);
    expect(response.status).toBe(400);
    expect(JSON.stringify(await response.json())).toContain('CSRF');
  });

  it('answers bad input with a code and a sentence', async () => {
    expect(codeOf(await ask(url, null, REQUEST, { phone: 'Eve' }))).toBe('BAD_USER_INPUT');
    expect(codeOf(await ask(url, null, VERIFY, { phone: '+2348012345678', code: 'x' }))).toBe(
      'BAD_USER_INPUT',
    );
    expect(codeOf(await ask(url, null, REFRESH, { token: 'x' }))).toBe('UNAUTHENTICATED');
    service.isDown = true;
    expect(codeOf(await ask(url, null, REQUEST, { phone: '+2348012345678' }))).toBe('UNAVAILABLE');
    service.isDown = false;
  });
});

describe.each(ENGINES)('signing in before anything was expanded, on %s', (engine) => {
  it('says what comes first, while people and old tokens are served', async () => {
    const { location, database } = await legacyDatabase(engine, { messages: 5 });
    await database.close();
    const environment = { DATABASE_URL: urlOf(location) };
    const { url } = await serve(environment);
    const token = (await segue(environment, 'token', 'usr_1')).stdout.trim();
    const phone = '08000000001';
    const answers = [
      await ask(url, null, REQUEST, { phone }),
      await ask(url, null, VERIFY, { phone, code: '123456' }),
      await ask(url, null, REFRESH, { token: 'a.b' }),
      await ask(url, token, 'mutation { signOut { signedOut } }'),
      await ask(url, token, '{ devices { id } }'),
    ];
    for (const { errors } of answers)
      expect(errors).toEqual([
        expect.objectContaining({
          message: expect.stringContaining('segue expand'),
          extensions: { code: 'NOT_EXPANDED' },
        }),
      ]);
    expect((await ask(url, token, '{ me { id phone } user(id: "usr_2") { id } }')).data).toEqual({
      me: { id: 'usr_1', phone },
      user: { id: 'usr_2' },
    });
  });
});

describe('a server in production', () => {
  it('does not start without a way to send codes, and marks its cookies as Secure', async () => {
    const service = await codeService();
    const environment = {
      DATABASE_URL: urlOf(await emptyDatabase('sqlite')),
      NODE_ENV: 'production',
      JWT_SECRET: 'a secret that is long enough for HS256',
      PORT: '0',
    };
    const { code, stderr } = await finished(startCli(environment, 'serve'));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/BAD_CONFIG.*CODE_WEBHOOK_URL/);

    const { url } = await serve({ ...environment, CODE_WEBHOOK_URL: service.url });
    const phone = '+2348012345678';
    await ask(url, null, REQUEST, { phone });
    const variables = { phone, code: service.sent[0]?.code };
    const entered = await browse(url, { 'x-segue-session': 'cookie' }, VERIFY, variables);
    expect(entered.cookies).toEqual([
      expect.stringContaining('; Secure'),
      expect.stringContaining('; Secure'),
    ]);
  });
});

import type { IncomingHttpHeaders } from 'node:http';
import { fastifyCookie, type SerializeOptions } from '@fastify/cookie';
import { SegueError } from '../errors/segue-error.js';

export const ACCESS_COOKIE = 'segue_access';
export const REFRESH_COOKIE = 'segue_refresh';

/** The header by which a browser asks for its tokens as cookies: `x-segue-session: cookie`. */
const ASKED_BY = 'x-segue-session';

/** As much of an HTTP answer as cookies need: Fastify's reply with @fastify/cookie. */
export interface CookieReply {
  setCookie(name: string, value: string, options: SerializeOptions): unknown;
}

/** Whether a client keeps its session in cookies. */
export function wantsCookies(headers: IncomingHttpHeaders): boolean {
  return headers[ASKED_BY] === 'cookie';
}

/**
 * The value of one of our cookies, which a browser sends along whoever made it ask.
 * @throws SegueError FORBIDDEN when a page of another site did.
 */
export function findCookie(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = fastifyCookie.parse(headers.cookie ?? '')[name];
  if (value === undefined || value === '') return undefined;
  checkSameOrigin(headers);
  return value;
}

/** Writes cookies that no script can read, and that no other site's page makes a browser send. */
export class SessionCookies {
  constructor(private readonly secure: boolean) {}

  set(reply: CookieReply, name: string, value: string, maxAge: number): void {
    const { secure } = this;
    reply.setCookie(name, value, { httpOnly: true, sameSite: 'strict', path: '/', secure, maxAge });
  }

  clear(reply: CookieReply): void {
    for (const name of [ACCESS_COOKIE, REFRESH_COOKIE]) this.set(reply, name, '', 0);
  }
}

/**
 * SameSite alone does not do: a page on another port or subdomain is of the same site. Whoever stands in front of us
 * has to pass the Host on.
 */
function checkSameOrigin({ origin, host, ...headers }: IncomingHttpHeaders): void {
  const isSame =
    origin === undefined
      ? headers['sec-fetch-site'] === 'same-origin'
      : URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
  if (!isSame)
    throw new SegueError(
      'FORBIDDEN',
      `A session cookie came with ${origin === undefined ? 'no Origin' : `the Origin ${JSON.stringify(origin.slice(0, 100))}`} to the Host ${JSON.stringify(host ?? '')}: ` +
        'it is taken from a page of that host only. Send the same Origin, or "authorization: Bearer TOKEN".',
    );
}

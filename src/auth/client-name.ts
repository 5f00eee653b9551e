import type { IncomingHttpHeaders } from 'node:http';

/** Characters of a client's name that are kept. */
const LONGEST = 100;

/**
 * What a client calls itself: `apollographql-client-name` and `-version`, among its headers or in what its connection said;
 * else its user agent; else `unknown`.
 * @param said parameters of a WebSocket connection, or anything
 */
export function clientNameOf(headers: IncomingHttpHeaders, said?: unknown): string {
  const given = (name: string): string | undefined => {
    const value =
      typeof said === 'object' && said !== null
        ? ((said as Record<string, unknown>)[name] ?? headers[name])
        : headers[name];
    return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
  };
  const name = given('apollographql-client-name');
  const version = given('apollographql-client-version');
  const full =
    name === undefined ? given('user-agent') : version === undefined ? name : `${name} ${version}`;
  // Whatever else would not be shown as what it is.
  return (full ?? 'unknown').replaceAll(/[^\x20-\x7E\u00A0-\uD7FF]/g, '?').slice(0, LONGEST);
}

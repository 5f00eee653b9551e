import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { codeSenderOf, WebhookSender } from '../../src/auth/code-sender.js';
import { readConfig } from '../../src/config/config.js';

const CODE = { phone: '+2348012345678', code: '012345', expiresAt: new Date(0) };

describe('the webhook that sends codes', () => {
  let server: Server;
  let url: string;
  let status: number | null;
  let taken: unknown[];

  beforeAll(async () => {
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        taken.push([request.method, request.headers['content-type'], JSON.parse(body)]);
        if (status !== null) response.writeHead(status, { location: '/elsewhere' }).end('thanks');
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/codes`;
  });
  beforeEach(() => {
    [status, taken] = [204, []];
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it('is posted phone, code and expiry as JSON', async () => {
    await new WebhookSender(url).send(CODE);
    expect(taken).toEqual([
      [
        'POST',
        'application/json',
        { phone: '+2348012345678', code: '012345', expiresAt: '1970-01-01T00:00:00.000Z' },
      ],
    ]);
  });

  it.each([301, 400, 500])('makes the code UNAVAILABLE when it answers %i', async (answer) => {
    status = answer;
    await expect(new WebhookSender(url).send(CODE)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(taken).toHaveLength(1);
  });

  it('makes it UNAVAILABLE when it does not answer, or is not there', async () => {
    status = null;
    for (const sender of [new WebhookSender(url, 50), new WebhookSender('http://127.0.0.1:1/')])
      await expect(sender.send(CODE)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('has to be there in production', () => {
    const production = { NODE_ENV: 'production' };
    expect(() => codeSenderOf(readConfig(production))).toThrow(/CODE_WEBHOOK_URL/);
    const CODE_WEBHOOK_URL = url;
    expect(codeSenderOf(readConfig({ ...production, CODE_WEBHOOK_URL }))).toBeInstanceOf(
      WebhookSender,
    );
  });
});

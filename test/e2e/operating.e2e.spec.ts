import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { issueToken } from '../../src/auth/tokens.service.js';
import { asOldApp, atTheEnd, ENGINES, urlOf } from '../helpers/databases.js';
import { legacyDatabase } from '../helpers/legacy.js';
import { ask, type Ended, type Environment, segue, serve } from '../helpers/programs.js';
import { SECRET } from '../helpers/sign-in.js';

const GUIDE = new URL('../../docs/operating.md', import.meta.url);
const SEGUE = 'npm run --silent segue -- ';

interface Command {
  readonly args: readonly string[];
  /** As the guide says. */
  readonly code: number;
}

/** The commands of the guide's blocks, in order, by the heading that they stand under. */
async function commandsOf(): Promise<Map<string, Command[]>> {
  const found = new Map<string, Command[]>();
  let [heading, isBlock] = ['', false];
  for (const line of (await readFile(GUIDE, 'utf8')).split('\n')) {
    if (line.startsWith('## ')) heading = line.slice(3);
    if (line.startsWith('```')) isBlock = line === '```sh';
    else if (isBlock) {
      if (!line.startsWith(SEGUE)) throw new Error(`What is run here begins otherwise: ${line}`);
      const [command = '', comment = ''] = line.slice(SEGUE.length).split(' # ');
      const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) =>
        String(quoted ?? word),
      );
      const code = comment.startsWith('ends with 1') ? 1 : 0;
      found.set(heading, [...(found.get(heading) ?? []), { args, code }]);
    }
  }
  return found;
}

describe.each(ENGINES)('the guide for operators, on %s', (engine) => {
  const folder = async (): Promise<string> => {
    const made = await mkdtemp(join(tmpdir(), 'segue-test-'));
    atTheEnd(() => rm(made, { recursive: true, force: true }), 'drops');
    return made;
  };

  async function old(): Promise<Environment> {
    const { location, database } = await legacyDatabase(engine, { messages: 300 });
    await database.close();
    // The row that the guide signs off.
    await asOldApp(
      location,
      'UPDATE messages SET recipient_id = NULL, group_id = NULL WHERE id = 17',
    );
    return {
      DATABASE_URL: urlOf(location),
      JWT_SECRET: SECRET,
      // Not for people who wait.
      CONTRACT_QUIET_DAYS: '0.00002',
      CWD: await folder(),
    };
  }

  /** Runs a command; what only has to wait for days, or for a server's next look, is tried again. */
  async function run(environment: Environment, { args, code }: Command): Promise<Ended> {
    for (;;) {
      const ended = await segue(environment, ...args);
      if (code === 0 && /^(GATE_CLOSED|RUNNER_ACTIVE)/m.test(ended.stderr)) {
        await sleep(300);
        continue;
      }
      // What it printed is told where it ended otherwise than the guide says.
      if (ended.code !== code) throw new Error(`segue ${args.join(' ')}: ${JSON.stringify(ended)}`);
      return ended;
    }
  }

  it('is true, command by command, while a server runs and somebody chats', async () => {
    const commands = await commandsOf();
    const last = 'All of it away again';
    expect([...commands.keys()]).toHaveLength(7);
    const environment = await old();
    const { url } = await serve(environment);
    const token = await issueToken({ id: '1', phone: '08000000001' }, SECRET);
    for (const [heading, each] of commands) {
      if (heading === last) continue;
      if (heading.startsWith('4.')) {
        const { errors } = await ask(
          url,
          token,
          'mutation { createGroup(input: { name: "Friends", participantIds: ["usr_2"] }) { id } }',
        );
        expect(errors).toBeUndefined();
      }
      for (const command of each) await run(environment, command);
    }
    const { stdout } = await segue(environment, 'status', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ stage: 'CONTRACTED', legacyMessages: 0 });
    const { data } = await ask(
      url,
      token,
      '{ conversations(first: 50) { edges { node { name } } } }',
    );
    expect(JSON.stringify(data)).toContain('Friends');

    const other = await old();
    for (const command of commands.get(last) ?? []) await run(other, command);
    expect((await segue(other, 'status')).stdout).toMatch(/^stage +LEGACY/);
  }, 180_000);
});

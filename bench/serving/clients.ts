import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { exited } from '../../test/drills/processes.js';
import type { Connect, Order, Sent } from './protocol.js';
import { answerOf } from './servers.js';

/** People who are connected to a server, in a process of their own. */
export interface Clients {
  send(seconds: number): Promise<Sent>;
  leave(): Promise<void>;
}

export async function connect(connection: Connect): Promise<Clients> {
  const child = fork(fileURLToPath(new URL('./driver.js', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const order = async (given: Order): Promise<unknown> => {
    const answer = answerOf(child);
    child.send(given);
    const said = (await answer) as { done?: unknown; failed?: string };
    if (said.failed !== undefined) throw new Error(said.failed);
    return said.done;
  };
  await order({ do: 'connect', with: connection });
  return {
    send: async (seconds) => (await order({ do: 'send', seconds })) as Sent,
    leave: async () => {
      child.kill('SIGKILL');
      await exited(child);
    },
  };
}

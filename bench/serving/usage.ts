import type { Usage } from './protocol.js';

/** Says that a floor listens, and answers each question of its parent with what it uses. */
export function serveUsage(): void {
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    const usage: Usage = {
      cpuMs: (user + system) / 1_000,
      rssBytes: process.memoryUsage.rss(),
    };
    process.send?.(usage);
  });
  process.send?.('listening');
}

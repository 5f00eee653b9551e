import { readFile, statfs } from 'node:fs/promises';
import type { Queryable } from '../database.js';

/**
 * Bytes free on the disk of the server's data, where they can be asked: the server runs on this machine, and the
 * role may know where its data lie. Else null, since a server has no answer to it in SQL.
 */
export async function freeBytesOfServer(reader: Queryable): Promise<number | null> {
  const [server] = await reader.all<{ pid: number; folder: string | null }>(
    `SELECT pg_backend_pid() AS pid, coalesce(nullif(pg_tablespace_location(dattablespace), ''),
       CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory') END) AS folder
     FROM pg_database WHERE datname = current_database()`,
  );
  if (server?.folder == null || !(await isOfThisMachine(server.pid))) return null;
  try {
    const { bavail, bsize } = await statfs(server.folder);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/**
 * Whether the process that serves this connection is one that is seen here. An address does not tell: 127.0.0.1 may
 * be a tunnel, and a container has a disk of its own.
 */
async function isOfThisMachine(pid: number): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/comm`, 'utf8')).startsWith('postgres');
  } catch {
    return false;
  }
}

const names = new Map<string, string>();

/**
 * Has PostgreSQL keep a statement compiled on each connection that runs it: for those of each message, whose plan is the
 * same whatever their values; a range of ids wants a plan of its own each time. SQLite keeps what it is asked for again.
 */
export function kept(sql: string): string {
  if (!names.has(sql)) names.set(sql, `segue_${names.size}`);
  return sql;
}

/** Under which a connection keeps a statement; undefined: it does not. */
export function keptName(sql: string): string | undefined {
  return names.get(sql);
}

/** Whether a text has a NUL, which PostgreSQL cannot hold, or half of a surrogate pair, which no UTF-8 can say. */
export function isUnfit(text: string): boolean {
  return /[\0\p{Cs}]/u.test(text);
}

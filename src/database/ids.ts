/** Bounds that no id lies beyond; text, since they pass 2^53. */
export const LOWEST_ID = '-9223372036854775808';
export const HIGHEST_ID = '9223372036854775807';

/** Whether a text is a whole number that fits the databases' 64 bits: only then may it be given as an id. */
export function isDatabaseId(text: string): boolean {
  if (!/^-?\d{1,19}$/.test(text)) return false;
  const id = BigInt(text);
  return id >= BigInt(LOWEST_ID) && id <= BigInt(HIGHEST_ID);
}

const LEAST = -(2n ** 63n);
const MOST = 2n ** 63n - 1n;

/** Whether a text is a whole number that fits the databases' 64 bits: only then may it be given as an id. */
export function isDatabaseId(text: string): boolean {
  if (!/^-?\d{1,19}$/.test(text)) return false;
  const id = BigInt(text);
  return id >= LEAST && id <= MOST;
}

/** A row of which both sides do not say the same. */
export interface Mismatch {
  readonly legacyId: string;
  readonly kind: string;
  readonly detail: string;
}

/** One mismatch for each row and kind, with all that was found of it. */
export function mergeMismatches(found: readonly Mismatch[]): Mismatch[] {
  const merged = new Map<string, Mismatch>();
  for (const { legacyId, kind, detail } of found) {
    const key = `${legacyId} ${kind}`;
    merged.set(key, { legacyId, kind, detail: (merged.get(key)?.detail ?? '') + detail });
  }
  return [...merged.values()].map((mismatch) => ({
    ...mismatch,
    detail: mismatch.detail.replace(/, $/, ''),
  }));
}

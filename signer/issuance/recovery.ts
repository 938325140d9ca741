/** When the server took nothing for so long, in milliseconds, its next yes is a recovery anew: the longest back-off. */
const anewAfterMs = 30_000;

/**
 * The requests whose answer the API server did not take, which wait out a back-off each. Once it takes an answer again
 * they need not wait any longer. Each is let go ahead of its back-off once: one that is refused again although others
 * are taken has a trouble of its own, such as a webhook for its namespace, and if every answer that is taken brought it
 * back, the two together would be a hot loop.
 */
export function createRecovery(needs: { readonly monotonic: () => number }) {
  const { monotonic } = needs;
  const waiting = new Set<string>();
  const letGo = new Set<string>();
  let lastTakenAt = monotonic();

  function forget(key: string): void {
    waiting.delete(key);
    letGo.delete(key);
  }

  return {
    forget,
    /** Notes a request whose answer was not taken. */
    failed(key: string): void {
      if (!letGo.has(key)) waiting.add(key);
    },
    /** Notes a request whose answer was taken. @returns those that need not wait any longer. */
    taken(key: string): readonly string[] {
      forget(key);
      if (monotonic() - lastTakenAt > anewAfterMs) letGo.clear();
      lastTakenAt = monotonic();
      if (waiting.size === 0) return [];
      const keys = [...waiting];
      waiting.clear();
      for (const each of keys) letGo.add(each);
      return keys;
    },
  };
}

/** The state of one check. `reason` says why it is so, for people. */
export interface Check {
  name: string;
  ok: boolean;
  reason: string;
}

export interface HealthReport {
  ok: boolean;
  checks: readonly Check[];
}

/**
 * Makes the health of a process. The expected checks are not ok until they are first set, so that a signer which
 * has not looked yet is never taken for a ready one.
 */
export function createHealth(expected: readonly string[] = []) {
  const checks = new Map<string, Check>();
  const listeners = new Set<(check: Check) => void>();
  for (const name of expected) checks.set(name, { name, ok: false, reason: 'not checked yet' });

  return {
    /** Sets a readiness check. The signer is ready while all of its checks are ok. */
    set(name: string, ok: boolean, reason: string): void {
      const before = checks.get(name);
      if (before?.ok === ok && before.reason === reason) return;
      const check = { name, ok, reason };
      checks.set(name, check);
      for (const listener of listeners) listener(check);
    },
    /**
     * @param excluded names of checks that do not count, and are shown with the rest. `pool` stands for the check of every
     *   signer: `spiffe/pool`.
     */
    ready(excluded: readonly string[] = []): HealthReport {
      const all = [...checks.values()].map((check) =>
        isIn(excluded, check) ? { ...check, ok: true, reason: `excluded: ${check.reason}` } : check,
      );
      return { ok: all.length > 0 && all.every((check) => check.ok), checks: all };
    },
    /** Calls back with each change of a check's verdict or reason; returns what ends it. */
    onChange(listener: (check: Check) => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export type Health = ReturnType<typeof createHealth>;

function isIn(excluded: readonly string[], { name }: Check): boolean {
  return excluded.some((each) => name === each || name.endsWith(`/${each}`));
}

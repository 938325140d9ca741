/** A lagging watch causes one or two conflicts. A tenant who keeps changing the ConfigMap causes one with every write. */
const mostConflicts = 3;

export type AwaitedNamespaces = ReturnType<typeof createAwaitedNamespaces>;

/** The namespaces that a root must still reach before anything is signed under it. Roots are SHA-256 in hex. */
export function createAwaitedNamespaces() {
  const progress = new Map<string, { readonly awaited: Set<string>; isHeldSomewhere: boolean }>();
  const refusing = new Set<string>();
  const conflictsInARow = new Map<string, number>();

  function stopAwaiting(namespace: string): void {
    for (const { awaited } of progress.values()) awaited.delete(namespace);
  }

  /** The namespace has the desired state: earlier refusals and conflicts no longer count. */
  function complies(namespace: string): void {
    refusing.delete(namespace);
    conflictsInARow.delete(namespace);
  }

  return {
    /** Forgets every other root. A new root waits for the namespaces that exist now, not for later ones. */
    follow(roots: readonly string[], namespaces: readonly string[]): void {
      const followed = new Set(roots);
      for (const root of progress.keys()) if (!followed.has(root)) progress.delete(root);
      for (const root of followed) {
        if (!progress.has(root)) progress.set(root, { awaited: new Set(namespaces), isHeldSomewhere: false });
      }
    },
    /** The namespace holds these roots, or has held them. It does not matter if its owner removes them afterwards. */
    holds(namespace: string, roots: Iterable<string>): void {
      for (const root of roots) {
        const state = progress.get(root);
        state?.awaited.delete(namespace);
        if (state) state.isHeldSomewhere = true;
      }
    },
    /** The namespace refused a write. It is no longer awaited, unless all remaining ones refuse. */
    refuses: (namespace: string) => void refusing.add(namespace),
    /** A write conflicted. After several conflicts in a row the namespace is no longer awaited. */
    conflicts(namespace: string): void {
      const count = (conflictsInARow.get(namespace) ?? 0) + 1;
      conflictsInARow.set(namespace, count);
      if (count >= mostConflicts) stopAwaiting(namespace);
    },
    complies,
    /** The namespace takes no roots, at least for now. */
    leaves(namespace: string): void {
      complies(namespace);
      stopAwaiting(namespace);
    },
    /**
     * Whether all awaited namespaces are reached.
     * @param now the observed state of a namespace: whether it holds the root, and whether it should hold it and does not.
     */
    isReached(
      root: string,
      now: { holds(namespace: string): boolean; owes(namespace: string): boolean },
    ): boolean {
      const state = progress.get(root);
      if (!state) return false;
      for (const namespace of state.awaited) {
        if (now.holds(namespace)) state.isHeldSomewhere = true;
        else if (now.owes(namespace)) continue;
        state.awaited.delete(namespace);
      }
      // If all refuse, the cause is not a single namespace: a right may be missing.
      if (state.isHeldSomewhere && state.awaited.isSubsetOf(refusing)) state.awaited.clear();
      return state.awaited.size === 0;
    },
  };
}

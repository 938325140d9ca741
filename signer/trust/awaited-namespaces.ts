/** The namespaces that a root has still to reach before it may sign. Roots are named by their SHA-256 in hex. */
export interface AwaitedNamespaces {
  /** Forgets every other root. A root that is new waits for the namespaces that there are now, and for none later. */
  follow(roots: readonly string[], namespaces: readonly string[]): void;
  /** The namespace holds these roots, or held them for a moment: what its owner does afterwards is its own concern. */
  holds(namespace: string, roots: Iterable<string>): void;
  /** The namespace refused a write. It is not awaited any more, unless all that are left refuse. */
  refuses(namespace: string): void;
  /** A write conflicted with another one. After several in a row the namespace is not awaited any more. */
  conflicts(namespace: string): void;
  /** The namespace is as it should be: earlier refusals and conflicts count no more. */
  complies(namespace: string): void;
  /** The namespace takes no roots, at least for now. */
  leaves(namespace: string): void;
  /**
   * Whether no namespace is awaited any more.
   * @param now what is seen of a namespace: whether it holds the root, and whether it should and does not.
   */
  isReached(
    root: string,
    now: { holds(namespace: string): boolean; owes(namespace: string): boolean },
  ): boolean;
}

/** A watch that is behind makes a conflict or two. A tenant who changes the ConfigMap all the time makes one each time. */
const mostConflicts = 3;

export function createAwaitedNamespaces(): AwaitedNamespaces {
  const progress = new Map<string, { readonly awaited: Set<string>; isHeldSomewhere: boolean }>();
  const refusing = new Set<string>();
  const conflictsInARow = new Map<string, number>();

  function stopAwaiting(namespace: string): void {
    for (const { awaited } of progress.values()) awaited.delete(namespace);
  }

  function complies(namespace: string): void {
    refusing.delete(namespace);
    conflictsInARow.delete(namespace);
  }

  return {
    follow(roots, namespaces) {
      const followed = new Set(roots);
      for (const root of progress.keys()) if (!followed.has(root)) progress.delete(root);
      for (const root of followed) {
        if (!progress.has(root)) progress.set(root, { awaited: new Set(namespaces), isHeldSomewhere: false });
      }
    },
    holds(namespace, roots) {
      for (const root of roots) {
        const state = progress.get(root);
        state?.awaited.delete(namespace);
        if (state) state.isHeldSomewhere = true;
      }
    },
    refuses: (namespace) => void refusing.add(namespace),
    conflicts(namespace) {
      const count = (conflictsInARow.get(namespace) ?? 0) + 1;
      conflictsInARow.set(namespace, count);
      if (count >= mostConflicts) stopAwaiting(namespace);
    },
    complies,
    leaves(namespace) {
      complies(namespace);
      stopAwaiting(namespace);
    },
    isReached(root, now) {
      const state = progress.get(root);
      if (!state) return false;
      for (const namespace of state.awaited) {
        if (now.holds(namespace)) state.isHeldSomewhere = true;
        else if (now.owes(namespace)) continue;
        state.awaited.delete(namespace);
      }
      // Where all refuse, the reason is not one namespace: a right may be missing.
      if (state.isHeldSomewhere && state.awaited.isSubsetOf(refusing)) state.awaited.clear();
      return state.awaited.size === 0;
    },
  };
}

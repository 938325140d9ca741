/**
 * Wakes the requests that wait for the signer, when it has become able to issue, or another CA signs: its name constraints
 * may permit other names.
 *
 * @returns a function to call when something may have changed that issuing depends on: pool, trust bundle, admission
 * policy, permissions; and about every second, as the clock changes without notice. Cheap while nothing has.
 */
export function createWake(needs: {
  /** The id of the CA that a certificate could be signed with now. */
  readonly signsWith: () => string | undefined;
  /** Whether the API server lets this replica write what it signs; true while no right is known to be missing. */
  readonly isPermitted: () => boolean;
  readonly wake: () => void;
}): () => void {
  let signedWith: string | undefined;
  let wasPermitted = false;
  return () => {
    const signsWith = needs.signsWith();
    const isPermitted = needs.isPermitted();
    // Requests would only wait for the next thing: the trust bundle, after the pool has appeared.
    if (signsWith !== undefined && (signsWith !== signedWith || (isPermitted && !wasPermitted))) needs.wake();
    signedWith = signsWith;
    wasPermitted = isPermitted;
  };
}

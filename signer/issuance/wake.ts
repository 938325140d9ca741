/**
 * Wakes the requests that wait for the signer, when it has become able to issue.
 *
 * @returns a function to call when something may have changed that issuing depends on: pool, trust bundle, admission
 * policy, permissions; and about every second, as the clock changes without notice. Cheap while nothing has.
 */
export function createWake(needs: {
  /** Whether a certificate could be signed now. */
  readonly canSign: () => boolean;
  /** Whether the API server lets this replica write what it signs; true while no right is known to be missing. */
  readonly isPermitted: () => boolean;
  readonly wake: () => void;
}): () => void {
  let couldSign = false;
  let wasPermitted = false;
  return () => {
    const canSign = needs.canSign();
    const isPermitted = needs.isPermitted();
    // Requests would only wait for the next thing: the trust bundle, after the pool has appeared.
    if (canSign && (!couldSign || (isPermitted && !wasPermitted))) needs.wake();
    couldSign = canSign;
    wasPermitted = isPermitted;
  };
}

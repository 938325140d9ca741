import { hash } from 'node:crypto';
import type { Time } from '../../kube/time.ts';
import type { Psat } from './psat.ts';
import { createRecent } from './recent.ts';

export type ReviewCache = ReturnType<typeof createReviewCache>;

/**
 * Tokens that the API server accepted a moment ago. Holds hashes of tokens, never tokens.
 *
 * @param needs lifetimeMs: how long a review counts; 0 keeps nothing.
 */
export function createReviewCache(needs: { readonly lifetimeMs: number; readonly time: Time }) {
  const reviews = createRecent<{ readonly psat: Psat; readonly at: number }>(needs);
  const forgottenAt = createRecent<number>(needs);
  return {
    get(token: string): Psat | undefined {
      const review = reviews.get(keyOf(token));
      if (!review) return undefined;
      const { psat, at } = review;
      return at > (forgottenAt.get(psat.pod.uid) ?? Number.NEGATIVE_INFINITY) ? psat : undefined;
    },
    put: (token: string, psat: Psat) => reviews.set(keyOf(token), { psat, at: needs.time.monotonic() }),
    /** From now on the reviews of the pod's tokens so far do not count. */
    forgetPod: (uid: string) => forgottenAt.set(uid, needs.time.monotonic()),
    get size() {
      return reviews.size;
    },
  };
}

function keyOf(token: string): string {
  return hash('sha256', token, 'base64');
}

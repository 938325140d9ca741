import type { PoolView } from '../authority/view.ts';
import type { EndpointConfig } from '../config/endpoints.ts';
import { jwtPropagationOf } from '../config/rotation.ts';
import type { ServerClock } from '../kube/clock.ts';
import type { Time } from '../kube/time.ts';
import type { Metrics } from '../observe/metrics.ts';
import { explain } from '../observe/reasons.ts';
import { type OwnPod, recordOnOwnPod } from './own-pod.ts';

/** Why something cannot be signed now. `message` says what to do. */
export interface SigningProblem {
  /** A heading of docs/reference/outcomes.md. */
  readonly reason: string;
  readonly message: string;
}

export interface SigningStateNeeds extends OwnPod {
  readonly signerName: string;
  /** Why no certificates can be signed now, or undefined. */
  readonly x509: () => SigningProblem | undefined;
  /** The same for JWT-SVIDs; absent without a token endpoint. */
  readonly jwt: (() => SigningProblem | undefined) | undefined;
  readonly metrics: Pick<Metrics, 'canSign'>;
  readonly time: Time;
}

/** A new pool or a new root is usable within seconds; what lasts longer needs a person. */
const passesWithinMs = 10_000;
/** The recorder counts repetitions in one Event, so that it stays visible as long as the problem does. */
const repeatedAfterMs = 60_000;

/**
 * Shows whether anything can be signed: in a metric, and as a Warning on the signer's own pod. With a token endpoint the
 * readiness probe leaves the pool out, so a pod is `1/1` although it can sign nothing, and this is where people look.
 *
 * @returns a function that looks, to be called about every second.
 */
export function createSigningState(needs: SigningStateNeeds): () => void {
  const { metrics } = needs;
  const { monotonic } = needs.time;
  const watchFor = (kind: 'x509' | 'jwt', what: string, problemNow: () => SigningProblem | undefined) => {
    let since: number | undefined;
    let shownAt = Number.NEGATIVE_INFINITY;
    return () => {
      const problem = problemNow();
      metrics.canSign.set({ kind, signer: needs.signerName }, problem ? 0 : 1);
      if (!problem) {
        since = undefined;
        return;
      }
      const now = monotonic();
      since ??= now;
      if (now - since < passesWithinMs || now - shownAt < repeatedAfterMs) return;
      const isShown = recordOnOwnPod(needs, {
        key: `${needs.signerName}/${kind}`,
        type: 'Warning',
        reason: problem.reason,
        action: 'Sign',
        note: `No ${what} are signed for ${needs.signerName}: ${problem.message}`,
      });
      if (isShown) shownAt = now;
    };
  };
  const looks = [
    watchFor('x509', 'certificates', needs.x509),
    ...(needs.jwt ? [watchFor('jwt', 'JWT-SVIDs', needs.jwt)] : []),
  ];
  return () => {
    for (const look of looks) look();
  };
}

/** Why no JWT-SVIDs can be signed now. */
export function jwtProblem(
  token: NonNullable<EndpointConfig['token']>,
  { pool, clock, time }: { pool: Pick<PoolView, 'jwtSignable'>; clock: ServerClock; time: Time },
): () => SigningProblem | undefined {
  const propagationSeconds = jwtPropagationOf(token);
  return () => {
    const skew = clock.problem();
    if (skew !== undefined) return { reason: 'ClockSkew', message: explain('ClockSkew', skew) };
    const signable = pool.jwtSignable(token.algorithm, Math.floor(time.now() / 1000), propagationSeconds);
    return signable.ok ? undefined : signable.problem;
  };
}

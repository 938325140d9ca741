import { messageOf } from '../../../spiffe/errors.ts';
import { ApiStatusError } from '../../kube/api-error.ts';
import type { Transport } from '../../kube/transport.ts';
import { type Checked, pass, type Refused, refuse } from '../../observe/checked.ts';
import type { Psat } from './psat.ts';

/** The part of an authentication.k8s.io/v1 TokenReview that we read. */
interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly audiences?: readonly string[];
    readonly error?: string;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

/**
 * Asks the API server whether a token is good now, and compares its answer with what we read. This alone knows that
 * the pod, the ServiceAccount or the signing key is gone. A token that the API server accepted within the last 10 s
 * it accepts from its own cache.
 */
export async function reviewToken(
  token: string,
  psat: Psat,
  audience: string,
  transport: Transport,
): Promise<Checked<Psat>> {
  let review: TokenReview;
  try {
    const answer = await transport.request<TokenReview>({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [audience] },
      },
      resource: 'tokenreviews',
      retry: 'safe',
      timeoutMs: 5_000,
    });
    review = answer.body;
  } catch (error) {
    return error instanceof ApiStatusError && error.status === 403
      ? refuse('ReviewForbidden')
      : refuse('ReviewUnavailable', messageOf(error));
  }
  const { status } = review;
  if (status?.authenticated !== true) {
    return refuse('TokenRefused', status?.error?.slice(0, 200) || 'it is not authenticated');
  }
  return disagreement(status, psat, audience) ?? pass(psat);
}

function disagreement(
  status: NonNullable<TokenReview['status']>,
  psat: Psat,
  audience: string,
): Refused | undefined {
  const { user, audiences } = status;
  const extra = (name: string) => user?.extra?.[`authentication.kubernetes.io/${name}`];
  const facts: [what: string, agrees: boolean][] = [
    ['audience', isOnly(audiences, audience)],
    ['user', user?.username === psat.subject],
    ['UID of the ServiceAccount', user?.uid === psat.serviceAccount.uid],
    ['name of the pod', isOnly(extra('pod-name'), psat.pod.name)],
    ['UID of the pod', isOnly(extra('pod-uid'), psat.pod.uid)],
  ];
  const [different] = facts.find(([, agrees]) => !agrees) ?? [];
  return different === undefined ? undefined : refuse('ReviewDisagrees', different);
}

function isOnly(values: readonly string[] | undefined, value: string): boolean {
  return values?.length === 1 && values[0] === value;
}

import { hash } from 'node:crypto';
import { KubespiffeError, messageOf } from '../../../spiffe/errors.ts';
import type { CertificateProfile } from '../../../spiffe/pki/leaf.ts';
import type { PodIdentity } from '../../../spiffe/pki/leaf-extensions.ts';
import { makeSerial } from '../../../spiffe/pki/serial.ts';
import { forbiddenDnsNames } from '../../authority/authority.ts';
import type { Authority } from '../../authority/pool.ts';
import type { PoolView } from '../../authority/view.ts';
import { type Identify, shownTerms } from '../../identity/identify.ts';
import { unlessKeyUnavailable } from '../../keys/remote-key.ts';
import type { Time } from '../../kube/time.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import type { Cannot, WaitReason } from '../../observe/reasons.ts';
import { inSpan } from '../../observe/span.ts';
import type { Authenticate } from '../caller/authenticate.ts';
import type { Caller } from '../caller/caller.ts';
import { identifyCaller, lookUpCaller } from '../caller/pods.ts';
import { cannotSign } from './cannot-sign.ts';
import { pkcs10Of, type X509Request } from './csr-request.ts';
import { keyOfRequest, type MintedX509Svid, mintX509Svid } from './mint-x509.ts';
import { authenticateIn, type RequestContext } from './request-context.ts';

export interface X509ServiceNeeds {
  /**
   * Verifies a token of the audience for certificates, and charges the request to the rate limit of its pod. Remembers no
   * token.
   */
  readonly authenticate: Authenticate;
  readonly identify: Identify;
  readonly pods: Parameters<typeof lookUpCaller>[1];
  /** The authority that may sign certificates now, with everything that has to hold before, or why there is none. */
  readonly authority: () => { readonly ok: true; readonly authority: Authority } | Cannot<WaitReason>;
  readonly reserve: PoolView['reserve'];
  /** The roots of the pool, PEM; undefined while there are none. */
  readonly roots: () => string | undefined;
  /** The same as that of PodCertificateRequests. */
  readonly profile: CertificateProfile;
  readonly lifetimeSeconds: number;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly time: Time;
}

/** An X509-SVID with the roots, and its facts for the audit line. Times in seconds since the epoch. */
export interface IssuedX509Svid
  extends Omit<MintedX509Svid, 'leafDer' | 'serialHex'>,
    ReturnType<typeof shownTerms> {
  readonly kind: 'x509-svid';
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
  /** PEM. */
  readonly rootsPem: string;
  readonly serial: string;
  readonly publicKeySha256: string;
  /** Id of the authority that signed it. */
  readonly authority: string;
  readonly issuedAt: number;
}

export type X509Service = (request: X509Request, context: RequestContext) => Promise<Checked<IssuedX509Svid>>;

/**
 * Issues X509-SVIDs to pods that prove themselves with their ServiceAccount token: the same identity, by the same
 * decision, as their PodCertificateRequests would get. A certificate lives longer than a token, so that the API server
 * is asked each time.
 */
export function createX509Service(needs: X509ServiceNeeds): X509Service {
  return async (request, context) => {
    const { span } = context;
    const authenticated = await authenticateIn(context, () => needs.authenticate(request.subjectToken));
    if (!authenticated.ok) return authenticated;
    const caller = authenticated.value;
    const pkcs10 = pkcs10Of(request.body);
    if (!pkcs10.ok) return pkcs10;
    const key = keyOfRequest(pkcs10.value);
    if (!key.ok) return key;

    const lookup = await inSpan(span, 'decide', () => lookUpCaller(caller, needs.pods));
    const now = Math.floor(needs.time.now() / 1000);
    const identity = identifyCaller(caller, lookup, needs.identify, now, request.registration);
    if (!identity.ok) return identity;
    const { subject, spiffeId, terms } = identity.value;

    const usable = needs.authority();
    if (!usable.ok) return cannotSign(usable.reason, usable.detail);
    const [forbidden] = forbiddenDnsNames(usable.authority, subject.dnsNames);
    if (forbidden !== undefined) {
      return cannotSign('NameNotPermitted', `${forbidden}, by authority ${usable.authority.id}`);
    }
    const rootsPem = needs.roots();
    if (rootsPem === undefined) return refuse('SigningUnavailable', 'the pool has no root that is trusted');
    const lifetimeSeconds = Math.min(
      needs.lifetimeSeconds,
      terms?.maxLifetimeSeconds ?? Number.POSITIVE_INFINITY,
    );
    try {
      await needs.reserve(usable.authority, now + lifetimeSeconds);
    } catch (error) {
      return cannotSign('SigningNotRecorded', messageOf(error));
    }
    const minted = await inSpan(span, 'sign', () =>
      mintX509Svid({
        authority: usable.authority.signingAuthority,
        profile: needs.profile,
        subject,
        pod: podIdentityOf(caller),
        key: key.value,
        now,
        lifetimeSeconds,
        credentialEndsAt: caller.expiresAt,
        serial: makeSerial(needs.randomBytes),
      }),
    ).catch(unlessKeyUnavailable);
    if (minted instanceof KubespiffeError) {
      return cannotSign('KeyUnavailable', `authority ${usable.authority.id}, ${minted.message}`);
    }
    if (!minted.ok) return minted;
    // The pool may have changed, or its view become too old, while this waited or the process stood still.
    const still = needs.authority();
    if (!still.ok) return cannotSign(still.reason, still.detail);
    if (still.authority.signing.sha256Hex !== usable.authority.signing.sha256Hex) {
      return refuse('SigningUnavailable', 'another CA signs now');
    }
    const { chainPem, notBefore, notAfter, refreshAt, serialHex } = minted.value;
    return pass({
      kind: 'x509-svid',
      spiffeId,
      ...shownTerms(terms),
      dnsNames: subject.dnsNames,
      chainPem,
      rootsPem,
      serial: serialHex,
      publicKeySha256: hash('sha256', key.value.spki),
      authority: usable.authority.id,
      issuedAt: now,
      notBefore,
      notAfter,
      refreshAt,
    });
  };
}

/** What the token says about the pod. Before Kubernetes 1.30 tokens do not name the node. */
function podIdentityOf({ namespace, serviceAccount, pod, node }: Caller): PodIdentity {
  return {
    namespace,
    serviceAccountName: serviceAccount.name,
    serviceAccountUID: serviceAccount.uid,
    podName: pod.name,
    podUID: pod.uid,
    nodeName: node?.name ?? '',
    nodeUID: node?.uid ?? '',
  };
}

import { hash } from 'node:crypto';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import type { CertificateProfile } from '../../spiffe/pki/leaf.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { forbiddenDnsNames } from '../authority/authority.ts';
import { issueLeaf } from '../authority/issue-leaf.ts';
import type { Authority, PoolProblem } from '../authority/pool.ts';
import type { PoolView } from '../authority/view.ts';
import { shownTerms, type Terms } from '../identity/identify.ts';
import { namesOf } from '../identity/subject.ts';
import { unlessKeyUnavailable } from '../keys/remote-key.ts';
import type { Time } from '../kube/time.ts';
import type { IssuedCertificate } from '../observe/audit.ts';
import { type Cannot, cannot, type WaitReason } from '../observe/reasons.ts';
import type { Decision } from './decide.ts';
import type { OpenRequest } from './request.ts';
import { type LeafPolicy, leafValidity } from './validity.ts';

/** Why this replica cannot sign now. */
export type CannotSign = Cannot<WaitReason>;

/** A certificate that was signed, and the authority that signed it. */
export interface Signed {
  readonly ok: true;
  readonly certificate: IssuedCertificate;
  readonly chainPem: string;
  /** When kubelet is asked to renew it, seconds since the epoch. */
  readonly beginRefreshAt: Seconds;
  readonly authority: Authority;
}

export interface SigningNeeds {
  readonly pool: Pick<PoolView, 'signable' | 'reserve'>;
  /** Where a root must be visible to this replica's own watch before anything is signed under it. */
  readonly visibility: () => { readonly place: string; isVisible(root: CertificateFacts): boolean };
  /** Why the clock may not be used, or undefined. */
  readonly clockProblem: () => string | undefined;
  readonly policy: LeafPolicy;
  readonly profile: CertificateProfile;
  readonly time: Time;
  readonly randomBytes: (count: number) => Uint8Array;
}

/** Signs with the active authority of the pool, if everything that must hold before a signature does hold. */
export function createSigning(needs: SigningNeeds) {
  function mayUse(): { ok: true; authority: Authority } | CannotSign {
    const clockProblem = needs.clockProblem();
    if (clockProblem !== undefined) return cannot('ClockSkew', clockProblem);
    const signable = needs.pool.signable(Math.floor(needs.time.now() / 1000));
    if (!signable.ok) return cannot(outcomeOf(signable.problem.reason), signable.problem.message);
    const visibility = needs.visibility();
    if (!visibility.isVisible(signable.authority.root)) return cannot('TrustNotPublished', visibility.place);
    return { ok: true, authority: signable.authority };
  }

  function policyFor(terms: Terms | undefined): LeafPolicy {
    const { policy } = needs;
    const { maxLifetimeSeconds = policy.maxLifetimeSeconds } = terms ?? {};
    return { ...policy, maxLifetimeSeconds: Math.min(maxLifetimeSeconds, policy.maxLifetimeSeconds) };
  }

  async function sign(
    decision: Extract<Decision, { kind: 'issue' }>,
    request: OpenRequest,
  ): Promise<Signed | CannotSign> {
    const usable = mayUse();
    if (!usable.ok) return usable;
    const { authority } = usable;
    const [forbidden] = forbiddenDnsNames(authority, decision.subject.dnsNames);
    if (forbidden !== undefined) {
      return cannot('NameNotPermitted', `${forbidden}, by authority ${authority.id}`);
    }
    const { signingAuthority } = authority;
    const validity = leafValidity({
      now: Math.floor(needs.time.now() / 1000),
      maxExpirationSeconds: request.maxExpirationSeconds,
      policy: policyFor(decision.terms),
      authorityNotBefore: signingAuthority.notBefore,
      authorityNotAfter: signingAuthority.notAfter,
      jitter: needs.time.jitter(),
    });
    if (!validity) return cannot('AuthorityExpiring', `authority ${authority.id}`);
    try {
      await needs.pool.reserve(authority, validity.notAfter);
    } catch (error) {
      return cannot('SigningNotRecorded', messageOf(error));
    }
    const issued = await issueLeaf({
      authority: signingAuthority,
      profile: needs.profile,
      subject: decision.subject,
      pod: request,
      key: decision.key,
      validity,
      serial: makeSerial(needs.randomBytes),
    }).catch(unlessKeyUnavailable);
    if (issued instanceof KubespiffeError) {
      return cannot('KeyUnavailable', `authority ${authority.id}, ${issued.message}`);
    }
    const { chainPem, serialHex } = issued;
    // The pool may have changed, or its view become too old, while this waited or the process stood still.
    const still = mayUse();
    if (!still.ok) return still;
    if (still.authority.signing.sha256Hex !== authority.signing.sha256Hex) return sign(decision, request);
    const certificate = {
      ...namesOf(decision.subject),
      ...(decision.terms && shownTerms(decision.terms)),
      serial: serialHex,
      publicKeySha256: hash('sha256', decision.key.spki, 'hex'),
      authority: authority.id,
      notBefore: validity.notBefore,
      notAfter: validity.notAfter,
    };
    return { ok: true, certificate, chainPem, beginRefreshAt: validity.beginRefreshAt, authority };
  }

  return { mayUse, sign };
}

/** The problems of a pool that are outcomes of their own. */
function outcomeOf(reason: PoolProblem['reason']): WaitReason {
  switch (reason) {
    case 'AuthorityExpiring':
    case 'RootTooNew':
    case 'KeyUnavailable':
      return reason;
    default:
      return 'PoolUnusable';
  }
}

export type Signing = ReturnType<typeof createSigning>;

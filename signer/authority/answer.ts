import { checkAuthority } from '../../spiffe/conformance.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { minCertificateSeconds } from '../kube/types.ts';
import { readAuthority } from './authority.ts';
import { type Change, changeOf, type Refusal, refusal, withAuthorities } from './change.ts';
import type { AuthorityRecord, PoolDocument } from './document.ts';
import { assembleChain, type CaMaterial, readCertificates } from './import.ts';
import { rootOf, stolenRoots } from './material.ts';
import { keyOfRequest, publicKeyOf } from './read-keys.ts';

/** Most that a CA may exceed the end that was requested, in seconds. */
const toleranceSeconds = 3600;
/** Most that a CA whose clock is fast may date its certificates ahead, in seconds. */
const clockSkewSeconds = 300;

/** What another CA has answered to the request of an authority. */
export interface Answer {
  /** PEM: the certificate, and those above it up to the root, in any order. */
  readonly certificates: CaMaterial['certificates'];
  /** The latest end that was asked for, where one was. */
  readonly notAfter?: Seconds;
  /**
   * PEM of roots that it may end in, besides those that the pool has; absent where a person vouches for the answer itself.
   * The owner of a root can make certificates of every name, so an answer from the network must not choose it.
   */
  readonly furtherRoots?: readonly string[];
}

/**
 * The pool with the certificate that an authority was waiting for: it is `prepared` from then on, like one that we made.
 * The answer may come from anywhere, so it is checked against the request and by all rules for a CA in a pool.
 */
export function answerRequest(
  document: PoolDocument,
  id: string,
  answer: Answer,
  now: Seconds,
): Change | Refusal {
  const record = document.authorities.find((each) => each.id === id);
  const asked = record?.request === undefined ? undefined : keyOfRequest(record.request);
  if (!record || !asked) {
    const waiting = document.authorities.filter(({ request }) => request !== undefined);
    return refusal(
      record ? `authority ${id} does not wait for a certificate` : `there is no authority ${id} in the pool`,
      waiting.length > 0
        ? `name one of ${waiting.map((each) => each.id).join(', ')}`
        : 'make a request with `kubespiffe ca csr` first',
    );
  }
  const { request: _, requestedBy: __, createdAt = rfc3339(now), ...rest } = record;
  const known = answer.furtherRoots && [...rootsIn(document), ...answer.furtherRoots];
  const certificates = [
    ...answer.certificates,
    ...(known ?? []).map((pem) => ({ pem, name: 'the roots that are known' })),
  ];
  const chain = assembleChain(publicKeyOf({ spki: asked }), `the request of authority ${id}`, certificates);
  if (!chain.ok) return refusal(`${chain.problem.field}: ${chain.problem.what}`, chain.problem.remedy);
  const answered: AuthorityRecord = { ...rest, ...chain.value, createdAt };
  const read = readAuthority(answered, 'the answer', document.trustDomain);
  if (!read.ok) return refusal(`${read.problem.field}: ${read.problem.what}`, read.problem.remedy);
  const { signing, root, warnings } = read.authority;
  const refused =
    unknownRoot(root, known) ??
    unaskedNames(signing, document.trustDomain) ??
    timeRefusal([...read.authority.intermediates, root], answer.notAfter, now) ??
    (signing.hasSubject ? undefined : unfit('has no subject, which every verifier of its leaves needs'));
  if (refused) return refused;
  const authorities = document.authorities.map((each) => (each === record ? answered : each));
  return changeOf(document, withAuthorities(document, authorities), {
    notes: [...warnings, ...broken(signing, document)],
  });
}

/** The roots that a pool vouches for. */
function rootsIn({ authorities }: PoolDocument): readonly string[] {
  const stolen = stolenRoots(authorities);
  return authorities.flatMap((each) =>
    each.state === 'retired' || stolen.has(rootOf(each) ?? '') ? [] : (each.certificate ?? []),
  );
}

function unknownRoot(root: CertificateFacts, known: readonly string[] | undefined): Refusal | undefined {
  const isKnown = (pem: string) =>
    readCertificates(pem).some(({ sha256Hex }) => sha256Hex === root.sha256Hex);
  if (!known || known.some(isKnown)) return undefined;
  return refusal(
    `the answer leads to a root that the pool does not have, SHA-256 ${root.sha256Hex}, or that is tainted there`,
    'compare it with the root of that CA, and give the root with --upstream-root FILE if it is right',
  );
}

const unfit = (what: string): Refusal =>
  refusal(
    `the certificate of the answer ${what}`,
    'have the CA sign the request again, unchanged and as a CA certificate',
  );

/** Names of a CA go into no leaf, but a certificate with names that were not requested was made for another purpose. */
function unaskedNames(
  { uris, dnsNames, otherNameKinds }: CertificateFacts,
  trustDomain: string | undefined,
): Refusal | undefined {
  const unasked = [...uris.filter((uri) => uri !== `spiffe://${trustDomain}`), ...dnsNames];
  const [other] = otherNameKinds;
  if (unasked.length === 0 && other === undefined) return undefined;
  const what = unasked.length > 0 ? JSON.stringify(unasked[0]?.slice(0, 300)) : `a name of kind ${other}`;
  return unfit(`carries ${what}, which was not asked for`);
}

function timeRefusal(
  chain: readonly CertificateFacts[],
  asked: Seconds | undefined,
  now: Seconds,
): Refusal | undefined {
  const end = Math.min(...chain.map(({ notAfter }) => notAfter));
  const begin = Math.max(...chain.map(({ notBefore }) => notBefore));
  const [signing] = chain;
  if (begin > now + clockSkewSeconds) return unfit(`is valid only from ${rfc3339(begin)} on, with its chain`);
  if (end - now < minCertificateSeconds) return unfit(`ends at ${rfc3339(end)}, with its chain`);
  if (asked !== undefined && signing && signing.notAfter > asked + toleranceSeconds) {
    return unfit(`is valid until ${rfc3339(signing.notAfter)}, and ${rfc3339(asked)} was asked for`);
  }
  return undefined;
}

/** The clauses of the standard that a certificate breaks, though verifiers may accept what it signs. */
function broken(signing: CertificateFacts, { trustDomain }: PoolDocument): string[] {
  if (trustDomain === undefined) return [];
  return checkAuthority(signing, trustDomain)
    .filter(({ ok, level }) => !ok && level === 'must')
    .map(({ clause, message }) => `the certificate of the answer does not fulfil ${clause}: ${message}`);
}

import { isDeepStrictEqual } from 'node:util';
import { identify } from '../../signer/identity/identify.ts';
import { allNames } from '../../signer/identity/subject.ts';
import { minCertificateSeconds, type PodCertificateRequest } from '../../signer/kube/types.ts';
import { spiffe } from '../../signer/signers/spiffe.ts';
import type { Finding } from '../../spiffe/clauses.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { readCsrKey } from '../../spiffe/pki/csr.ts';
import { readSubjectKey, type SubjectKey } from '../../spiffe/pki/spki.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { fromNow, span } from '../output.ts';
import { keyText } from './certificates.ts';
import { givenCertificates, type InspectContext, inspectPem } from './pem.ts';
import { finding, type Inspection, type Section } from './report.ts';

const maxSkewSeconds = 300;
const refreshMarginSeconds = 600;
const terminal = ['Issued', 'Denied', 'Failed'];

/** What the signer of the cluster would name the pod of a request now. */
export type NamedNow =
  | { readonly kind: 'named'; readonly names: readonly string[] }
  /** The signer gives the pod no name. */
  | { readonly kind: 'unnamed'; readonly why: string }
  /** The decision cannot be repeated, for example because the pod is gone. */
  | { readonly kind: 'unknown'; readonly why: string };

/**
 * Inspects a PodCertificateRequest: the pod, what is requested, the result, and whether the answer conforms to KEP-4317.
 *
 * @param named undefined without a cluster to ask.
 */
export function inspectPcr(
  pcr: PodCertificateRequest,
  context: InspectContext,
  named?: NamedNow,
): Inspection {
  const { metadata, spec, status } = pcr;
  const { unverifiedUserAnnotations: annotations } = spec;
  const key = requestKey(pcr);
  const conditions = (status?.conditions ?? []).filter((each) => terminal.includes(each.type));
  const [condition] = conditions;
  const several = conditions.length > 1 && `there are ${conditions.length} terminal conditions`;
  const created = metadata.creationTimestamp ? Date.parse(metadata.creationTimestamp) / 1000 : undefined;
  const request: Section = {
    title: 'Request',
    facts: {
      Name: `${metadata.namespace ?? '?'}/${metadata.name}`,
      Signer: spec.signerName,
      Pod: `${spec.podName} (${spec.podUID})`,
      ServiceAccount: `${spec.serviceAccountName} (${spec.serviceAccountUID})`,
      Node: `${spec.nodeName} (${spec.nodeUID})`,
      Key: key ? keyText(key, 'not supported') : '(none visible in this API version)',
      'Maximum lifetime': span(spec.maxExpirationSeconds ?? 86_400),
      ...(annotations && { Annotations: Object.keys(annotations).join(', ') }),
      ...(created !== undefined && { Created: `${rfc3339(created)} (${fromNow(created, context.now)})` }),
    },
    findings: [],
  };
  const answer: Section = {
    title: 'Answer',
    facts: condition
      ? {
          State: condition.type,
          Reason: condition.reason,
          ...(condition.message && { Message: condition.message }),
          At: condition.lastTransitionTime,
        }
      : { State: 'Pending: no signer has answered yet' },
    findings: [finding('must', 'KEP-4317', 'there is at most one terminal condition', several)],
  };
  if (condition?.type !== 'Issued') {
    const result = condition
      ? `${condition.type}: there is no certificate to check`
      : `not answered yet: there is no certificate to check; \`kubectl describe pod -n ${metadata.namespace ?? 'default'} ` +
        `${spec.podName}\` shows what it waits for`;
    return { kind: 'PodCertificateRequest', sections: [request, answer], result };
  }

  const pem = status?.certificateChain ?? '';
  const [leaf] = pem === '' ? [] : givenCertificates(pem);
  const chain = pem === '' ? [] : inspectPem(pem, context).sections;
  const readable = leaf && 'spki' in leaf ? leaf : undefined;
  const answered = readable
    ? [...issuedFindings(pcr, readable, key), ...nameFindings(pcr, readable, named)]
    : [];
  const issued = leaf ? answered : [noChain];
  const facts = {
    ...answer.facts,
    'Refresh from': refreshText(status?.beginRefreshAt, context.now),
    ...(readable && nameFacts(pcr, readable, named)),
  };
  const sections = [request, { ...answer, facts, findings: [...answer.findings, ...issued] }, ...chain];
  return { kind: 'PodCertificateRequest', sections };
}

const noChain = finding('must', 'KEP-4317', 'there is a certificate chain', 'there is no certificate chain');

function issuedFindings(
  pcr: PodCertificateRequest,
  leaf: CertificateFacts,
  key: SubjectKey | undefined,
): Finding[] {
  const { spec, status } = pcr;
  const time = (text: string | undefined) => (text === undefined ? Number.NaN : Date.parse(text) / 1000);
  const refresh = time(status?.beginRefreshAt);
  const lifetime = leaf.notAfter - leaf.notBefore;
  const longest = spec.maxExpirationSeconds ?? 86_400;
  const answered = time(status?.conditions?.find((each) => each.type === 'Issued')?.lastTransitionTime);
  const sameTimes = time(status?.notBefore) === leaf.notBefore && time(status?.notAfter) === leaf.notAfter;
  const sameKey = key?.kind === 'supported' && Buffer.from(key.spki).equals(leaf.spki);
  const inBounds =
    refresh >= leaf.notBefore + refreshMarginSeconds && refresh <= leaf.notAfter - refreshMarginSeconds;
  const check = (demand: string, ok: boolean, problem: string) =>
    finding('must', 'KEP-4317', demand, !ok && problem);
  return [
    check('the times of the status are those of the leaf', sameTimes, 'the times differ from the leaf'),
    check('the leaf has the requested key', sameKey, 'the leaf has another key'),
    check(
      'the lifetime is at least one hour and at most what was requested',
      lifetime >= minCertificateSeconds && lifetime <= longest,
      `the lifetime is ${span(lifetime)}; allowed are ${span(minCertificateSeconds)} to ${span(longest)}`,
    ),
    check(
      'notBefore is within 5 min of the answer',
      !(Math.abs(answered - leaf.notBefore) > maxSkewSeconds),
      `notBefore is ${span(Math.abs(answered - leaf.notBefore))} away from the answer`,
    ),
    check(
      'beginRefreshAt is at least 10 min after notBefore and 10 min before notAfter',
      inBounds,
      'beginRefreshAt is not between notBefore + 10 min and notAfter - 10 min',
    ),
  ];
}

/** The certificate is compared with the decision that the signer would make now: a name may have changed since. */
function nameFindings(
  { metadata, spec }: PodCertificateRequest,
  leaf: CertificateFacts,
  named: NamedNow | undefined,
): Finding[] {
  if (!named || named.kind === 'unknown') return [];
  const demand = 'the names are those that the signer would give the pod now';
  const now = named.kind === 'named' ? named.names : [];
  const isSame = isDeepStrictEqual(allNames(leaf).toSorted(), now.toSorted());
  const instead = named.kind === 'named' ? `now: ${now.join(', ')}` : `no name now: ${named.why}`;
  const problem =
    `the signer would give the pod ${instead}. A certificate changes at its next refresh; ` +
    `\`kubespiffe explain pod ${metadata.namespace ?? ''}/${spec.podName}\` shows the decision`;
  return [finding('should', spec.signerName, demand, !isSame && problem)];
}

function nameFacts(
  { metadata, spec }: PodCertificateRequest,
  leaf: CertificateFacts,
  named: NamedNow | undefined,
): Section['facts'] {
  if (named?.kind === 'unknown')
    return { Names: `not compared with the decision of the signer: ${named.why}` };
  const id = parseSpiffeId(leaf.uris[0] ?? '');
  if (named || spec.signerName !== spiffe.signerName || !id.ok) return {};
  const byDefault = identify({ ...spec, namespace: metadata.namespace ?? '' }, id.value);
  const names = byDefault.ok ? allNames(byDefault.subject) : [];
  if (isDeepStrictEqual(allNames(leaf), names)) return {};
  return { 'Default name': `${names.join(', ')}; a registration can give another one` };
}

function requestKey({ spec }: PodCertificateRequest): SubjectKey | undefined {
  if (spec.stubPKCS10Request) return readCsrKey(Buffer.from(spec.stubPKCS10Request, 'base64'));
  return spec.pkixPublicKey ? readSubjectKey(Buffer.from(spec.pkixPublicKey, 'base64')) : undefined;
}

function refreshText(at: string | undefined, now: number): string {
  return at === undefined ? '(not set)' : `${at} (${fromNow(Date.parse(at) / 1000, now)})`;
}

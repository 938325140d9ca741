import { identify } from '../../signer/identity/identify.ts';
import { spiffeIdIn } from '../../signer/identity/subject.ts';
import { minCertificateSeconds, type PodCertificateRequest } from '../../signer/kube/types.ts';
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

/** A PodCertificateRequest: who asks for what, what became of it, and whether the answer keeps the rules (KEP-4317). */
export function inspectPcr(pcr: PodCertificateRequest, context: InspectContext): Inspection {
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
      'Longest life': span(spec.maxExpirationSeconds ?? 86_400),
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
  const answered = leaf && 'spki' in leaf ? issuedFindings(pcr, leaf, key) : [];
  const issued = leaf ? answered : [noChain];
  const facts = { ...answer.facts, 'Refresh from': refreshText(status?.beginRefreshAt, context.now) };
  const sections = [request, { ...answer, facts, findings: [...answer.findings, ...issued] }, ...chain];
  return { kind: 'PodCertificateRequest', sections };
}

const noChain = finding('must', 'KEP-4317', 'there is a certificate chain', 'there is no certificate chain');

function issuedFindings(
  pcr: PodCertificateRequest,
  leaf: CertificateFacts,
  key: SubjectKey | undefined,
): Finding[] {
  const { spec, status, metadata } = pcr;
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
    check('the leaf has the key that was asked for', sameKey, 'the leaf has another key'),
    check(
      'the life is an hour or more, and no more than was asked for',
      lifetime >= minCertificateSeconds && lifetime <= longest,
      `the life is ${span(lifetime)}; allowed are ${span(minCertificateSeconds)} to ${span(longest)}`,
    ),
    check(
      'notBefore is within 5 min of the answer',
      !(Math.abs(answered - leaf.notBefore) > maxSkewSeconds),
      `notBefore is ${span(Math.abs(answered - leaf.notBefore))} away from the answer`,
    ),
    check(
      'the refresh begins 10 min or more after notBefore and before notAfter',
      inBounds,
      'beginRefreshAt is nearer than 10 min to an end of the life',
    ),
    ...(spec.signerName === 'kubespiffe.io/spiffe' ? [identity(leaf, metadata.namespace ?? '', spec)] : []),
  ];
}

/** Our own promise: the ID is made from namespace and ServiceAccount, unless a registration says otherwise. */
function identity(leaf: CertificateFacts, namespace: string, spec: PodCertificateRequest['spec']): Finding {
  const id = parseSpiffeId(leaf.uris[0] ?? '');
  const expected = id.ok ? identify({ ...spec, namespace }, id.value) : undefined;
  const isDefault = id.ok && expected?.ok && spiffeIdIn(expected.subject) === id.value.uri;
  const demand = 'the SPIFFE ID names the namespace and the ServiceAccount of the pod';
  const problem =
    'the SPIFFE ID is not the default one of this namespace and ServiceAccount; ' +
    `\`kubespiffe explain pod ${namespace}/${spec.podName}\` names the registration that gives it`;
  return finding('should', 'kubespiffe.io/spiffe', demand, !isDefault && problem);
}

function requestKey({ spec }: PodCertificateRequest): SubjectKey | undefined {
  if (spec.stubPKCS10Request) return readCsrKey(Buffer.from(spec.stubPKCS10Request, 'base64'));
  return spec.pkixPublicKey ? readSubjectKey(Buffer.from(spec.pkixPublicKey, 'base64')) : undefined;
}

function refreshText(at: string | undefined, now: number): string {
  return at === undefined ? '(not set)' : `${at} (${fromNow(Date.parse(at) / 1000, now)})`;
}

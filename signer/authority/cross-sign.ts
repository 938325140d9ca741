import { createPrivateKey } from 'node:crypto';
import { limitsUris } from '../../spiffe/name-constraints.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { readAuthority } from './authority.ts';
import { type Change, changeOf, fullPool, type Refusal, refusal, withAuthorities } from './change.ts';
import { dnsLimitsOf } from './dns-limits.ts';
import { type AuthorityRecord, isAuthorityId, type PoolDocument } from './document.ts';
import { signCa } from './sign-ca.ts';
import { isPublished } from './states.ts';

/**
 * The pool with one more authority: the key of one root, with a certificate by another root. What it signs is accepted by
 * verifiers with either root, so those in other trust domains need not have the new one first.
 *
 * @param id the new root, which is not active yet. by: the root that every verifier has.
 * @throws as signCa
 */
export async function crossSign(
  document: PoolDocument,
  { id, by, now }: { readonly id: string; readonly by: string; readonly now: Seconds },
): Promise<Change | Refusal> {
  const { authorities, trustDomain } = document;
  const found = [id, by].map((name) => authorities.find((each) => each.id === name && each.kind === 'X509'));
  const [record, issuer] = found;
  if (!record || !issuer || record === issuer) {
    const cas = authorities.filter(({ kind }) => kind === 'X509').map((each) => each.id);
    return refusal(`the pool has no other CA ${found[0] ? by : id}`, `name two of ${cas.join(', ')}`);
  }
  const newId = `${id}-by-${by}`;
  if (!isAuthorityId(newId)) return refusal(`${newId} is too long for an id`, 'give the CAs shorter ids');
  if (authorities.some((each) => each.id === newId))
    return refusal(`there is an authority ${newId} already`, 'use that authority');
  const full = fullPool(document);
  if (full) return full;
  for (const each of [record, issuer]) {
    if (each.tainted) return refusal(`authority ${each.id} is tainted`, 'use a CA that is not tainted');
    if (each.privateKey === undefined)
      return refusal(`authority ${each.id} has no private key in the pool`, 'use a CA with its key');
  }
  if (!isPublished(issuer.state))
    return refusal(`authority ${by} is ${issuer.state}`, 'use a root that every verifier has');
  const [own, other] = [readAuthority(record, id, trustDomain), readAuthority(issuer, by, trustDomain)];
  if (!own.ok) return refusal(own.problem.message, own.problem.remedy);
  if (!other.ok) return refusal(other.problem.message, other.problem.remedy);
  if (own.authority.intermediates.length > 0) {
    return refusal(`authority ${id} is below another CA already`, 'use a root of its own');
  }
  const { root } = own.authority;
  const key = readSubjectKey(root.spki);
  if (key.kind !== 'supported')
    return refusal(`authority ${id} has a key that cannot be signed`, 'use another one');
  const { signing } = other.authority;
  if (signing.pathLen === 0)
    return refusal(
      `authority ${by} has path length 0, so it may sign no CA`,
      'use a CA with a longer path length',
    );
  const limits = dnsLimitsOf(own.authority);
  if (!limits.ok) return refusal(limits.reason, 'use a CA without such name constraints');
  const cross = await signCa(
    { certificate: signing, privateKey: createPrivateKey(issuer.privateKey ?? '') },
    {
      ...{ key, namesake: root, trustDomain, now, notAfter: root.notAfter, pathLength: 0 },
      ...(limitsUris(root) && { onlyTrustDomain: true }),
      ...limits.value,
    },
  );
  const made: AuthorityRecord = {
    ...{ id: newId, kind: 'X509', state: 'prepared', tainted: false, privateKey: record.privateKey ?? '' },
    certificate: issuer.certificate ?? '',
    intermediates: [encodePem('CERTIFICATE', cross.der), ...(issuer.intermediates ?? [])],
    createdAt: rfc3339(now),
  };
  return changeOf(document, withAuthorities(document, [...authorities, made]));
}

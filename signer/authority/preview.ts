import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import type { KeysByRef } from '../keys/remote-keys.ts';
import { readAuthority } from './authority.ts';
import { type Change, changeOf, type Refusal, refusal, withAuthorities } from './change.ts';
import type { AuthorityRecord, PoolDocument } from './document.ts';
import { issueLeaf, leafNotBefore } from './issue-leaf.ts';
import { materialOf, rootOf } from './material.ts';
import { isJwtKind } from './states.ts';
import { keepsRoot } from './transitions.ts';

const generate = promisify(generateKeyPair);

/** How long a test certificate is valid, in seconds from now: enough for a pod to start and to get the bundle. */
export const testCertificateSeconds = 900;
/** Below a path that no registration may use. */
const testPath = '/kubespiffe/preview-test';

interface TestCertificate {
  readonly ok: true;
  /** PEM, the leaf first, without the root. */
  readonly chainPem: string;
  readonly rootSha256: string;
  readonly trustDomain: string;
}

/**
 * A certificate of an authority in preview, with an ID that no workload has. Its key is thrown away, so it proves nothing but
 * that the preview bundle verifies what the authority signs.
 */
export async function testCertificate(
  document: PoolDocument,
  id: string,
  now: Seconds,
  random: (count: number) => Uint8Array,
  keysByRef?: KeysByRef,
): Promise<TestCertificate | Refusal> {
  const record = previewed(document, id);
  if ('ok' in record) return record;
  const { trustDomain } = document;
  if (trustDomain === undefined) {
    return refusal('the pool has no trust domain', 'test the preview bundle of service-dns by hand');
  }
  const read = readAuthority(record, `authority ${id}`, trustDomain, keysByRef);
  if (!read.ok) return refusal(read.problem.message, 'correct it first');
  const { signingAuthority, root } = read.authority;
  if (!signingAuthority)
    return refusal(`authority ${id} has no private key`, 'use an authority that has its key');
  const { publicKey } = await generate('ec', { namedCurve: 'P-256' });
  const key = readSubjectKey(publicKey.export({ format: 'der', type: 'spki' }));
  if (key.kind !== 'supported') throw new Error('a P-256 key is not supported');
  const { chainPem } = await issueLeaf({
    authority: signingAuthority,
    profile: svidProfile,
    subject: { uris: [`spiffe://${trustDomain}${testPath}`], dnsNames: [] },
    key,
    validity: {
      notBefore: leafNotBefore(now, signingAuthority.notBefore),
      notAfter: Math.min(now + testCertificateSeconds, signingAuthority.notAfter),
    },
    serial: makeSerial(random),
  });
  return { ok: true, chainPem, rootSha256: root.sha256Hex, trustDomain };
}

/**
 * The pool that says that a pod has verified a certificate of an authority by the preview bundle.
 *
 * @param verified the authority as it was when the certificate was made: an id may have been given to another one since.
 */
export function markVerified(
  document: PoolDocument,
  verified: AuthorityRecord,
  now: Seconds,
): Change | Refusal {
  const { id } = verified;
  const record = previewed(document, id);
  if ('ok' in record) return record;
  if (materialOf(record) !== materialOf(verified) || rootOf(record) !== rootOf(verified)) {
    const what = `authority ${id} is not the one whose certificate was verified: it was replaced meanwhile`;
    return refusal(what, `verify the new one with \`kubespiffe ca verify-preview ${id}\``);
  }
  const authorities = document.authorities.map((each) =>
    each === record ? { ...each, verifiedAt: rfc3339(now) } : each,
  );
  return changeOf(document, withAuthorities(document, authorities));
}

/** The authority of this id, if it is in preview and may sign. */
export function previewed({ authorities }: PoolDocument, id: string): AuthorityRecord | Refusal {
  const record = authorities.find((each) => each.id === id);
  if (record?.state === 'preview' && record.tainted) {
    return refusal(
      `authority ${id} is tainted and never signs`,
      `remove it with \`kubespiffe ca remove ${id}\``,
    );
  }
  if (record?.state === 'preview') return record;
  const remedy = `bring it there with \`kubespiffe ca preview ${id}\``;
  return record
    ? refusal(`authority ${id} is ${record.state}, and not in preview`, remedy)
    : refusal(`there is no authority ${id} in the pool`, '`kubespiffe ca status` lists them');
}

/** Why a root is not to be in the live bundles yet where the setting caPreviewVerified is set; undefined for nothing. */
export function lacksVerification(document: PoolDocument, id: string): Refusal | undefined {
  const record = document.authorities.find((each) => each.id === id);
  if (!record || isJwtKind(record.kind) || record.verifiedAt !== undefined) return undefined;
  if (keepsRoot(record, document)) return undefined;
  const preview =
    record.state === 'preview' ? '' : `publish it with \`kubespiffe ca preview ${id}\` there, then `;
  return refusal(
    `no pod has verified authority ${id} by the preview bundle, as the setting caPreviewVerified demands`,
    `${preview}run \`kubespiffe ca verify-preview ${id}\`; or publish it without that, with \`kubespiffe ca trust ${id} --force\``,
  );
}

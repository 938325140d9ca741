import { generateKeyPair, randomBytes, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { issueLeaf } from '../signer/authority/issue-leaf.ts';
import { KubespiffeError } from '../spiffe/errors.ts';
import { leafExtensions } from '../spiffe/pki/leaf-extensions.ts';
import { encodePem } from '../spiffe/pki/pem.ts';
import { makeSerial } from '../spiffe/pki/serial.ts';
import { readSubjectKey } from '../spiffe/pki/spki.ts';
import type { Seconds } from '../spiffe/pki/time.ts';
import { svidProfile } from '../spiffe/svid-profile.ts';
import type { Authorities } from './authorities.ts';
import type { Workload } from './workload.ts';

export interface Certificate {
  /** Key and chain, PEM. */
  readonly credentialsPem: string;
  readonly notAfter: Seconds;
  /** From then on it is replaced. */
  readonly renewAt: Seconds;
}

const makeKeys = promisify(generateKeyPair);
const node = { nodeName: 'localhost', nodeUID: randomUUID() };
/** The token endpoint takes certificates that name their pod. */
const profile = {
  ...svidProfile,
  extensionsFor: leafExtensions({ podIdentity: true, issuer: undefined }),
};

/**
 * Makes a key and a certificate, to be renewed after half of its lifetime. It is backdated by a tenth of that: the clocks
 * of containers and virtual machines may differ a little. `now` is seconds since the epoch.
 */
export async function issueCertificate(
  { namespace, serviceAccount, pod, subject }: Workload,
  authorities: Authorities,
  lifetimeSeconds: number,
  now: Seconds,
): Promise<Certificate> {
  const signable = authorities.signable(now);
  if (!signable.ok) throw new KubespiffeError('POOL_INVALID', signable.problem.message);
  const { publicKey, privateKey } = await makeKeys('ec', { namedCurve: 'P-256' });
  const key = readSubjectKey(publicKey.export({ type: 'spki', format: 'der' }));
  if (key.kind !== 'supported') throw new Error('a new P-256 key is not supported');
  const notAfter = now + lifetimeSeconds;
  const { chainPem } = await issueLeaf({
    authority: signable.authority.signingAuthority,
    profile,
    subject,
    pod: {
      ...{ namespace, serviceAccountName: serviceAccount.name, serviceAccountUID: serviceAccount.uid },
      ...{ podName: pod.name, podUID: pod.uid, ...node },
    },
    key,
    validity: { notBefore: now - Math.ceil(lifetimeSeconds / 10), notAfter },
    serial: makeSerial(randomBytes),
  });
  const keyPem = encodePem('PRIVATE KEY', privateKey.export({ type: 'pkcs8', format: 'der' }));
  return { credentialsPem: keyPem + chainPem, notAfter, renewAt: now + Math.floor(lifetimeSeconds / 2) };
}

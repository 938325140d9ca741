import { generateKeyPair, randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { issueLeaf } from '../signer/authority/issue-leaf.ts';
import { identify } from '../signer/identity/identify.ts';
import { type Subject, spiffeIdIn } from '../signer/identity/subject.ts';
import { rootsPem } from '../signer/trust/published-documents.ts';
import { KubespiffeError } from '../spiffe/errors.ts';
import { leafExtensions } from '../spiffe/pki/leaf-extensions.ts';
import { encodePem } from '../spiffe/pki/pem.ts';
import { makeSerial } from '../spiffe/pki/serial.ts';
import { readSubjectKey } from '../spiffe/pki/spki.ts';
import type { Seconds } from '../spiffe/pki/time.ts';
import { svidProfile } from '../spiffe/svid-profile.ts';
import type { Authorities } from './authorities.ts';
import { writeVolume } from './volume.ts';

/** A workload as the cluster would have it: a pod of a ServiceAccount. */
export interface Workload {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod: { readonly name: string; readonly uid: string };
  readonly subject: Subject;
  readonly spiffeId: string;
  /** Where `credentials.pem` and `roots.pem` are. */
  readonly folder: string;
}

/** What the folder of a workload holds now. */
export interface Delivered {
  readonly credentialsPem: string;
  readonly notAfter: Seconds;
  /** From then on another certificate is made; Infinity where none is to be. */
  readonly renewAt: Seconds;
}

const makeKeys = promisify(generateKeyPair);
const node = { name: 'localhost', uid: randomUUID() };
const profile = {
  ...svidProfile,
  extensionsFor: leafExtensions({ podIdentity: true, issuer: undefined }),
};

/** @throws KubespiffeError SPIFFE_ID_INVALID */
export function newWorkload(
  name: { readonly namespace: string; readonly name: string },
  { trustDomain, folder }: { readonly trustDomain: string; readonly folder: string },
): Workload {
  const { namespace, name: serviceAccountName } = name;
  const identity = identify({ namespace, serviceAccountName }, { trustDomain });
  if (!identity.ok) throw new KubespiffeError('SPIFFE_ID_INVALID', identity.detail);
  return {
    namespace,
    serviceAccount: { name: serviceAccountName, uid: randomUUID() },
    pod: { name: serviceAccountName, uid: randomUUID() },
    subject: identity.subject,
    spiffeId: spiffeIdIn(identity.subject) ?? '',
    folder: join(folder, namespace, serviceAccountName),
  };
}

/**
 * Makes a key and a certificate, which begins to be valid a tenth of its life ago and is renewed after the half of what
 * is left. `now` is seconds since the epoch.
 */
export async function issue(
  { namespace, serviceAccount, pod, subject }: Workload,
  authorities: Authorities,
  lifetimeSeconds: number,
  now: Seconds,
): Promise<Delivered> {
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
      namespace,
      serviceAccountName: serviceAccount.name,
      serviceAccountUID: serviceAccount.uid,
      podName: pod.name,
      podUID: pod.uid,
      nodeName: node.name,
      nodeUID: node.uid,
    },
    key,
    validity: { notBefore: now - Math.ceil(lifetimeSeconds / 10), notAfter },
    serial: makeSerial(randomBytes),
  });
  const keyPem = encodePem('PRIVATE KEY', privateKey.export({ type: 'pkcs8', format: 'der' }));
  return { credentialsPem: keyPem + chainPem, notAfter, renewAt: now + Math.floor(lifetimeSeconds / 2) };
}

/** Writes certificate and roots into the folder of a workload, both at once. */
export async function deliver(
  { folder }: Workload,
  { credentialsPem }: Delivered,
  authorities: Authorities,
): Promise<void> {
  const roots = rootsPem(authorities.current())?.bytes.toString() ?? '';
  await writeVolume(folder, { 'credentials.pem': credentialsPem, 'roots.pem': roots });
}

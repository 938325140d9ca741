import { generateKeyPairSync } from 'node:crypto';
import type { OpenRequest } from '../../signer/issuance/request.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { readSubjectKey, type SupportedKey } from '../../spiffe/pki/spki.ts';

/** A request as kubelet makes it, with what a test wants to be different. */
export function anOpenRequest(different: Partial<OpenRequest> = {}): OpenRequest {
  return {
    uid: 'request-uid',
    namespace: 'shop',
    name: 'req-1',
    answered: undefined,
    signerName: 'kubespiffe.io/spiffe',
    podName: 'web-0',
    podUID: 'pod-uid',
    serviceAccountName: 'web',
    serviceAccountUID: 'service-account-uid',
    nodeName: 'node-1',
    nodeUID: 'node-uid',
    maxExpirationSeconds: 86_400,
    key: { form: 'none' },
    annotations: {},
    annotationProblem: undefined,
    createdAtMs: 0,
    version: 'v1',
    ...different,
  };
}

/** The pod of that request. */
export function aPod(different: Partial<PodFacts> = {}): PodFacts {
  return { uid: 'pod-uid', nodeName: 'node-1', serviceAccountName: 'web', finished: undefined, ...different };
}

/** A P-256 public key, made anew in each process. */
export const aSupportedKey: SupportedKey = supportedKey();

function supportedKey(): SupportedKey {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = readSubjectKey(publicKey.export({ type: 'spki', format: 'der' }));
  if (key.kind !== 'supported') throw new Error('a P-256 key must be supported');
  return key;
}

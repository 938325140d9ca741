import 'reflect-metadata';
import { generateKeyPairSync, randomUUID, sign, webcrypto } from 'node:crypto';
import { type Pkcs10CertificateRequestCreateParams, Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import type { Pod, PodCertificateRequest, PodCertificateRequestStatus } from '../../signer/kube/types.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { asNode } from '../cluster/admin.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { usualTimeoutMs, waitFor } from '../cluster/process.ts';
import { policyInForce } from './admission-policy.ts';

export const signerName = 'kubespiffe.io/spiffe';
const p256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Creates an object as administrator and returns it as the server stored it. */
export async function create<T>(
  controlPlane: ControlPlane,
  path: string,
  object: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<T> {
  const answer = await controlPlane.request('POST', path, object, { headers });
  if (answer.status !== 201) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body as T;
}

export interface PodWishes {
  namespace?: string;
  name?: string;
  serviceAccountName?: string;
  /** Empty: not scheduled. */
  nodeName?: string;
  finalizers?: string[];
  labels?: Readonly<Record<string, string>>;
  hostname?: string;
  subdomain?: string;
  readonly ownerReferences?: readonly object[];
}

/** A pod as an API object, bound to a node that runs nothing: enough for a signer, which only reads it. */
export async function createPod(controlPlane: ControlPlane, wishes: PodWishes = {}): Promise<Pod> {
  const namespace = wishes.namespace ?? 'default';
  return create<Pod>(controlPlane, `/api/v1/namespaces/${namespace}/pods`, {
    metadata: {
      name: wishes.name ?? `pod-${randomUUID().slice(0, 8)}`,
      namespace,
      ...(wishes.finalizers && { finalizers: wishes.finalizers }),
      ...(wishes.labels && { labels: wishes.labels }),
      ...(wishes.ownerReferences && { ownerReferences: wishes.ownerReferences }),
    },
    spec: {
      serviceAccountName: wishes.serviceAccountName ?? 'default',
      ...(wishes.nodeName !== '' && { nodeName: wishes.nodeName ?? 'node-1' }),
      ...(wishes.hostname && { hostname: wishes.hostname }),
      ...(wishes.subdomain && { subdomain: wishes.subdomain }),
      containers: [{ name: 'app', image: 'none' }],
      automountServiceAccountToken: false,
    },
  });
}

/** The pod that a signer with this `--replica` is, in the namespace of manifests/base, which demands what is restricted. */
export async function createSignerPod(controlPlane: ControlPlane, name = 'signer-a'): Promise<Pod> {
  const securityContext = {
    ...{ runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    seccompProfile: { type: 'RuntimeDefault' },
  };
  const containers = [{ name: 'signer', image: 'none', securityContext }];
  return create<Pod>(controlPlane, '/api/v1/namespaces/kubespiffe/pods', {
    metadata: { name },
    spec: { containers, nodeName: 'node-1', automountServiceAccountToken: false },
  });
}

/** Base64 of a PKCS#10 request for a new P-256 key, with the contents that a test wants. */
export async function newRequestKey(
  contents: Partial<Pkcs10CertificateRequestCreateParams> = {},
): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(p256, true, ['sign', 'verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: p256,
    ...contents,
  });
  return Buffer.from(request.rawData).toString('base64');
}

/** Private key and chain as kubelet has them in the pod, PEM: the signer answers a request for it. */
export async function issuedTo(
  controlPlane: ControlPlane,
  pod: Pod,
): Promise<{ readonly key: string; readonly cert: string }> {
  const keys = await webcrypto.subtle.generateKey(p256, true, ['sign', 'verify']);
  const stubPKCS10Request = await newRequestKey({ keys });
  const status = await answerTo(controlPlane, await requestFor(controlPlane, pod, { stubPKCS10Request }));
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { key: encodePem('PRIVATE KEY', pkcs8), cert: status.certificateChain ?? '' };
}

/** A PodCertificateRequest for a pod as kubelet would make it, with what a test wants to be different. */
export async function requestFor(
  controlPlane: ControlPlane,
  pod: Pod,
  different: Partial<PodCertificateRequest['spec']> = {},
  name?: string,
): Promise<PodCertificateRequest> {
  const namespace = pod.metadata.namespace ?? 'default';
  await policyInForce(controlPlane);
  const path = `/apis/certificates.k8s.io/v1/namespaces/${namespace}/podcertificaterequests`;
  const request = {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'PodCertificateRequest',
    metadata: { ...(name === undefined ? { generateName: 'req-' } : { name }), namespace },
    spec: {
      signerName,
      podName: pod.metadata.name,
      podUID: pod.metadata.uid,
      serviceAccountName: pod.spec?.serviceAccountName,
      serviceAccountUID: randomUUID(),
      nodeName: pod.spec?.nodeName ?? 'node-1',
      nodeUID: randomUUID(),
      stubPKCS10Request: different.stubPKCS10Request ?? (await newRequestKey()),
      ...different,
    },
  };
  return create(controlPlane, path, request, asNode);
}

/**
 * A PodCertificateRequest as kubelet sent it up to 1.35, where v1beta1 is served: the key itself and a proof of
 * possession over the pod's UID.
 */
export async function requestOfOldKubelet(
  controlPlane: ControlPlane,
  pod: Pod,
): Promise<PodCertificateRequest> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const podUID = pod.metadata.uid ?? '';
  await policyInForce(controlPlane);
  const path = '/apis/certificates.k8s.io/v1beta1/namespaces/default/podcertificaterequests';
  const request = {
    apiVersion: 'certificates.k8s.io/v1beta1',
    kind: 'PodCertificateRequest',
    metadata: { generateName: 'req-', namespace: 'default' },
    spec: {
      signerName,
      podName: pod.metadata.name,
      podUID,
      serviceAccountName: 'default',
      serviceAccountUID: randomUUID(),
      nodeName: 'node-1',
      nodeUID: randomUUID(),
      pkixPublicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
      proofOfPossession: sign('sha256', Buffer.from(podUID), privateKey).toString('base64'),
    },
  };
  return create(controlPlane, path, request, asNode);
}

/** The request as the server has it now. */
export async function read(
  controlPlane: ControlPlane,
  request: PodCertificateRequest,
): Promise<PodCertificateRequest> {
  const { namespace, name } = request.metadata;
  const path = `/apis/certificates.k8s.io/v1/namespaces/${namespace}/podcertificaterequests/${name}`;
  const answer = await controlPlane.request('GET', path);
  if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status}`);
  return answer.body as PodCertificateRequest;
}

/** Waits for the answer to a request. */
export async function answerTo(
  controlPlane: ControlPlane,
  request: PodCertificateRequest,
  timeoutMs = usualTimeoutMs,
): Promise<PodCertificateRequestStatus> {
  return waitFor(
    `an answer to ${request.metadata.name}`,
    async () => {
      const { status } = await read(controlPlane, request);
      return status?.conditions?.length ? status : undefined;
    },
    { timeoutMs },
  );
}

import type { Pod } from '../../signer/kube/types.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { create, newRequestKey } from '../contract/workloads.ts';
import { asCertificate, type Speaker } from './speaker.ts';

/** What a request says about a pod. */
export interface RequestFacts {
  signerName: string;
  podName: string;
  podUID: string;
  serviceAccountName: string;
  serviceAccountUID: string;
  nodeName: string;
  nodeUID: string;
}

export interface TestNode {
  /** Speaks with the identity of the node's kubelet. */
  speak: Speaker;
  /** A pod of this node that mounts a certificate of the signer, as a kubelet would describe it. */
  newPod(name: string, signerName?: string): Promise<RequestFacts>;
}

/** A node as the API knows it: its object, and an identity that the Node authorizer and NodeRestriction know. */
export async function joinNode(controlPlane: ControlPlane, name: string): Promise<TestNode> {
  const node = await create<{ metadata: { uid: string } }>(controlPlane, '/api/v1/nodes', {
    metadata: { name },
  });
  const identity = { commonName: `system:node:${name}`, organization: 'system:nodes' };
  const accountPath = '/api/v1/namespaces/default/serviceaccounts/default';
  const account = (await controlPlane.request('GET', accountPath)).body as { metadata: { uid: string } };
  return {
    speak: asCertificate(controlPlane, await controlPlane.authority.issue(identity)),
    async newPod(podName, signerName = 'kubespiffe.io/spiffe') {
      const podCertificate = { signerName, keyType: 'ECDSAP256', credentialBundlePath: 'credentials.pem' };
      const pod = await create<Pod>(controlPlane, '/api/v1/namespaces/default/pods', {
        metadata: { name: podName },
        spec: {
          nodeName: name,
          serviceAccountName: 'default',
          containers: [{ name: 'main', image: 'none' }],
          volumes: [{ name: 'spiffe', projected: { sources: [{ podCertificate }] } }],
        },
      });
      return {
        signerName,
        podName,
        podUID: pod.metadata.uid ?? '',
        serviceAccountName: 'default',
        serviceAccountUID: account.metadata.uid,
        nodeName: name,
        nodeUID: node.metadata.uid,
      };
    },
  };
}

/** A PodCertificateRequest in one of the served versions, with a new key. */
export async function certificateRequest(facts: RequestFacts, version: 'v1' | 'v1beta1' = 'v1') {
  return {
    apiVersion: `certificates.k8s.io/${version}`,
    kind: 'PodCertificateRequest',
    metadata: { generateName: 'req-', namespace: 'default' },
    spec: { ...facts, stubPKCS10Request: await newRequestKey() },
  };
}

/** Where the requests of the namespace default are, in one of the served versions. */
export const requestsPath = (version: 'v1' | 'v1beta1' = 'v1') =>
  `/apis/certificates.k8s.io/${version}/namespaces/default/podcertificaterequests`;

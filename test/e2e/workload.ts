import type { PodName } from '../cluster/node.ts';
import { toolsPod, waitForPod } from '../cluster/pods.ts';
import { type Installation, trustDomain } from './installation.ts';

export const keyTypes = ['RSA3072', 'RSA4096', 'ECDSAP256', 'ECDSAP384', 'ECDSAP521', 'ED25519'] as const;
export type KeyType = (typeof keyTypes)[number];

/** The roots of the trust domain, as a signer publishes them. */
const rootsSource = (signerName: string) => ({
  clusterTrustBundle: {
    signerName,
    labelSelector: {
      matchLabels: {
        'k8s.spiffe.io/canarying': 'live',
        'k8s.spiffe.io/peer-trust-domain': trustDomain,
      },
    },
    path: 'roots.pem',
  },
});

/** What a pod holds: credential bundles by key type, the projected roots (PEM), and its token. */
export interface Held {
  credentials: Record<string, string>;
  roots: string;
  token: string;
}

export interface WorkloadName extends PodName {
  readonly serviceAccount: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** The signer for SPIFFE if absent. */
  readonly signerName?: string;
}

/**
 * Starts a pod with one certificate for each key type, the roots and a token, all in one volume as
 * manifests/examples/pod.yaml has it, and waits until it runs.
 */
export async function startWorkload(
  { controlPlane }: Pick<Installation, 'controlPlane'>,
  pod: WorkloadName,
  types: readonly KeyType[] = ['ECDSAP256'],
): Promise<void> {
  const { namespace, name, labels, signerName = 'kubespiffe.io/spiffe' } = pod;
  const sources = [
    ...types.map((keyType) => ({
      podCertificate: {
        signerName,
        keyType,
        maxExpirationSeconds: 3600,
        credentialBundlePath: `${keyType}.pem`,
      },
    })),
    rootsSource(signerName),
    { serviceAccountToken: { audience: trustDomain, expirationSeconds: 3600, path: 'token' } },
  ];
  const object = toolsPod(
    { namespace, name, ...(labels && { labels }) },
    {
      serviceAccountName: pod.serviceAccount,
      volumes: [{ name: 'spiffe', projected: { defaultMode: 0o400, sources } }],
      volumeMounts: [{ name: 'spiffe', mountPath: '/run/spiffe', readOnly: true }],
    },
  );
  const answer = await controlPlane.request('POST', `/api/v1/namespaces/${namespace}/pods`, object);
  if (answer.status !== 201) throw new Error(`pod ${namespace}/${name}: ${JSON.stringify(answer.body)}`);
  await waitForPod(controlPlane, pod);
}

/** Reads the files inside the pod, as its program would. */
export async function readHeld(
  { node }: Pick<Installation, 'node'>,
  pod: PodName,
  types: readonly KeyType[] = ['ECDSAP256'],
): Promise<Held> {
  const read = (file: string) => node.exec(pod, ['cat', `/run/spiffe/${file}`]);
  const credentials: Record<string, string> = {};
  for (const type of types) credentials[type] = await read(`${type}.pem`);
  return { credentials, roots: await read('roots.pem'), token: await read('token') };
}

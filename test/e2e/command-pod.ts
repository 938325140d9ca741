import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { toolsImage } from '../cluster/image.ts';
import type { PodName } from '../cluster/node.ts';
import { waitFor } from '../cluster/process.ts';
import { type Installation, trustDomain } from './installation.ts';

/** The Service of manifests/token-endpoint. */
const host = 'kubespiffe-tokens.kubespiffe.svc';
export const endpointId = `spiffe://${trustDomain}/kubespiffe/token-endpoint`;
const roots = '/run/spiffe/roots.pem';
const credentials = '/run/spiffe/credentials.pem';

/** Arguments with which a pod gets a JWT-SVID for an audience. */
export function fetchToken(audience: string): string[] {
  return [
    ...['token', '/run/spiffe/token', '--endpoint', `https://${host}/token`],
    ...['--roots', roots, '--audience', audience],
  ];
}

/** The same with the certificate of the pod in place of a token. */
export function fetchTokenByCertificate(audience: string): string[] {
  return [
    ...['token', '--certificate', credentials, '--endpoint', `https://${host}/jwt-svid`],
    ...['--roots', roots, '--audience', audience],
  ];
}

/** Arguments with which a pod gets a certificate, for a token of the audience for that. */
export const fetchCertificate: readonly string[] = [
  ...['token', '/run/spiffe/token', '--endpoint', `https://${host}/x509-svid`],
  ...['--roots', roots, '--x509', '/run/svid', '-o', 'json'],
];
export const certificateAudience = `spiffe://${trustDomain}/kubespiffe/x509-svid`;

/**
 * Arguments with which a pod gets what verifies them. The endpoint's own SVID makes it an https_spiffe endpoint of
 * SPIFFE Federation 5.2.2.
 */
export const fetchBundle: readonly string[] = [
  ...['bundle', 'fetch', `https://${host}/bundle`, '--trust-domain', trustDomain],
  ...['--profile', 'https_spiffe', '--endpoint-id', endpointId, '--endpoint-bundle', roots],
];

export interface CommandPod extends PodName {
  readonly serviceAccount: string;
  readonly args: readonly string[];
  /** The audience of the projected ServiceAccount token; by default that of the endpoint. */
  readonly tokenAudience?: string;
  /** With the roots from the ConfigMap of its namespace, and not from the ClusterTrustBundle. */
  readonly hasRootsConfigMap?: boolean;
  /** With a certificate of the signer, and without a token. */
  readonly hasCertificate?: boolean;
}

/** A pod that runs `kubespiffe` of our image once, with what is projected into it; resolves when it has ended. */
export async function runCommandPod(
  { controlPlane }: Pick<Installation, 'controlPlane'>,
  pod: CommandPod,
): Promise<{ succeeded: boolean; output: string }> {
  return runPod(controlPlane, podOf(pod));
}

/** A pod of manifests/examples as it stands there. */
export async function runExamplePod(
  { controlPlane }: Pick<Installation, 'controlPlane'>,
  file: string,
): Promise<{ succeeded: boolean; output: string }> {
  return runPod(controlPlane, await readExample(file));
}

/** The object in a file of manifests/examples. */
export async function readExample(file: string) {
  return parse(await readFile(join(import.meta.dirname, '../../manifests/examples', file), 'utf8'));
}

/** Waits until the Service leads to a signer: kube-proxy learns a moment after the Deployment that its pods are ready. */
export async function endpointReached({ controlPlane }: Pick<Installation, 'controlPlane'>): Promise<void> {
  await runPod(controlPlane, {
    metadata: { namespace: 'default', name: 'waits-for-endpoint' },
    spec: {
      restartPolicy: 'Never',
      containers: [
        {
          name: 'main',
          image: toolsImage,
          imagePullPolicy: 'Never',
          command: ['sh', '-c', `until nc ${host} 443 </dev/null; do sleep 0.2; done`],
        },
      ],
    },
  });
}

async function runPod(
  controlPlane: ControlPlane,
  pod: { metadata: { namespace: string; name: string }; spec: object },
): Promise<{ succeeded: boolean; output: string }> {
  const { namespace, name } = pod.metadata;
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const created = await controlPlane.request('POST', path, pod);
  if (created.status !== 201) throw new Error(`pod ${namespace}/${name}: ${JSON.stringify(created.body)}`);
  const phase = await waitFor(`the end of pod ${namespace}/${name}`, async () => {
    const { body } = await controlPlane.request('GET', `${path}/${name}`);
    const { status } = body as { status: { phase: string } };
    return ['Succeeded', 'Failed'].includes(status.phase) && status.phase;
  });
  const output = await controlPlane.kubectl(['logs', '--namespace', namespace, name]);
  return { succeeded: phase === 'Succeeded', output };
}

function podOf(pod: CommandPod) {
  const { namespace, name, serviceAccount, args } = pod;
  return {
    metadata: { namespace, name },
    spec: {
      serviceAccountName: serviceAccount,
      automountServiceAccountToken: false,
      restartPolicy: 'Never',
      securityContext: { runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532 },
      containers: [
        {
          name: 'main',
          image: 'kubespiffe.io/kubespiffe:dev',
          imagePullPolicy: 'Never',
          args,
          volumeMounts: [
            { name: 'spiffe', mountPath: '/run/spiffe', readOnly: true },
            { name: 'svid', mountPath: '/run/svid' },
          ],
        },
      ],
      volumes: [
        { name: 'spiffe', projected: { defaultMode: 0o400, sources: sourcesOf(pod) } },
        { name: 'svid', emptyDir: { medium: 'Memory' } },
      ],
    },
  };
}

function sourcesOf(pod: CommandPod): object[] {
  const { tokenAudience: audience = endpointId, hasCertificate = false, hasRootsConfigMap = false } = pod;
  return [
    hasCertificate
      ? {
          podCertificate: {
            signerName: 'kubespiffe.io/spiffe',
            keyType: 'ECDSAP256',
            credentialBundlePath: 'credentials.pem',
          },
        }
      : { serviceAccountToken: { audience, expirationSeconds: 600, path: 'token' } },
    hasRootsConfigMap
      ? { configMap: { name: 'kubespiffe-roots' } }
      : {
          clusterTrustBundle: {
            signerName: 'kubespiffe.io/spiffe',
            labelSelector: { matchLabels: { 'k8s.spiffe.io/canarying': 'live' } },
            path: 'roots.pem',
          },
        },
  ];
}

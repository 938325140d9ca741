import { mkdtemp, readFile, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { ControlPlane } from '../../cluster/control-plane.ts';
import { podLog, waitForPod } from '../../cluster/pods.ts';
import { usualTimeoutMs, waitFor } from '../../cluster/process.ts';
import { blocksBelow, readPage } from '../../docs/markdown.ts';
import { isOneTrustDomain, type Side } from './pair.ts';

const program = join(import.meta.dirname, 'peer.mjs');
export const peer = { namespace: 'shop', name: 'peer' };
const labels = { app: 'peer' };
/** The file in which a workload of one cluster has the roots of the other one. */
export const rootsFile = (own: Side, other: Side) =>
  isOneTrustDomain(own, other) ? 'roots.pem' : 'partner.pem';
export const idOf = (trustDomain: string) => `spiffe://${trustDomain}/ns/shop/sa/peer`;

/** What the workload of a cluster has seen since its first answer of the other one. */
interface Seen {
  readonly answered: number;
  /** Messages of errors. */
  readonly failed: readonly string[];
  /** Common name of the CA that signed the certificate of the other one. */
  readonly peerIssuer: string;
}
export type Report = Readonly<Record<'files' | 'api', Seen>>;

/** Starts the workload of one cluster that talks with that of the other one, at the address of a load balancer there. */
export async function startPeer(own: Side, other: Side): Promise<void> {
  const { controlPlane } = own.installation;
  await own.installation.createNamespace(peer.namespace, ['peer']);
  await own.balance({ namespace: peer.namespace, name: 'peer' }, own.addresses.peer, {
    selector: labels,
    ports: [8443, 8444].map((port) => ({ name: `p${port}`, port })),
  });
  const { status, body } = await controlPlane.request(
    'POST',
    `/api/v1/namespaces/${peer.namespace}/pods`,
    await podOf(own, other),
  );
  if (status !== 201) throw new Error(JSON.stringify(body));
  await waitForPod(controlPlane, peer);
}

async function podOf(own: Side, other: Side) {
  const image = 'kubespiffe.io/kubespiffe:dev';
  const spiffe = { name: 'spiffe', mountPath: '/run/spiffe', readOnly: true };
  const socket = { name: 'workload-api', mountPath: '/run/workload-api' };
  const address = 'unix:///run/workload-api/socket';
  const env = {
    BUNDLES: JSON.stringify({
      [own.trustDomain]: 'roots.pem',
      [other.trustDomain]: rootsFile(own, other),
    }),
    OTHER_ID: idOf(other.trustDomain),
    OTHER_HOST: other.addresses.peer,
  };
  return {
    metadata: { ...peer, labels },
    spec: {
      serviceAccountName: 'peer',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      securityContext: { runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532 },
      initContainers: [
        {
          name: 'workload-api',
          image,
          restartPolicy: 'Always',
          command: ['kubespiffe', 'workload-api', `--socket=${address}`],
          args: [
            '--token-endpoint=https://kubespiffe-tokens.kubespiffe.svc',
            // Kubelet delivers a change of these sooner than the token endpoint is asked again.
            ...(isOneTrustDomain(own, other)
              ? []
              : [`--bundle=${other.trustDomain}=/run/spiffe/partner.pem`]),
          ],
          volumeMounts: [spiffe, socket],
        },
      ],
      containers: [
        {
          name: 'main',
          image,
          command: ['node', '--input-type=module', '--eval', await readFile(program, 'utf8')],
          env: Object.entries(env).map(([name, value]) => ({ name, value })),
          volumeMounts: [spiffe, socket],
        },
      ],
      volumes: [
        { name: 'workload-api', emptyDir: { medium: 'Memory' } },
        {
          name: 'spiffe',
          projected: {
            defaultMode: 0o400,
            sources: [
              {
                podCertificate: {
                  signerName: 'kubespiffe.io/spiffe',
                  keyType: 'ECDSAP256',
                  credentialBundlePath: 'credentials.pem',
                },
              },
              rootsOf(own.trustDomain, own.trustDomain, 'roots.pem'),
              ...(isOneTrustDomain(own, other)
                ? []
                : [rootsOf(own.trustDomain, other.trustDomain, 'partner.pem'), await allPartners(own)]),
            ],
          },
        },
      ],
    },
  };
}

/** The example of the guide, for the trust domain of a cluster. */
async function allPartners({ trustDomain }: Side): Promise<object> {
  const blocks = blocksBelow(
    await readPage('docs/guides/federation.md'),
    'The roots of all partners together',
  );
  const text = blocks.find(({ language }) => language === 'yaml')?.code ?? '';
  const [source] = parse(text.replaceAll('example.org', trustDomain)) as object[];
  if (!source) throw new Error('the guide has no example');
  return source;
}

const rootsOf = (own: string, of: string, path: string) => ({
  clusterTrustBundle: {
    signerName: 'kubespiffe.io/spiffe',
    labelSelector: {
      matchLabels: {
        'k8s.spiffe.io/canarying': 'live',
        'k8s.spiffe.io/workload-trust-domain': own,
        'k8s.spiffe.io/peer-trust-domain': of,
      },
    },
    // Without it, a running pod would keep the roots when the trust is ended.
    optional: own !== of,
    path,
  },
});

/** The newest line of a workload; undefined while there is none. */
async function readReport(controlPlane: ControlPlane): Promise<Report | undefined> {
  const lines = (await podLog(controlPlane, peer, { container: 'main', tailLines: 20 })).split('\n');
  const line = lines.findLast((each) => each.startsWith('{'));
  return line === undefined ? undefined : (JSON.parse(line) as Report);
}

/**
 * Waits until both forms have had so many more answers, and the report is as wanted.
 * @throws Error with what the workload logged, where that does not come.
 */
export async function moreAnswers(
  { installation: { controlPlane } }: Side,
  {
    answers = 10,
    isRight = () => true,
    timeoutMs = usualTimeoutMs,
  }: { answers?: number; isRight?: (report: Report) => boolean; timeoutMs?: number } = {},
): Promise<Report> {
  let first: Report | undefined;
  try {
    return await waitFor(
      'answers of the other cluster',
      async () => {
        const report = await readReport(controlPlane);
        first ??= report;
        if (!report || !first || !isRight(report)) return false;
        return (
          report.files.answered >= first.files.answered + answers &&
          report.api.answered >= first.api.answered + answers &&
          report
        );
      },
      { timeoutMs },
    );
  } catch (error) {
    const where = ['--namespace', peer.namespace, peer.name];
    const log = await controlPlane
      .kubectl(['logs', '--all-containers', '--tail', '20', ...where])
      .catch(String);
    throw new Error(`${(error as Error).message}\n${log}`);
  }
}

/** Where this machine reaches the Workload API of the workload. */
export async function socketOf({ installation: { node } }: Side): Promise<string> {
  // The path of a socket has at most 107 bytes.
  const link = join(await mkdtemp(join(tmpdir(), 'socket-')), 's');
  await symlink(await node.volumePath(peer, 'workload-api', 'socket', 'empty-dir'), link);
  return `unix://${link}`;
}

/** The bundles that the workload gets from the token endpoint of its cluster, by trust domain: JSON. */
export async function bundlesIn({ installation: { node } }: Side): Promise<Record<string, string>> {
  const program = `
    import { readFileSync } from 'node:fs';
    import { get } from 'node:https';
    const ca = readFileSync('/run/spiffe/roots.pem');
    get('https://kubespiffe-tokens.kubespiffe.svc/bundles', { ca }, (response) => response.pipe(process.stdout));`;
  const command = ['node', '--input-type=module', '--eval', program];
  const { trust_domains } = JSON.parse(await node.exec(peer, command, { container: 'main' }));
  return Object.fromEntries(
    Object.entries(trust_domains).map(([trustDomain, bundle]) => [trustDomain, JSON.stringify(bundle)]),
  );
}

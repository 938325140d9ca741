import { Resolver } from 'node:dns/promises';
import { type ClusterLink, linkClusters } from '../../cluster/cluster-link.ts';
import type { PodName } from '../../cluster/node.ts';
import { waitFor } from '../../cluster/process.ts';
import { type ServerCredentials, webCredentials } from '../../contract/bundle-endpoint.ts';
import type { ClusterChoice } from '../clusters.ts';
import { type Installation, install } from '../installation.ts';

const resources = '/apis/kubespiffe.io/v1alpha1/federatedtrustdomains';

/** One of two clusters. */
export interface Side {
  /** Name of the cluster, and of the FederatedTrustDomain for it in the other one. */
  readonly name: string;
  readonly trustDomain: string;
  readonly installation: Installation;
  /** The addresses of load balancers, as the other cluster reaches them. */
  readonly addresses: { readonly bundle: string; readonly moved: string; readonly peer: string };
  /** What its bundle endpoint shows. */
  readonly web: ServerCredentials;
  /** Makes a Service of type LoadBalancer, or changes one, and gives it an address as a cloud does. */
  balance(service: PodName, address: string, spec?: object): Promise<void>;
}

export interface Pair {
  readonly sides: readonly [Side, Side];
  readonly link: ClusterLink;
  /** The two with each other, in both orders. */
  readonly directions: readonly (readonly [own: Side, other: Side])[];
  stop(): Promise<void>;
}

/** The CAs of a cluster: the one that it begins with, and the one that takes its place. */
export const caIds = (name: string) => ({ first: `${name}-1`, next: `${name}-2` });

export const isOneTrustDomain = (own: Side, other: Side) => own.trustDomain === other.trustDomain;

/** The name by which the other cluster knows the bundle endpoint of this one. */
const hostOf = (name: string) => `${name}.partners.svc.cluster.local`;

/**
 * Two clusters whose nodes reach each other, and which serve their bundles to each other.
 *
 * @param trustDomain of both; without it, each has its own one, named after it.
 */
export async function startPair(
  choice: ClusterChoice,
  { trustDomain, report = () => {} }: { trustDomain?: string; report?: (line: string) => void } = {},
): Promise<Pair> {
  const started = await Promise.allSettled(
    ['east', 'west'].map((name) => startSide(name, trustDomain ?? `${name}.example`, choice, report)),
  );
  const sides = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const stop = async () => {
    await Promise.all(sides.map(({ installation }) => installation.stop()));
  };
  const [east, west] = sides;
  if (!east || !west) {
    await stop();
    throw started.find((each) => each.status === 'rejected')?.reason;
  }
  const directions = [
    [east, west],
    [west, east],
  ] as const;
  try {
    const link = await linkClusters(east.installation, west.installation);
    for (const [own, other] of directions) await nameEndpoint(own, other, other.addresses.bundle);
    return { sides: [east, west], link, directions, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startSide(
  name: string,
  trustDomain: string,
  choice: ClusterChoice,
  report: (line: string) => void,
): Promise<Side> {
  const web = await webCredentials({ address: hostOf(name) });
  const installation = await install(choice, {
    components: ['token-endpoint', 'bundle-web', 'federation'],
    settings: [
      'KUBESPIFFE_LEAF_POD_IDENTITY=true',
      'KUBESPIFFE_TOKEN_CLIENT_CERTIFICATES=true',
      'KUBESPIFFE_TOKEN_REFRESH_HINT=1m',
      'KUBESPIFFE_ROOT_PROPAGATION_DELAY=30s',
    ],
    trustDomain,
    caId: caIds(name).first,
    prepare: async ({ controlPlane }) => {
      await controlPlane.request('POST', '/api/v1/namespaces/kubespiffe/secrets', {
        metadata: { name: 'kubespiffe-bundle-web' },
        type: 'kubernetes.io/tls',
        stringData: { 'tls.crt': web.cert, 'tls.key': web.key },
      });
    },
    report: (line) => report(`${name}: ${line}`),
  });
  const { network, request } = installation.controlPlane;
  const [bundle, moved, peer] = [40, 41, 42].map(network.node);
  const side: Side = {
    ...{ name, trustDomain, installation, web },
    addresses: { bundle: bundle ?? '', moved: moved ?? '', peer: peer ?? '' },
    async balance(service, address, spec = {}) {
      const path = `/api/v1/namespaces/${service.namespace}/services`;
      const balanced = { spec: { ...spec, type: 'LoadBalancer', allocateLoadBalancerNodePorts: false } };
      const known = await request('PATCH', `${path}/${service.name}`, balanced);
      if (known.status === 404) {
        await expect(request('POST', path, { metadata: { name: service.name }, ...balanced }), 201);
      }
      await expect(
        request('PATCH', `${path}/${service.name}/status`, {
          status: { loadBalancer: { ingress: [{ ip: address }] } },
        }),
        200,
      );
    },
  };
  await side.balance({ namespace: 'kubespiffe', name: 'kubespiffe-bundle-web' }, side.addresses.bundle);
  await installation.createNamespace('partners');
  return side;
}

/** Lets one cluster know the bundle endpoint of the other by its name, at this address from now on. */
export async function nameEndpoint({ installation }: Side, other: Side, address: string): Promise<void> {
  const { request } = installation.controlPlane;
  const core = '/api/v1/namespaces/partners/services';
  const slices = '/apis/discovery.k8s.io/v1/namespaces/partners/endpointslices';
  const endpoints = [{ addresses: [address] }];
  const known = await request('PATCH', `${slices}/${other.name}`, { endpoints });
  if (known.status === 404) {
    const ports = [{ name: 'https', port: 443 }];
    const service = { metadata: { name: other.name }, spec: { clusterIP: 'None', ports } };
    await expect(request('POST', core, service), 201);
    const labels = { 'kubernetes.io/service-name': other.name };
    const slice = { metadata: { name: other.name, labels }, addressType: 'IPv4', endpoints, ports };
    await expect(request('POST', slices, slice), 201);
  }
  await resolves(installation, other, address);
}

/** CoreDNS answers from its cache for some seconds. */
async function resolves({ controlPlane }: Installation, { name }: Side, address: string): Promise<void> {
  const resolver = new Resolver();
  resolver.setServers([controlPlane.network.host]);
  await waitFor(`${hostOf(name)} to be ${address}`, async () =>
    (await resolver.resolve4(hostOf(name))).includes(address),
  );
}

/** Makes the two clusters trust each other, and waits until each has the bundle of the other one. */
export async function trustEachOther({ directions }: Pair): Promise<void> {
  for (const [own, other] of directions) await trust(own, other);
  for (const [own, other] of directions) {
    // kube-proxy may not have known the endpoint at the first attempt.
    await waitFor(
      `the bundle of ${other.name}`,
      async () => (await refresh(own, other)).reason === 'BundleTaken',
    );
  }
}

async function trust(own: Side, other: Side): Promise<void> {
  const isSelf = isOneTrustDomain(own, other);
  const url = `https://${hostOf(other.name)}/bundle${isSelf ? '/cluster' : ''}`;
  await expect(
    own.installation.controlPlane.request('POST', resources, {
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'FederatedTrustDomain',
      metadata: { name: other.name },
      spec: {
        trustDomain: other.trustDomain,
        ...(isSelf && { peerOf: 'self' }),
        bundleEndpoint: { url, profile: 'https_web', caBundle: other.web.cert },
        refreshHint: { max: '30s' },
      },
    }),
    201,
  );
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** The bundle of the other cluster that one cluster holds (JSON); empty where it holds none. */
export async function heldBundle(own: Side, other: Side): Promise<string> {
  return (await readStatus(own, other))?.bundle ?? '';
}

async function readStatus({ installation }: Side, other: Side) {
  return (await installation.controlPlane.request('GET', `${resources}/${other.name}`)).body.status;
}

/** The status of one cluster about the other, once it is as wanted. */
async function statusOnce<T = Record<string, unknown>>(
  own: Side,
  other: Side,
  isRight: (status: T & { readonly conditions: readonly Condition[] }) => boolean,
): Promise<T> {
  let last: unknown;
  return waitFor(`the status of ${other.name} in ${own.name}`, async () => {
    const status = await readStatus(own, other);
    last = status;
    return status?.conditions && isRight(status) && status;
  }).catch((error) => {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}`);
  });
}

/** Asks for a fetch now, and waits for what comes of it. @returns the reason of the condition Ready, and the held bundle (JSON). */
export async function refresh(own: Side, other: Side): Promise<{ reason: string; bundle: string }> {
  const value = String(performance.now());
  await own.installation.controlPlane.request('PATCH', `${resources}/${other.name}`, {
    metadata: { annotations: { 'kubespiffe.io/refresh': value } },
  });
  const status = await statusOnce<{
    readonly observedRefresh?: string;
    readonly bundle?: string;
    readonly conditions: readonly Condition[];
  }>(own, other, ({ observedRefresh }) => observedRefresh === value);
  const ready = status.conditions.find(({ type }) => type === 'Ready');
  return { reason: ready?.reason ?? '', bundle: status.bundle ?? '' };
}

async function expect(answer: Promise<{ status: number; body: unknown }>, wanted: number): Promise<void> {
  const { status, body } = await answer;
  if (status !== wanted) throw new Error(`${status}: ${JSON.stringify(body)}`);
}

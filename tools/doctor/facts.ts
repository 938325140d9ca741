import type { PoolPlace } from '../../signer/authority/pool-secret.ts';
import type { AdmissionPolicy, AdmissionPolicyBinding } from '../../signer/issuance/admission-policy.ts';
import { admissionPolicyName } from '../../signer/issuance/admission-policy.ts';
import { isPlain404 } from '../../signer/kube/api-error.ts';
import type { InformerSpec } from '../../signer/kube/informer.ts';
import type { Permission } from '../../signer/kube/permissions.ts';
import { clusterTrustBundles } from '../../signer/kube/resources.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { type ClusterTrustBundle, certificatesVersions } from '../../signer/kube/types.ts';
import { getSecret, serverClock } from '../api.ts';
import { allEvents, type EventView } from '../cluster/events.ts';
import { get } from '../cluster/get.ts';
import { createListed } from '../cluster/lists.ts';
import { allLeases } from '../cluster/replicas.ts';
import { requestsWith } from '../cluster/requests.ts';
import { isAllowed } from '../cluster/review.ts';
import { type Deployment, readSignerSettings, type SettingsOptions } from '../cluster/signer-settings.ts';
import type { Terminal } from '../terminal.ts';
import { readMetrics } from './metrics.ts';
import type { NodeView, PodView, RegistrationView } from './views.ts';

/** What the cluster is. */
export type Facts = ReturnType<typeof createFacts>;

const named = { name: true, namespace: true, uid: true, labels: true } as const;
const volumeMounts = { name: true, volumeMounts: true } as const;
const eventReporters = ['kubespiffe.io/signer', 'kubelet'];
const whole = <T>(wire: T): T => wire;

const lists = {
  pods: {
    resource: { group: '', versions: ['v1'], name: 'pods' },
    fields: {
      metadata: { ...named, creationTimestamp: true, deletionTimestamp: true },
      spec: {
        ...{ nodeName: true, volumes: { name: true, projected: { sources: true } } },
        ...{ containers: volumeMounts, initContainers: volumeMounts, ephemeralContainers: volumeMounts },
      },
      status: {
        ...{ phase: true, conditions: { type: true, status: true } },
        containerStatuses: { name: true, state: { waiting: true } },
      },
    },
    project: whole<PodView>,
  },
  nodes: {
    resource: { group: '', versions: ['v1'], name: 'nodes' },
    fields: { metadata: named, status: { nodeInfo: { kubeletVersion: true } } },
    project: whole<NodeView>,
  },
  bundles: {
    resource: clusterTrustBundles,
    fields: { metadata: named, spec: true },
    project: whole<ClusterTrustBundle>,
  },
  events: {
    ...allEvents,
    fieldSelector: 'type=Warning',
    project: (event: EventView) =>
      eventReporters.includes(event.reportingController ?? '') ? event : undefined,
  },
} as const satisfies Record<string, InformerSpec<never, unknown>>;

const registrationKinds = {
  workloadregistrations: 'WorkloadRegistration',
  clusterworkloadregistrations: 'ClusterWorkloadRegistration',
} as const;

/** Everything is read when it is first asked for, and once. All methods throw ApiStatusError. */
export function createFacts(
  api: Transport,
  terminal: Terminal,
  options: SettingsOptions & { overdueSeconds: number },
) {
  const serverNow = serverClock(api);
  const list = <Wire, T, V extends string>(spec: InformerSpec<Wire, T, V>) =>
    once(async () => {
      const listed = createListed(spec);
      await listed.fill(api);
      return [...listed.store.values()];
    });
  const resourcesOf = (groupVersion: string) =>
    once(async () => {
      try {
        const path = `/apis/${groupVersion}`;
        const { body } = await api.request<{ resources?: { name: string }[] }>({ method: 'GET', path });
        return new Set(body.resources?.map(({ name }) => name));
      } catch (error) {
        if (isPlain404(error)) return new Set<string>();
        throw error;
      }
    });
  const certificates = certificatesVersions.map(
    (version) => [version, resourcesOf(`certificates.k8s.io/${version}`)] as const,
  );
  const ours = resourcesOf('kubespiffe.io/v1alpha1');
  const admission = (resource: string) => ({
    ...{ group: 'admissionregistration.k8s.io', version: 'v1', resource, name: admissionPolicyName },
  });

  return {
    /** Epoch seconds, by the clock of the API server. */
    now: () => serverNow() ?? Math.floor(terminal.now() / 1000),
    /** What should happen at once is reported after so many seconds. */
    overdueSeconds: options.overdueSeconds,
    /** Versions of certificates.k8s.io in which a resource is served. */
    async servedIn(resource: string): Promise<readonly string[]> {
      const found = await Promise.all(
        certificates.map(async ([version, names]) => ({ version, names: await names() })),
      );
      return found.flatMap(({ version, names }) => (names.has(resource) ? [version] : []));
    },
    /** Whether the resources of kubespiffe.io/v1alpha1 are served. */
    async hasRegistrations(): Promise<boolean> {
      const names = await ours();
      return Object.keys(registrationKinds).every((name) => names.has(name));
    },
    metrics: once(() => readMetrics(api)),
    policy: once(async () => ({
      policy: await get<AdmissionPolicy>(api, admission('validatingadmissionpolicies')),
      binding: await get<AdmissionPolicyBinding>(api, admission('validatingadmissionpolicybindings')),
    })),
    settings: once(() => readSignerSettings(api, terminal, options)),
    /** The ServiceAccount that the signer runs as. */
    serviceAccount: once(async () => {
      const [namespace = '', name = ''] = options.signerDeployment.split('/');
      const place = { group: 'apps', version: 'v1', resource: 'deployments', namespace, name };
      const deployment = await get<Deployment>(api, place);
      return deployment?.spec.template.spec.serviceAccountName ?? 'default';
    }),
    /** Whether a user has a right. */
    allows(user: string, groups: readonly string[], { grantedBy: _, ...resourceAttributes }: Permission) {
      return isAllowed(api, { user, groups, resourceAttributes });
    },
    secret: ({ namespace, name }: PoolPlace) => getSecret(api, namespace, name),
    pods: list(lists.pods),
    nodes: list(lists.nodes),
    leases: list(allLeases),
    bundles: list(lists.bundles),
    events: list(lists.events),
    requests: list(requestsWith((request) => request)),
    registrations: once(async () => {
      const kinds = Object.entries(registrationKinds).map(([name, kind]) =>
        list({
          resource: { group: 'kubespiffe.io', versions: ['v1alpha1'], name },
          fields: { metadata: named, status: { conditions: true } },
          project: (wire: Omit<RegistrationView, 'kind'>) => ({ ...wire, kind }),
        }),
      );
      return (await Promise.all(kinds.map((read) => read()))).flat();
    }),
  };
}

/** The first call decides for all. */
function once<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => (reading ??= read());
}

import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool } from '../contract/installation.ts';
import { create } from '../contract/workloads.ts';

/** As the SPIRE controller manager has them, with every field that has a counterpart. */
const spireResources = [
  {
    kind: 'ClusterSPIFFEID',
    plural: 'clusterspiffeids',
    spec: {
      spiffeIDTemplate:
        'spiffe://{{ .TrustDomain }}/{{ .ClusterName }}/ns/{{ .PodMeta.Namespace }}/{{ index .PodMeta.Labels "app.kubernetes.io/name" }}',
      podSelector: { matchLabels: { app: 'web' } },
      namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'In', values: ['a', 'b'] }] },
      workloadSelectorTemplates: ['k8s:sa:web', 'k8s:pod-label:app:api', 'k8s:pod-label:tier:front'],
      dnsNameTemplates: ['{{ .PodMeta.Name }}.{{ .PodMeta.Namespace }}.svc.{{ .ClusterDomain }}'],
      ...{ ttl: '10m0s', jwtTtl: '5m0s', federatesWith: ['partner.example'], className: 'blue', hint: 'web' },
      ...{ autoPopulateDNSNames: true, fallback: true, admin: true },
    },
  },
  {
    kind: 'ClusterStaticEntry',
    plural: 'clusterstaticentries',
    spec: {
      ...{ spiffeID: 'spiffe://example.org/billing', parentID: 'spiffe://example.org/spire/agent/x' },
      ...{ selectors: ['k8s:ns:shop', 'k8s:sa:billing'], x509SVIDTTL: '4h0m0s', jwtSVIDTTL: '5m0s' },
      dnsNames: ['billing.example.org'],
    },
  },
  {
    kind: 'ClusterFederatedTrustDomain',
    plural: 'clusterfederatedtrustdomains',
    spec: {
      ...{ trustDomain: 'partner.example', bundleEndpointURL: 'https://partner.example/bundle' },
      bundleEndpointProfile: { type: 'https_web' },
      trustDomainBundle: (await aPool({ trustDomain: 'partner.example' })).authorities[0]?.certificate,
    },
  },
];

/** The custom resources of SPIRE, and an object of each. */
export async function installSpire(controlPlane: ControlPlane): Promise<void> {
  for (const { kind, plural, spec } of spireResources) {
    const names = { kind, plural, singular: kind.toLowerCase() };
    const schema = {
      openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    };
    await create(controlPlane, '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      metadata: { name: `${plural}.spire.spiffe.io` },
      spec: {
        ...{ group: 'spire.spiffe.io', scope: 'Cluster', names },
        versions: [{ name: 'v1alpha1', served: true, storage: true, schema }],
      },
    });
    const path = `/apis/spire.spiffe.io/v1alpha1/${plural}`;
    const object = { apiVersion: 'spire.spiffe.io/v1alpha1', kind, metadata: { name: 'web' }, spec };
    await waitFor(path, async () => (await controlPlane.request('POST', path, object)).status === 201);
  }
}

import { admissionPolicyName } from '../../signer/issuance/admission-policy.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { create, createSignerPod } from '../contract/workloads.ts';
import { certificateRequest, joinNode, requestsPath } from './nodes.ts';
import type { Answer, Speaker } from './speaker.ts';

/** One verb on one resource that the signer is granted, what it is for, and a real call that needs it. */
export interface Check {
  /** `resource verb`, as in the rules. */
  readonly grant: string;
  readonly purpose: string;
  readonly call: (signer: Speaker) => Promise<Answer>;
}

const mergePatch = 'application/merge-patch+json';
const applyPatch = 'application/apply-patch+yaml';
const certificates = '/apis/certificates.k8s.io/v1';
const leases = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases';
const events = '/apis/events.k8s.io/v1/namespaces/default/events';
const pods = '/api/v1/pods';
const secrets = '/api/v1/namespaces/kubespiffe/secrets';
const configMaps = '/api/v1/configmaps?fieldSelector=metadata.name=kubespiffe-roots';
const namespaces = '/api/v1/namespaces';
const services = '/api/v1/services';
const registrations = '/apis/kubespiffe.io/v1alpha1';
const policies = `${registrations}/clusterregistrationpolicies`;
const watch = 'watch=true';
/** Nothing is changed: authorization and validation run as always. */
const dryRun = 'dryRun=All';

export const denial = {
  status: {
    conditions: [
      {
        type: 'Denied',
        status: 'True',
        reason: 'Test',
        message: '',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      },
    ],
  },
};

export const bundle = (
  root: string,
  name = 'kubespiffe.io:spiffe:roots',
  signerName = 'kubespiffe.io/spiffe',
) => ({
  apiVersion: 'certificates.k8s.io/v1',
  kind: 'ClusterTrustBundle',
  metadata: { name },
  spec: { signerName, trustBundle: root },
});

export const rootsConfigMap = (namespace: string, name = 'kubespiffe-roots') => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace },
  data: { 'roots.pem': 'none' },
});

export const registrationPolicy = (name: string) => ({
  apiVersion: 'kubespiffe.io/v1alpha1',
  kind: 'ClusterRegistrationPolicy',
  metadata: { name },
  spec: {},
});

/** Where there is one of each kind, named web. */
const registrationPaths = {
  workloadregistrations: `${registrations}/namespaces/default/workloadregistrations`,
  clusterworkloadregistrations: `${registrations}/clusterworkloadregistrations`,
};

/** In the end there is no policy, so that creating it can be checked. The admission policy needs one. */
async function createRegistrations(controlPlane: ControlPlane): Promise<void> {
  const spec = { serviceAccountNames: ['web'], spiffeIDTemplate: 'spiffe://example.org/ns/default/web' };
  await create(controlPlane, policies, registrationPolicy('default'));
  for (const [resource, path] of Object.entries(registrationPaths)) {
    const kind =
      resource === 'workloadregistrations' ? 'WorkloadRegistration' : 'ClusterWorkloadRegistration';
    const web = { ...registrationPolicy('web'), kind, spec };
    await waitFor(`${kind} to be allowed`, async () => {
      const { status } = await controlPlane.request('POST', path, web);
      return status === 201;
    });
  }
  await controlPlane.request('DELETE', `${policies}/default`);
}

const lease = (name: string) => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name, namespace: 'kubespiffe' },
  spec: { holderIdentity: name },
});

const event = (name: string) => ({
  apiVersion: 'events.k8s.io/v1',
  kind: 'Event',
  metadata: { name, namespace: 'default' },
  eventTime: '2026-01-01T00:00:00.000000Z',
  reportingController: 'kubespiffe.io/signer',
  reportingInstance: 'test',
  action: 'Issue',
  reason: 'Test',
  type: 'Normal',
  note: 'test',
  regarding: { kind: 'Pod', namespace: 'default', name: 'web' },
});

/** The same for a rotation, which the signer may do without: it then shows what is due. */
export const rotationChecks: readonly Check[] = [
  {
    grant: 'secrets update',
    purpose: 'take a step of a rotation',
    call: (signer) =>
      signer('PUT', `${secrets}/kubespiffe-pool?${dryRun}`, { metadata: { name: 'kubespiffe-pool' } }),
  },
];

/** The same for the condition on the signer's own pods. */
export async function conditionChecks(controlPlane: ControlPlane): Promise<Check[]> {
  await createSignerPod(controlPlane);
  const path = `/api/v1/namespaces/kubespiffe/pods/signer-a/status?fieldManager=kubespiffe-rotation&${dryRun}`;
  const conditions = [{ type: 'kubespiffe.io/RotationDue', status: 'False' }];
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'signer-a' }, status: { conditions } };
  return [
    {
      grant: 'pods/status patch',
      purpose: 'show on its own pod that a rotation is due',
      call: (signer) => signer('PATCH', path, pod, applyPatch),
    },
  ];
}

/** The same for the record of a pool. */
export async function recordChecks(controlPlane: ControlPlane, pool: string): Promise<Check[]> {
  const records = '/api/v1/namespaces/kubespiffe/configmaps';
  const at = `${records}/${pool}-signed-until`;
  const record = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `${pool}-signed-until` } };
  const data = { data: { key: '2026-01-01T00:00:00Z' } };
  const isThere = async () => (await controlPlane.request('GET', at)).status === 200;
  const grant = (verb: string, purpose: string, call: Check['call']): Check => ({
    ...{ grant: `configmaps ${verb}`, purpose, call },
  });
  return [
    grant('get', `read the record of ${pool}`, async (signer) => {
      if (!(await isThere())) await create(controlPlane, records, record);
      return signer('GET', at);
    }),
    grant('create', `begin the record of ${pool}`, async (signer) => {
      await controlPlane.request('DELETE', at);
      return signer('PATCH', `${at}?fieldManager=kubespiffe&force=true`, record, applyPatch);
    }),
    grant('patch', `raise the record of ${pool}`, async (signer) => {
      if (!(await isThere())) await create(controlPlane, records, record);
      return signer('PATCH', `${at}?${dryRun}`, data, mergePatch);
    }),
  ];
}

/** The same for what federation is granted besides. */
export async function federationChecks(controlPlane: ControlPlane): Promise<Check[]> {
  const resources = `${registrations}/federatedtrustdomains`;
  const spec = { trustDomain: 'partner.example', bundle: '{}' };
  const metadata = { name: 'partner' };
  await create(controlPlane, resources, {
    ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain', metadata, spec },
  });
  const bundles = `${certificates}/clustertrustbundles`;
  const root = controlPlane.authority.certificate;
  const existing = 'kubespiffe.io:spiffe:peer.gone.example';
  await create(controlPlane, bundles, bundle(root, existing));
  const get = (path: string) => (signer: Speaker) => signer('GET', path);
  const status = { status: { sequence: 1 } };
  const name = 'kubespiffe.io:spiffe:peer.partner.example';
  const publish = (signer: Speaker) =>
    signer(
      'PATCH',
      `${bundles}/${name}?fieldManager=kubespiffe&force=true&${dryRun}`,
      bundle(root, name),
      applyPatch,
    );
  const grant = (verb: string, purpose: string, call: Check['call']): Check => ({
    ...{ grant: `federatedtrustdomains ${verb}`, purpose, call },
  });
  return [
    grant('list', 'read which trust domains are federated', get(resources)),
    grant('watch', 'see which trust domains are federated from now on', get(`${resources}?${watch}`)),
    grant('get', 'read a bundle live before publishing it', get(`${resources}/partner`)),
    {
      grant: 'federatedtrustdomains/status patch',
      purpose: 'keep the bundle that it fetched',
      call: (signer) => signer('PATCH', `${resources}/partner/status?${dryRun}`, status, mergePatch),
    },
    { grant: 'clustertrustbundles create', purpose: 'publish the roots of a partner', call: publish },
    { grant: 'clustertrustbundles patch', purpose: 'keep the roots of a partner right', call: publish },
    {
      grant: 'clustertrustbundles delete',
      purpose: 'end the trust in a partner',
      call: (signer) => signer('DELETE', `${bundles}/${existing}?${dryRun}`),
    },
  ];
}

/** The same for what the signer is granted for kubespiffe.io/service-dns besides. */
export async function serviceDnsChecks(controlPlane: ControlPlane): Promise<Check[]> {
  const node = await joinNode(controlPlane, 'node-dns');
  const facts = await node.newPod('dns', 'kubespiffe.io/service-dns');
  const request = await certificateRequest(facts);
  const made = await node.speak('POST', requestsPath(), { ...request, metadata: { name: 'req-dns' } });
  if (made.status !== 201) throw new Error(made.message);
  await create(controlPlane, secrets, { metadata: { name: 'kubespiffe-service-dns-pool' } });

  const name = 'kubespiffe.io:service-dns:roots';
  const root = controlPlane.authority.certificate;
  const get = (path: string) => (signer: Speaker) => signer('GET', path);
  const answer = (signer: Speaker) =>
    signer('PATCH', `${requestsPath()}/req-dns/status?${dryRun}`, denial, mergePatch);
  const publish = (signer: Speaker) =>
    signer(
      'PATCH',
      `${certificates}/clustertrustbundles/${name}?fieldManager=kubespiffe&force=true&${dryRun}`,
      bundle(root, name, 'kubespiffe.io/service-dns'),
      applyPatch,
    );
  const pool = `${secrets}?fieldSelector=metadata.name=kubespiffe-service-dns-pool`;
  return [
    ...(await recordChecks(controlPlane, 'kubespiffe-service-dns-pool')),
    { grant: 'signers sign', purpose: 'answer for kubespiffe.io/service-dns', call: answer },
    { grant: 'signers attest', purpose: 'publish roots for kubespiffe.io/service-dns', call: publish },
    { grant: 'clustertrustbundles create', purpose: 'publish these roots for the first time', call: publish },
    { grant: 'clustertrustbundles patch', purpose: 'keep these roots right', call: publish },
    { grant: 'secrets list', purpose: 'read the pool of DNS names at start', call: get(pool) },
    {
      grant: 'secrets watch',
      purpose: 'hear of changes of the pool of DNS names',
      call: get(`${pool}&${watch}`),
    },
    {
      grant: 'secrets get',
      purpose: 'read the pool of DNS names live before publishing its roots',
      call: get(`${secrets}/kubespiffe-service-dns-pool`),
    },
  ];
}

/** Puts in place what the checks work on, and returns them. */
export async function signerChecks(controlPlane: ControlPlane): Promise<Check[]> {
  const node = await joinNode(controlPlane, 'node-a');
  const request = await certificateRequest(await node.newPod('web'));
  const made = await node.speak('POST', requestsPath(), { ...request, metadata: { name: 'req-1' } });
  if (made.status !== 201) throw new Error(made.message);
  await create(controlPlane, '/api/v1/namespaces/kubespiffe/secrets', {
    metadata: { name: 'kubespiffe-pool' },
  });
  await create(controlPlane, '/api/v1/namespaces/default/configmaps', rootsConfigMap('default'));
  await create(controlPlane, leases, lease('signer-0'));
  await create(controlPlane, events, event('told'));
  await createRegistrations(controlPlane);

  const status = `${requestsPath()}/req-1/status?${dryRun}`;
  const apply = `${certificates}/clustertrustbundles/kubespiffe.io:spiffe:roots?fieldManager=kubespiffe&force=true&${dryRun}`;
  const root = controlPlane.authority.certificate;
  const answer = (signer: Speaker) => signer('PATCH', status, denial, mergePatch);
  const grantNothing = (signer: Speaker) =>
    signer(
      'PATCH',
      `${policies}/default?fieldManager=kubespiffe&${dryRun}`,
      registrationPolicy('default'),
      applyPatch,
    );
  const nameTrustDomain = async (signer: Speaker) => {
    await create(controlPlane, policies, registrationPolicy('default'));
    const status = { trustDomains: [{ trustDomain: 'example.org' }] };
    const answer = await signer(
      'PATCH',
      `${policies}/default/status?fieldManager=kubespiffe&force=true&${dryRun}`,
      { ...registrationPolicy('default'), spec: undefined, status },
      applyPatch,
    );
    await controlPlane.request('DELETE', `${policies}/default`);
    return answer;
  };
  const publish = (signer: Speaker) => signer('PATCH', apply, bundle(root), applyPatch);
  const configMapIn = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps/kubespiffe-roots`;
  const applyRoots = (namespace: string) => (signer: Speaker) =>
    signer(
      'PATCH',
      `${configMapIn(namespace)}?fieldManager=kubespiffe&force=true&${dryRun}`,
      rootsConfigMap(namespace),
      applyPatch,
    );
  const get = (path: string) => (signer: Speaker) => signer('GET', path);
  const allRequests = `${certificates}/podcertificaterequests?fieldSelector=spec.signerName=kubespiffe.io/spiffe`;
  const pool = `${secrets}?fieldSelector=metadata.name=kubespiffe-pool`;

  return [
    { grant: 'podcertificaterequests list', purpose: 'find the requests at start', call: get(allRequests) },
    {
      grant: 'podcertificaterequests watch',
      purpose: 'hear of new requests',
      call: get(`${allRequests}&${watch}`),
    },
    {
      grant: 'podcertificaterequests get',
      purpose: 'settle a conflict, and read a request without a visible key through v1beta1',
      call: get(`${requestsPath()}/req-1`),
    },
    { grant: 'podcertificaterequests/status patch', purpose: 'write the answer', call: answer },
    { grant: 'signers sign', purpose: 'answer for kubespiffe.io/spiffe', call: answer },
    { grant: 'signers attest', purpose: 'publish roots for kubespiffe.io/spiffe', call: publish },
    { grant: 'clustertrustbundles create', purpose: 'publish the roots for the first time', call: publish },
    { grant: 'clustertrustbundles patch', purpose: 'keep the published roots right', call: publish },
    ...['validatingadmissionpolicies', 'validatingadmissionpolicybindings'].flatMap((resource) => {
      const path = `/apis/admissionregistration.k8s.io/v1/${resource}?fieldSelector=metadata.name=${admissionPolicyName}`;
      return [
        { grant: `${resource} list`, purpose: 'see that only nodes create requests', call: get(path) },
        {
          grant: `${resource} watch`,
          purpose: 'hear that this has changed',
          call: get(`${path}&${watch}`),
        },
      ];
    }),
    ...Object.entries(registrationPaths).flatMap(([resource, path]) => [
      {
        grant: `${resource} list`,
        purpose: 'know the registrations at start',
        call: get(`${registrations}/${resource}`),
      },
      {
        grant: `${resource} watch`,
        purpose: 'hear of changed registrations',
        call: get(`${registrations}/${resource}?${watch}`),
      },
      {
        grant: `${resource}/status patch`,
        purpose: 'say what a registration does',
        call: (signer: Speaker) =>
          signer('PATCH', `${path}/web/status?${dryRun}`, { status: { podsSelected: 1 } }, mergePatch),
      },
    ]),
    {
      grant: 'clusterregistrationpolicies list',
      purpose: 'know what namespaces may give',
      call: get(`${policies}?fieldSelector=metadata.name=default`),
    },
    {
      grant: 'clusterregistrationpolicies watch',
      purpose: 'hear of grants',
      call: get(`${policies}?fieldSelector=metadata.name=default&${watch}`),
    },
    {
      grant: 'clusterregistrationpolicies create',
      purpose: 'create the policy without grants',
      call: grantNothing,
    },
    {
      grant: 'clusterregistrationpolicies patch',
      purpose: 'create the policy by server-side apply',
      call: grantNothing,
    },
    {
      grant: 'clusterregistrationpolicies/status patch',
      purpose: 'tell the admission policy the trust domain',
      call: nameTrustDomain,
    },
    { grant: 'services list', purpose: 'know the Services at start', call: get(services) },
    {
      grant: 'services watch',
      purpose: 'hear of Services that select a pod',
      call: get(`${services}?${watch}`),
    },
    { grant: 'namespaces list', purpose: 'know the labels of namespaces', call: get(namespaces) },
    {
      grant: 'namespaces watch',
      purpose: 'hear of a label that is set or taken off',
      call: get(`${namespaces}?${watch}`),
    },
    {
      grant: 'namespaces get',
      purpose: 'look at a namespace live before its ConfigMap is taken away',
      call: get('/api/v1/namespaces/default'),
    },
    { grant: 'configmaps list', purpose: 'find the roots that are published', call: get(configMaps) },
    {
      grant: 'configmaps watch',
      purpose: 'hear of changes of the published roots by others',
      call: get(`${configMaps}&${watch}`),
    },
    {
      grant: 'configmaps create',
      purpose: 'publish the roots in a namespace for the first time',
      call: applyRoots('kubespiffe'),
    },
    {
      grant: 'configmaps patch',
      purpose: 'keep the roots of a namespace right',
      call: applyRoots('default'),
    },
    {
      grant: 'configmaps delete',
      purpose: 'take the roots away where the label is gone',
      call: (signer) => signer('DELETE', `${configMapIn('default')}?${dryRun}`),
    },
    { grant: 'pods list', purpose: 'know the pods at start', call: get(pods) },
    { grant: 'pods watch', purpose: 'know the pods as they come and go', call: get(`${pods}?${watch}`) },
    {
      grant: 'pods get',
      purpose: 'look at a pod live before believing a mismatch',
      call: get('/api/v1/namespaces/default/pods/web'),
    },
    {
      grant: 'events create',
      purpose: 'tell the user on the pod why it waits',
      call: (signer) => signer('POST', `${events}?${dryRun}`, event('new')),
    },
    {
      grant: 'events patch',
      purpose: 'count repetitions in one Event',
      call: (signer) =>
        signer(
          'PATCH',
          `${events}/told?${dryRun}`,
          { series: { count: 2, lastObservedTime: '2026-01-01T00:00:01.000000Z' } },
          mergePatch,
        ),
    },
    { grant: 'secrets list', purpose: 'read the pool at start', call: get(pool) },
    { grant: 'secrets watch', purpose: 'hear of changes of the pool', call: get(`${pool}&${watch}`) },
    {
      grant: 'secrets get',
      purpose: 'read the pool live before publishing its roots',
      call: get(`${secrets}/kubespiffe-pool`),
    },
    {
      grant: 'leases create',
      purpose: 'show the other replicas that this one lives',
      call: (signer) => signer('POST', `${leases}?${dryRun}`, lease('signer-1')),
    },
    {
      grant: 'leases patch',
      purpose: 'renew its own Lease',
      call: (signer) =>
        signer('PATCH', `${leases}/signer-0?${dryRun}`, { spec: { leaseTransitions: 1 } }, mergePatch),
    },
    {
      grant: 'leases delete',
      purpose: 'hand its requests over at once when it ends',
      call: (signer) => signer('DELETE', `${leases}/signer-0?${dryRun}`),
    },
    { grant: 'leases list', purpose: 'know the other replicas at start', call: get(leases) },
    {
      grant: 'tokenreviews create',
      purpose: 'ask whether a ServiceAccount token is good',
      call: (signer) =>
        signer('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenReview',
          spec: { token: 'none', audiences: ['test'] },
        }),
    },
    {
      grant: 'leases watch',
      purpose: 'see the other replicas come and go',
      call: get(`${leases}?${watch}`),
    },
  ];
}

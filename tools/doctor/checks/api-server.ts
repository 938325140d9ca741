import { admissionPolicyProblem } from '../../../signer/issuance/admission-policy.ts';
import { counted } from '../../output.ts';
import { type Findings, ok, orElse, problem, unknown, warning } from '../check.ts';
import type { Facts } from '../facts.ts';

const kubernetes = 'Kubernetes 1.37 serves them; 1.35 and 1.36 need it switched on';

export async function apiServed(facts: Facts): Promise<Findings> {
  const gates = {
    podcertificaterequests: 'PodCertificateRequest',
    clustertrustbundles: 'ClusterTrustBundle',
  };
  const looks = Object.entries(gates).map(async ([resource, gate]) => {
    const lookedAt = `${resource}.certificates.k8s.io`;
    const versions = await facts.servedIn(resource);
    if (versions.length > 0) return ok(lookedAt, `served as ${versions.join(' and ')}`);
    const remedy =
      `${kubernetes}: start kube-apiserver with --feature-gates=${gate}=true and ` +
      `--runtime-config=certificates.k8s.io/v1beta1/${resource}=true`;
    return problem(lookedAt, 'not served', remedy);
  });
  return Promise.all(looks);
}

/** kube-apiserver drops the fields of a pod whose gate is off, and kubelet ignores them: the volume stays empty. */
export async function featureGates(facts: Facts): Promise<Findings> {
  const wanted = ['PodCertificateRequest', 'ClusterTrustBundle', 'ClusterTrustBundleProjection'];
  const metrics = await facts.metrics();
  const off = metrics('kubernetes_feature_enabled')
    .filter(({ labels, value }) => wanted.includes(labels.name ?? '') && value === 0)
    .map(({ labels }) => labels.name);
  const servers = off.map((gate) => {
    const remedy = `set --feature-gates=${gate}=true on kube-apiserver, and on each kubelet`;
    return problem('the API server', `the feature gate ${gate} is off`, remedy);
  });
  const nodes = await facts.nodes();
  const kubelets = nodes.flatMap(({ metadata, status }) => {
    const version = minorOf(status?.nodeInfo?.kubeletVersion);
    if (version === undefined || version >= 37) return [];
    const [lookedAt, found] = [`Node ${metadata.name}`, `its kubelet is of version 1.${version}`];
    if (version < 35) {
      const remedy =
        'upgrade the node to 1.35 or newer: an older kubelet requests no certificates that can be signed';
      return problem(lookedAt, found, remedy);
    }
    const remedy = `check that it has --feature-gates=${wanted.join('=true,')}=true`;
    return warning(lookedAt, `${found}, which has the feature gates switched off by default`, remedy);
  });
  return [
    ...orElse(servers, ok('the API server', 'none that is needed is off')),
    ...orElse(kubelets, ok(counted(nodes.length, 'node'), 'each kubelet has the features by default')),
  ];
}

function minorOf(version = ''): number | undefined {
  const [, minor] = /^v1\.(\d+)/.exec(version) ?? [];
  return minor === undefined ? undefined : Number(minor);
}

/** A plugin has series as soon as it has seen one call, and the API server itself writes when it starts. */
export async function nodeRestriction(facts: Facts): Promise<Findings> {
  const metrics = await facts.metrics();
  const plugins = metrics('apiserver_admission_controller_admission_duration_seconds_count');
  const lookedAt = 'the admission plugin NodeRestriction';
  if (plugins.some(({ labels }) => labels.name === 'NodeRestriction'))
    return ok(lookedAt, 'in force: kubelets request certificates for their own pods alone');
  if (plugins.length === 0)
    return unknown(
      lookedAt,
      'the metrics of the API server show no admission plugins',
      'check that kube-apiserver has --enable-admission-plugins=NodeRestriction',
    );
  return problem(
    lookedAt,
    'not enabled: an attacker who controls one node can request a certificate for any pod',
    'start kube-apiserver with --enable-admission-plugins=NodeRestriction',
  );
}

export async function admissionPolicy(facts: Facts): Promise<Findings> {
  const { policy, binding } = await facts.policy();
  const found = admissionPolicyProblem(policy, binding);
  const lookedAt = 'ValidatingAdmissionPolicy kubespiffe-requests-from-nodes-only and its binding';
  if (found === undefined) return ok(lookedAt, 'in force: only nodes create requests');
  return problem(lookedAt, found, 'apply manifests/base/admission-policy.yaml of the version of the signer');
}

/** The pool is a Secret. A reader of etcd or of its backups can read Secrets that are not encrypted. */
export async function encryptionAtRest(facts: Facts): Promise<Findings> {
  const metrics = await facts.metrics();
  const operations = metrics('apiserver_storage_transformation_operations_total').filter(
    ({ labels }) => labels.resource === 'secrets' && labels.status === 'OK',
  );
  const isConfigured = metrics('apiserver_encryption_config_controller_last_config_info').length > 0;
  const prefixes = (type: string) =>
    operations
      .filter(({ labels }) => labels.transformation_type === type)
      .map(({ labels }) => labels.transformer_prefix || 'identity');
  const [read, written] = [prefixes('from_storage'), prefixes('to_storage')];
  const lookedAt = 'Secrets in etcd';
  const guide = 'see https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/';
  if (!isConfigured && operations.length === 0) {
    return warning(
      lookedAt,
      'the API server has no encryption configuration: the keys of the CA are stored in clear',
      `encrypt Secrets at rest, above all with a KMS (${guide}), or check that your provider encrypts etcd`,
    );
  }
  if (written.includes('identity')) {
    const remedy = `make another provider than identity the first one for secrets (${guide})`;
    return warning(lookedAt, 'the API server writes Secrets in clear', remedy);
  }
  if (read.includes('identity'))
    return warning(
      lookedAt,
      'some Secrets were written in clear before encryption was configured',
      'write them again: kubectl get secrets --all-namespaces -o json | kubectl replace -f -',
    );
  const encrypted = [...read, ...written].find((prefix) => prefix.startsWith('k8s:enc:'));
  if (encrypted !== undefined) return ok(lookedAt, `encrypted (${encrypted.replace(/^k8s:enc:|:$/g, '')})`);
  return unknown(
    lookedAt,
    'the API server has an encryption configuration, and has read no Secret since it started',
    'run the command again later',
  );
}

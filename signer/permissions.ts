import { signedUntilName } from './authority/signed-until.ts';
import type { Config } from './config/config.ts';
import { admissionPolicyName } from './issuance/admission-policy.ts';
import type { InformerSpec } from './kube/informer.ts';
import type { Permission } from './kube/permissions.ts';
import { type SignerProfile, settingsOf } from './signers/profile.ts';
import { bundleName } from './trust/bundle.ts';

const certificates = 'certificates.k8s.io';
const baseRole = 'kubespiffe-signer';
const signerRole = `ClusterRole ${baseRole}`;
const roleIn = (namespace: string, name = baseRole) => `Role ${name} in namespace ${namespace}`;

/** A signer, and what it follows in the cluster to know who a pod is. */
interface SignerNeeds {
  readonly profile: SignerProfile;
  readonly facts: readonly {
    readonly spec: Pick<InformerSpec<never, unknown>, 'resource' | 'namespace' | 'name'>;
  }[];
}

/**
 * Every right that a replica with these settings and signers needs: what manifests/ grants it, and what Kubernetes
 * grants to every ServiceAccount. A test holds the manifests to it. The Roles of manifests/rotation and of the condition on
 * the signer's pods are not among them: certificates are signed without them, and the log says what is forbidden.
 *
 * @param lacksBundles whether the API server is known to serve no ClusterTrustBundles.
 */
export function neededPermissions(
  config: Config,
  signers: readonly SignerNeeds[],
  lacksBundles: boolean,
): readonly Permission[] {
  const { namespace } = config;
  const requests = { group: certificates, resource: 'podcertificaterequests', grantedBy: signerRole };
  const needed = [
    ...each(['get', 'list', 'watch'], requests),
    ...each(['patch'], { ...requests, subresource: 'status' }),
    // Kubernetes has this role only where it serves the resource.
    ...each(lacksBundles ? [] : ['list', 'watch', ...(config.federation ? ['get'] : [])], {
      group: certificates,
      resource: 'clustertrustbundles',
      grantedBy: 'ClusterRole system:cluster-trust-bundle-discovery, of Kubernetes itself',
    }),
    ...['validatingadmissionpolicies', 'validatingadmissionpolicybindings'].flatMap((resource) =>
      each(['list', 'watch'], {
        group: 'admissionregistration.k8s.io',
        resource,
        name: admissionPolicyName,
        grantedBy: signerRole,
      }),
    ),
    ...each(['get', 'list', 'watch'], { group: '', resource: 'pods', grantedBy: signerRole }),
    ...each(['create', 'patch'], { group: 'events.k8s.io', resource: 'events', grantedBy: signerRole }),
    ...each(['create', 'list', 'watch', 'patch', 'delete'], {
      group: 'coordination.k8s.io',
      resource: 'leases',
      namespace,
      grantedBy: roleIn(namespace),
    }),
    ...each(config.endpoints?.token === undefined ? [] : ['create'], {
      group: 'authentication.k8s.io',
      resource: 'tokenreviews',
      grantedBy: 'ClusterRole kubespiffe-token-endpoint',
    }),
    ...(config.federation ? federationPermissions : []),
    ...signers.flatMap((signer) => permissionsOf(config, signer)),
  ];
  // Signers may share a pool.
  return [...new Map(needed.map((each) => [JSON.stringify(each), each])).values()];
}

const ofFederation = { group: 'kubespiffe.io', grantedBy: 'ClusterRole kubespiffe-federation' };
/** The names of the bundles follow from those of the trust domains, which no rule can list. */
const federationPermissions = [
  ...each(['get', 'list', 'watch'], { ...ofFederation, resource: 'federatedtrustdomains' }),
  ...each(['patch'], { ...ofFederation, resource: 'federatedtrustdomains', subresource: 'status' }),
  ...each(['create', 'patch', 'delete'], {
    ...ofFederation,
    group: certificates,
    resource: 'clustertrustbundles',
  }),
];

/** The rights that each signer needs by its own names. */
function permissionsOf(config: Config, { profile, facts }: SignerNeeds): Permission[] {
  const { signerName, role = baseRole } = profile;
  const grantedBy = `ClusterRole ${role}`;
  const { pool, bundleSuffix, rootsConfigMap } = settingsOf(config, profile);
  const roots = 'ClusterRole kubespiffe-roots-configmap';
  return [
    ...each(['sign', 'attest'], {
      group: certificates,
      resource: 'signers',
      name: signerName,
      grantedBy,
    }),
    ...(['live', 'preview'] as const).flatMap((canarying) =>
      each(['create', 'patch'], {
        group: certificates,
        resource: 'clustertrustbundles',
        name: bundleName(signerName, bundleSuffix, canarying),
        grantedBy,
      }),
    ),
    ...each(['get', 'list', 'watch'], {
      group: '',
      resource: 'secrets',
      ...pool,
      grantedBy: roleIn(pool.namespace, role),
    }),
    ...each(['get', 'create', 'patch'], {
      group: '',
      resource: 'configmaps',
      namespace: pool.namespace,
      name: signedUntilName(pool.name),
      grantedBy: roleIn(pool.namespace, profile.role ?? 'kubespiffe-signed-until'),
    }),
    ...facts.flatMap(({ spec: { resource, namespace, name } }) => {
      // Several signers may depend on the same facts.
      const right = {
        group: resource.group,
        resource: resource.name,
        namespace,
        name,
        grantedBy: signerRole,
      };
      return [
        ...each(['list', 'watch', ...(resource.isCreated ? ['create', 'patch'] : [])], right),
        ...(resource.hasOurStatus ? each(['patch'], { ...right, subresource: 'status' }) : []),
      ];
    }),
    ...(rootsConfigMap === undefined
      ? []
      : [
          ...each(['list', 'watch'], { group: '', resource: 'namespaces', grantedBy: signerRole }),
          ...each(['get'], { group: '', resource: 'namespaces', grantedBy: roots }),
          ...each(['list', 'watch', 'create', 'patch', 'delete'], {
            group: '',
            resource: 'configmaps',
            name: rootsConfigMap,
            grantedBy: roots,
          }),
        ]),
  ];
}

function each(verbs: readonly string[], right: Omit<Permission, 'verb'>): Permission[] {
  return verbs.map((verb) => ({ verb, ...right }));
}

import type { Config, SignerConfig } from './config/config.ts';
import { admissionPolicyName } from './issuance/admission-policy.ts';
import type { Permission } from './kube/permissions.ts';
import { bundleName } from './trust/bundle.ts';

const certificates = 'certificates.k8s.io';

/**
 * Every right that a replica with these settings needs: what manifests/ grants it, and what Kubernetes grants to every
 * ServiceAccount. A test holds the manifests to it.
 */
export function neededPermissions(
  config: Pick<Config, 'namespace' | 'endpoints'>,
  signer: Pick<SignerConfig, 'pool' | 'bundleSuffix' | 'rootsConfigMap'> & { readonly signerName: string },
  /** Whether the API server is known to serve no ClusterTrustBundles. */
  lacksBundles: boolean,
): readonly Permission[] {
  const { namespace } = config;
  const { signerName, pool, bundleSuffix, rootsConfigMap } = signer;
  const role = 'ClusterRole kubespiffe-signer';
  const roots = 'ClusterRole kubespiffe-roots-configmap';
  const roleIn = (place: string) => `Role kubespiffe-signer in namespace ${place}`;
  const requests = { group: certificates, resource: 'podcertificaterequests', grantedBy: role };
  const bundles = { group: certificates, resource: 'clustertrustbundles' };
  return [
    ...each(['get', 'list', 'watch'], requests),
    ...each(['patch'], { ...requests, subresource: 'status' }),
    ...each(['sign', 'attest'], {
      group: certificates,
      resource: 'signers',
      name: signerName,
      grantedBy: role,
    }),
    ...(['live', 'preview'] as const).flatMap((canarying) => {
      const name = bundleName(signerName, bundleSuffix, canarying);
      return each(['create', 'patch'], { ...bundles, name, grantedBy: role });
    }),
    // Kubernetes has this role only where it serves the resource.
    ...(lacksBundles
      ? []
      : each(['list', 'watch'], {
          ...bundles,
          grantedBy: 'ClusterRole system:cluster-trust-bundle-discovery, of Kubernetes itself',
        })),
    ...['validatingadmissionpolicies', 'validatingadmissionpolicybindings'].flatMap((resource) =>
      each(['list', 'watch'], {
        group: 'admissionregistration.k8s.io',
        resource,
        name: admissionPolicyName,
        grantedBy: role,
      }),
    ),
    ...each(['get', 'list', 'watch'], { group: '', resource: 'pods', grantedBy: role }),
    ...each(['create', 'patch'], { group: 'events.k8s.io', resource: 'events', grantedBy: role }),
    ...each(['get', 'list', 'watch'], {
      group: '',
      resource: 'secrets',
      ...pool,
      grantedBy: roleIn(pool.namespace),
    }),
    ...each(['create', 'list', 'watch', 'patch', 'delete'], {
      group: 'coordination.k8s.io',
      resource: 'leases',
      namespace,
      grantedBy: roleIn(namespace),
    }),
    ...(config.endpoints?.token === undefined
      ? []
      : each(['create'], {
          group: 'authentication.k8s.io',
          resource: 'tokenreviews',
          grantedBy: 'ClusterRole kubespiffe-token-endpoint',
        })),
    ...(rootsConfigMap === undefined
      ? []
      : [
          ...each(['get', 'list', 'watch'], { group: '', resource: 'namespaces', grantedBy: roots }),
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

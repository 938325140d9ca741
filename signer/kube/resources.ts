import { type CertificatesVersion, certificatesVersions } from './types.ts';

/** A resource of the Kubernetes API and the versions that we support. */
export interface ApiResource<Version extends string = string> {
  /** API group; empty for the core group. */
  readonly group: string;
  /** The preferred version first. */
  readonly versions: readonly [Version, ...Version[]];
  /** Plural name, as in paths and RBAC rules. */
  readonly name: string;
  /** Whether an API server may not serve it, so that discovery has to find out. Without it the first version is used. */
  readonly mayBeMissing?: true;
  /** Whether we write the status of its objects. */
  readonly hasOurStatus?: true;
  /** Whether we create the object that we follow where it is missing. */
  readonly isCreated?: true;
}

const certificates = {
  group: 'certificates.k8s.io',
  versions: certificatesVersions,
  mayBeMissing: true,
} as const;
export const podCertificateRequests: ApiResource<CertificatesVersion> = {
  ...certificates,
  name: 'podcertificaterequests',
};
export const clusterTrustBundles: ApiResource<CertificatesVersion> = {
  ...certificates,
  name: 'clustertrustbundles',
};

/** `/api/v1`, `/apis/certificates.k8s.io/v1` */
export function groupPath({ group }: Pick<ApiResource, 'group'>, version: string): string {
  return group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
}

/** The path of a resource in a namespace, or in the whole cluster. */
export function resourcePath(resource: ApiResource, version: string, namespace?: string): string {
  const place = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${groupPath(resource, version)}${place}/${resource.name}`;
}

import { isDnsName } from '../../spiffe/dns-name.ts';
import type { SpiffeId } from '../../spiffe/id.ts';
import { infrastructurePath } from '../../spiffe/infrastructure.ts';
import { isJsonObject, shown } from '../../spiffe/json.ts';
import type { Template } from './template.ts';

/** What the WorkloadRegistrations of a namespace may give beside `/ns/<namespace>/…`. */
export interface NamespaceGrant {
  /** Begin and end with `/`. */
  readonly pathPrefixes: readonly string[];
  /** A DNS name, or `*.` and a DNS name, which stands for one more label in front of it. */
  readonly dnsNames: readonly string[];
}

/** The ClusterRegistrationPolicy `default`. */
export interface RegistrationPolicy {
  readonly grants: ReadonlyMap<string, NamespaceGrant>;
  /** The parts of it that cannot be read, and are not used. */
  readonly problems: readonly string[];
}

export const noPolicy: RegistrationPolicy = { grants: new Map(), problems: [] };

/** Reads a policy of the API server. What cannot be read grants nothing. Never throws. */
export function readPolicy(wire: unknown): RegistrationPolicy {
  const { spec } = isJsonObject(wire) ? wire : {};
  const { grants: written = [] } = isJsonObject(spec) ? spec : {};
  const grants = new Map<string, NamespaceGrant>();
  const problems: string[] = [];
  for (const [index, grant] of listIn(written).entries()) {
    const { namespaces, pathPrefixes, dnsNames } = isJsonObject(grant) ? grant : {};
    const usable = (values: unknown, isUsable: (value: string) => boolean, what: string) =>
      listIn(values).filter((value): value is string => {
        if (typeof value === 'string' && isUsable(value)) return true;
        problems.push(`grants[${index}] has ${shown(value)}, which is not a ${what}`);
        return false;
      });
    const more = {
      pathPrefixes: usable(pathPrefixes, isPathPrefix, 'path that begins and ends with "/"'),
      dnsNames: usable(dnsNames, isDnsPattern, 'DNS name'),
    };
    for (const namespace of usable(namespaces, isDnsName, 'namespace')) {
      const { pathPrefixes = [], dnsNames = [] } = grants.get(namespace) ?? {};
      grants.set(namespace, {
        pathPrefixes: [...pathPrefixes, ...more.pathPrefixes],
        dnsNames: [...dnsNames, ...more.dnsNames],
      });
    }
  }
  return { grants, problems };
}

const listIn = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const isPathPrefix = (prefix: string) => /^\/([A-Za-z0-9._-]+\/)*$/.test(prefix);
const isDnsPattern = (name: string) => isDnsName(name.replace(/^\*\./, ''));

/** Who gives a name, and to whom. */
export interface NameContext {
  readonly trustDomain: string;
  /** Namespace of the pod. */
  readonly namespace: string;
  /** Whether the team of the namespace gives the name, and not the administrator of the cluster. */
  readonly isNamespaced: boolean;
  readonly policy: RegistrationPolicy;
}

/**
 * Why a registration must not give a SPIFFE ID; undefined if it may. Pure.
 *
 * @param template of which the ID was made: only its fixed text may name another namespace.
 */
export function idProblem(id: SpiffeId, template: Template, context: NameContext): string | undefined {
  const { trustDomain, namespace, isNamespaced, policy } = context;
  if (id.trustDomain !== trustDomain) {
    return `${id.uri} is in another trust domain than this signer's, ${trustDomain}`;
  }
  const [, first, owner, kind] = id.path.split('/');
  if (first === undefined) return `${id.uri} is the ID of the trust domain itself`;
  if (first === infrastructurePath) {
    return `${id.uri} is below /${infrastructurePath}/, which is reserved for kubespiffe itself`;
  }
  if (first === 'ns' && kind === 'pod') {
    return `${id.uri} is below /ns/*/pod/, which is reserved for the signer kubespiffe.io/pod-identity`;
  }
  const own = `/ns/${namespace}/`;
  if (id.path.startsWith(own)) return undefined;
  if (isNamespaced) {
    const prefixes = policy.grants.get(namespace)?.pathPrefixes ?? [];
    if (prefixes.some((prefix) => id.path.startsWith(prefix))) return undefined;
    const allowed = [own, ...prefixes].join(' or ');
    return `${id.uri} is not below ${allowed}; a ClusterRegistrationPolicy can grant more path prefixes`;
  }
  if (first === 'ns' && owner !== namespace && owner !== literalPathOf(template).split('/')[2]) {
    return `${id.uri} is below another namespace than the pod's; only a template that names that namespace as text can give it`;
  }
  return undefined;
}

/** The text with which the path of a template begins; empty if it begins with a field. */
function literalPathOf([scheme, trustDomain, path]: Template): string {
  const isConfigured = trustDomain?.kind === 'field' && trustDomain.field === '.TrustDomain';
  const part = isConfigured ? path : scheme;
  return part?.kind === 'text' ? part.text.replace(/^spiffe:\/\/[^/]*/, '') : '';
}

/** Why a registration must not give a DNS name; undefined if it may. Pure. */
export function dnsNameProblem(
  name: string,
  { namespace, isNamespaced, policy }: NameContext,
): string | undefined {
  if (!isDnsName(name)) return `${shown(name)} is not a DNS name in lower case`;
  if (!isNamespaced) return undefined;
  const patterns = policy.grants.get(namespace)?.dnsNames ?? [];
  const parent = `*${name.slice(name.indexOf('.'))}`;
  if (patterns.some((pattern) => pattern === name || pattern === parent)) return undefined;
  return `no ClusterRegistrationPolicy grants the DNS name ${name} to the namespace ${namespace}`;
}

import { allNames } from '../../signer/identity/subject.ts';
import { explain } from '../../signer/observe/reasons.ts';
import { allIdentities, type PodIdentity } from '../cluster/identities.ts';
import type { World } from '../cluster/world.ts';
import { CliError } from '../errors.ts';
import type { FileObject } from './documents.ts';

/** What a pod gets from one signer. */
export interface Names {
  readonly names: readonly string[];
  /** The registration that gives them; null for none. */
  readonly registration: string | null;
  /** Why there are none; null where there are. */
  readonly reason: string | null;
  readonly message: string | null;
}

export interface PodChange {
  /** `namespace/name` */
  readonly pod: string;
  readonly signer: string;
  readonly change: 'gains' | 'changes' | 'loses';
  readonly before: Names;
  readonly after: Names;
}

export interface WhatIfReport {
  /** What was changed, such as `WorkloadRegistration shop/web`. */
  readonly objects: readonly string[];
  readonly isDeletion: boolean;
  readonly changes: readonly PodChange[];
  /** How many pods with a certificate keep what they have. */
  readonly unchangedPods: number;
}

/** Kinds of the objects that names depend on, with their resource. */
const resources: Readonly<Record<string, string>> = {
  WorkloadRegistration: 'workloadregistrations',
  ClusterWorkloadRegistration: 'clusterworkloadregistrations',
  ClusterRegistrationPolicy: 'clusterregistrationpolicies',
  Service: 'services',
  Namespace: 'namespaces',
};

/** `kubespiffe migrate spire` prints it beside registrations. It changes no name, so it is left out. */
const changesNoName = ({ kind }: FileObject) => kind === 'FederatedTrustDomain';

/**
 * Which pods would get other names if these objects were applied, or deleted. Changes the world.
 *
 * @param namespace of objects without one. @throws CliError for an object that no name depends on.
 */
export function whatIf(
  world: World,
  given: readonly FileObject[],
  { namespace, isDeletion }: { readonly namespace: string; readonly isDeletion: boolean },
): WhatIfReport {
  const objects = given.filter((object) => !changesNoName(object));
  const before = namesBySigner(allIdentities(world));
  for (const object of objects) apply(world, object, namespace, isDeletion);
  const after = namesBySigner(allIdentities(world));
  const changes: PodChange[] = [];
  for (const [key, { pod, signer, had }] of before) {
    const has = after.get(key)?.had ?? had;
    const change = changeOf(had, has);
    if (change) changes.push({ pod, signer, change, before: had, after: has });
  }
  const changed = new Set(changes.map(({ pod }) => pod));
  // Every pod could ask the token endpoint. Those that ask for nothing would be counted with the others.
  const pods = new Set([...before.values()].flatMap(({ pod, asks }) => (asks ? [pod] : [])));
  return {
    objects: objects.map((object) => `${object.kind} ${keyOf(object, namespace)}`),
    isDeletion,
    changes,
    unchangedPods: pods.difference(changed).size,
  };
}

function changeOf(before: Names, after: Names): PodChange['change'] | undefined {
  const [had, has] = [before, after].map(({ names }) => names.join(' '));
  if (had === has) return undefined;
  if (had === '') return 'gains';
  return has === '' ? 'loses' : 'changes';
}

function namesBySigner(identities: readonly PodIdentity[]) {
  return new Map(
    identities.map(({ pod, signer, source, identity }) => {
      const { signerName } = signer.profile;
      const key = `${pod} ${signerName} ${source?.volume ?? ''}`;
      return [key, { pod, signer: signerName, asks: source !== undefined, had: namesIn(identity) }] as const;
    }),
  );
}

function namesIn(identity: PodIdentity['identity']): Names {
  if (!identity.ok) {
    const { reason, detail } = identity;
    return { names: [], registration: null, reason, message: explain(reason, detail) };
  }
  const registration = identity.terms?.registration ?? null;
  return { names: allNames(identity.subject), registration, reason: null, message: null };
}

const clusterKinds = new Set(['ClusterWorkloadRegistration', 'ClusterRegistrationPolicy', 'Namespace']);

function keyOf({ kind, name, namespace }: FileObject, otherwise: string): string {
  return clusterKinds.has(kind) ? name : `${namespace ?? otherwise}/${name}`;
}

function apply(world: World, object: FileObject, namespace: string, isDeletion: boolean): void {
  const listed = world.followed.get(resources[object.kind] ?? '');
  if (!listed || object.name === '') {
    const what = `${object.file}:${object.lineOf([])}: no name depends on ${object.kind || 'this'} ${object.name}`;
    throw new CliError('USAGE', what, `give objects of the kinds ${Object.keys(resources).join(', ')}`);
  }
  const key = keyOf(object, namespace);
  const place = clusterKinds.has(object.kind) ? {} : { namespace: namespace };
  const metadata = { ...place, ...(object.object.metadata as object) };
  const kept = isDeletion ? undefined : listed.project({ ...object.object, metadata });
  if (kept === undefined) listed.store.delete(key);
  else listed.store.set(key, kept);
}

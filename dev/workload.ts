import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type EndpointAddress, parseEndpointAddress } from '../client/endpoint-address.ts';
import { identify } from '../signer/identity/identify.ts';
import { type Subject, spiffeIdIn } from '../signer/identity/subject.ts';
import { KubespiffeError } from '../spiffe/errors.ts';

/** A workload as it is named: namespace and name of its ServiceAccount. */
export interface WorkloadName {
  readonly namespace: string;
  readonly name: string;
}

/** A workload as a cluster would have it: a pod of a ServiceAccount. */
export interface Workload {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod: { readonly name: string; readonly uid: string };
  readonly subject: Subject;
  readonly spiffeId: string;
  /** Where `credentials.pem`, `roots.pem` and `token` are. */
  readonly folder: string;
  /** Where its Workload API listens. */
  readonly socket: EndpointAddress;
}

/** @throws KubespiffeError SPIFFE_ID_INVALID, FILE_UNWRITABLE where the path of its socket is too long. */
export function newWorkload(
  { namespace, name }: WorkloadName,
  { trustDomain, folder: parent }: { readonly trustDomain: string; readonly folder: string },
): Workload {
  const identity = identify({ namespace, serviceAccountName: name }, { trustDomain });
  if (!identity.ok) throw new KubespiffeError('SPIFFE_ID_INVALID', identity.detail);
  const folder = join(parent, namespace, name);
  const uri = `unix://${join(folder, 'workload-api.sock')}`;
  const socket = parseEndpointAddress(uri);
  if (!socket.ok) {
    const hint = 'choose a shorter path with --folder';
    throw new KubespiffeError('FILE_UNWRITABLE', `${uri}: ${socket.reason}`, { hint });
  }
  return {
    namespace,
    serviceAccount: { name, uid: randomUUID() },
    pod: { name, uid: randomUUID() },
    subject: identity.subject,
    spiffeId: spiffeIdIn(identity.subject) ?? '',
    folder,
    socket: socket.value,
  };
}

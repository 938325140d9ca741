import type { Transport } from '../../signer/kube/transport.ts';

/** Asks the API server for a review, which keeps nothing. @returns its status. */
export async function review<Status>(
  api: Transport,
  group: string,
  resource: string,
  spec: object,
): Promise<Status | undefined> {
  const path = `/apis/${group}/v1/${resource}`;
  const call = { method: 'POST', path, body: { spec }, resource, retry: 'safe' } as const;
  return (await api.request<{ status?: Status }>(call)).body.status;
}

/** Whether a user has a right. @param spec of a SubjectAccessReview. */
export async function isAllowed(api: Transport, spec: object): Promise<boolean> {
  const [group, resource] = ['authorization.k8s.io', 'subjectaccessreviews'];
  return (await review<{ allowed?: boolean }>(api, group, resource, spec))?.allowed === true;
}

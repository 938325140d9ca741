import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What the API server's audit log says of one answered request (audit.k8s.io/v1, level Metadata). */
interface AuditEvent {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
  readonly responseStatus?: { readonly code?: number };
}

export interface AskedFor {
  /** `resource verb`, as in the rules of a role; a path for what is no resource. */
  readonly grant: string;
  readonly code: number;
}

/** An audit log that a kube-apiserver keeps in a folder: the flags that make it, and the requests that it recorded. */
export async function auditLogIn(folder: string) {
  const policy = join(folder, 'audit-policy.yaml');
  const log = join(folder, 'audit.log');
  const rules = [{ level: 'Metadata', omitStages: ['RequestReceived'] }];
  await writeFile(policy, JSON.stringify({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', rules }));
  return {
    flags: [`--audit-policy-file=${policy}`, `--audit-log-path=${log}`, '--audit-log-mode=blocking'],
    async askedBy(username: string): Promise<AskedFor[]> {
      const text = await readFile(log, 'utf8');
      // The last line may be in the middle of being written.
      const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
      return lines
        .filter((line) => line.includes(username))
        .map((line) => JSON.parse(line) as AuditEvent)
        .filter(({ user }) => user.username === username)
        .flatMap(asked);
    },
  };
}

/** A server-side apply that makes something new needs the right to create as well, and is logged as a patch. */
function asked({ verb, requestURI, objectRef, responseStatus }: AuditEvent): AskedFor[] {
  const code = responseStatus?.code ?? 0;
  if (objectRef?.resource === undefined) return [{ grant: new URL(requestURI, 'http://api').pathname, code }];
  const { resource, subresource } = objectRef;
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  const verbs = verb === 'patch' && code === 201 ? [verb, 'create'] : [verb];
  return verbs.map((each) => ({ grant: `${what} ${each}`, code }));
}

import { type Credentials, loadCredentials } from '../../signer/kube/credentials.ts';
import { realTime } from '../../signer/kube/time.ts';
import { type Call, createTransport, type Transport } from '../../signer/kube/transport.ts';
import { KubespiffeError } from '../../spiffe/errors.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { type FaultProxy, startFaultProxy } from '../cluster/fault-proxy.ts';

/** A client of ours behind a fault proxy, as a ServiceAccount. */
export interface ProxiedClient {
  readonly proxy: FaultProxy;
  readonly kubeconfig: string;
  readonly credentials: Credentials;
  readonly transport: Transport;
  readonly calls: Call[];
  stop(): Promise<void>;
}

/** Makes the ServiceAccount `default/NAME`, which may do what `edit` may do and read and write Leases and Events. */
export async function createAccount(controlPlane: ControlPlane, name: string): Promise<void> {
  const rules = [
    { apiGroups: [''], resources: ['configmaps', 'pods'], verbs: ['*'] },
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['*'] },
    { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['*'] },
    { apiGroups: ['certificates.k8s.io'], resources: ['*'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: ['example.org'], resources: ['gadgets'], verbs: ['list', 'watch'] },
  ];
  const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1' };
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: 'default' } };
  const role = { ...rbac, kind: 'ClusterRole', metadata: { name: `test-${name}` }, rules };
  const binding = {
    ...rbac,
    kind: 'ClusterRoleBinding',
    metadata: { name: `test-${name}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: `test-${name}` },
    subjects: [{ kind: 'ServiceAccount', name, namespace: 'default' }],
  };
  for (const object of [account, role, binding]) {
    await controlPlane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(object) });
  }
}

/** @param host how it reaches the proxy: by an address, or by the name `localhost`. */
export async function startProxiedClient(
  controlPlane: ControlPlane,
  name: string,
  host: '127.0.0.1' | 'localhost' = '127.0.0.1',
): Promise<ProxiedClient> {
  const proxy = await startFaultProxy({
    url: controlPlane.url,
    authority: controlPlane.authority.certificate,
  });
  const kubeconfig = await controlPlane.kubeconfigFor(
    { namespace: 'default', name },
    { server: proxy.url.replace('127.0.0.1', host), authority: proxy.authority },
  );
  const credentials = await loadCredentials({ time: realTime, kubeconfig, env: {} });
  const calls: Call[] = [];
  const transport = createTransport({ time: realTime, credentials, onCall: (call) => calls.push(call) });
  return {
    proxy,
    kubeconfig,
    credentials,
    transport,
    calls,
    async stop() {
      await transport.close();
      await proxy.stop();
    },
  };
}

/** Throws what an answer of the admin's client should not have been. */
export function expectSuccess(answer: { status: number; body: unknown }): void {
  if (answer.status < 300) return;
  throw new KubespiffeError('API_STATUS', `${answer.status}: ${JSON.stringify(answer.body)}`);
}

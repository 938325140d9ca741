import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ControlPlane } from './control-plane.ts';
import { goBinary } from './go-binary.ts';
import { clusterDomain, dnsServiceAddress } from './network.ts';
import { startChild, waitFor } from './process.ts';

/** CoreDNS, built from its Go module with the plugins that a cluster needs. About a minute on 2 cores, once. */
export function corednsBinary(): Promise<string> {
  return goBinary({ name: 'coredns', folder: join(import.meta.dirname, 'coredns'), title: 'CoreDNS' });
}

/**
 * Serves the names of the cluster at the address that kubelets give to pods. CoreDNS runs on the host; the Service
 * `kube-dns` leads to it. It ends with the control plane.
 */
export async function startDns(controlPlane: ControlPlane): Promise<void> {
  const { dir, logDir, network, kubeconfig } = controlPlane;
  const binary = await corednsBinary();
  const corefile = join(dir, 'Corefile');
  await writeFile(
    corefile,
    `.:53 {
  bind ${network.host}
  errors
  ready ${network.host}:8181
  cache 5
  kubernetes ${clusterDomain} in-addr.arpa {
    kubeconfig ${kubeconfig}
  }
}
`,
  );
  const child = startChild('coredns', [binary, '-conf', corefile], { logFile: join(logDir, 'coredns.log') });
  controlPlane.onStop(() => child.stop('SIGKILL'));
  await createService(controlPlane);
  await waitFor('CoreDNS', async () => (await fetch(`http://${network.host}:8181/ready`)).ok, {
    needs: [child],
  });
}

async function createService({ request, network }: ControlPlane): Promise<void> {
  const ports = ['UDP', 'TCP'].map((protocol) => ({
    name: `dns-${protocol.toLowerCase()}`,
    port: 53,
    protocol,
  }));
  const core = '/api/v1/namespaces/kube-system/services';
  const discovery = '/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices';
  for (const [path, object] of [
    [core, { metadata: { name: 'kube-dns' }, spec: { clusterIP: dnsServiceAddress, ports } }],
    [
      discovery,
      {
        metadata: { name: 'kube-dns', labels: { 'kubernetes.io/service-name': 'kube-dns' } },
        addressType: 'IPv4',
        endpoints: [{ addresses: [network.host] }],
        ports,
      },
    ],
  ] as const) {
    const { status, body } = await request('POST', path, object);
    if (status !== 201) throw new Error(`${path}: ${JSON.stringify(body)}`);
  }
}

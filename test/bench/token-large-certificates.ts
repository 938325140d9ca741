import { connect } from 'node:tls';
import { startTokenSigner } from '../contract/token-endpoint.ts';
import { aCertificateOf } from '../token/http/large-certificates.ts';
import { residentMegabytes } from './process-figures.ts';
import { type TokenBench, unlimited } from './token-runs.ts';

/** What peers without any credential cost a signer that asks for client certificates. */
export interface LargeCertificates {
  readonly connections: number;
  readonly bytes: number;
  /** Resident memory, in megabytes: at the start, and the highest with the connections. */
  readonly before: number;
  readonly peak: number;
  /** CPU time of the signer for each connection, in milliseconds. */
  readonly cpuMs: number;
}

const connections = 250;
const bytes = 88_000;

/** Connects to a signer of its own, without the limits per address, with certificates that anybody can make. */
export async function measureLargeCertificates({ cluster, pool }: TokenBench): Promise<LargeCertificates> {
  const switchedOn = ['--leaf-pod-identity', 'true', '--token-client-certificates', 'true'];
  const flags = [...unlimited, ...switchedOn];
  const endpoint = await startTokenSigner(
    { kubeconfig: cluster.signerKubeconfig, pool },
    { replica: 'signer-c', flags },
  );
  const { child, ready } = endpoint.signer;
  try {
    await ready();
    const credential = await aCertificateOf(bytes);
    const visit = async () => {
      const options = { host: '127.0.0.1', port: endpoint.port, rejectUnauthorized: false };
      const socket = connect({ ...options, ...credential });
      // The signer may close the connection before the handshake has ended.
      socket.on('error', () => undefined).resume();
      await new Promise((resolve) => socket.once('close', resolve));
    };
    await visit();
    const before = residentMegabytes(child.pid).now;
    const cpuBefore = child.cpuSeconds();
    // As many at once as an address may have.
    for (let left = connections; left > 0; left -= 50) {
      await Promise.all(Array.from({ length: Math.min(50, left) }, visit));
    }
    const cpuMs = ((child.cpuSeconds() - cpuBefore) / connections) * 1000;
    return { connections, bytes, before, peak: residentMegabytes(child.pid).peak, cpuMs };
  } finally {
    endpoint.agent.destroy();
    await child.stop();
  }
}

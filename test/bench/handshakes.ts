// Handshakes per second of CPU time of the library beside node:tls with a CA file: mTLS, client and server in this process.
// CPU time, since other work on the machine changes it least.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { exactly } from '../../workload/authorize.ts';
import { createTlsClient } from '../../workload/tls-client.ts';
import { createMtlsServer } from '../../workload/tls-server.ts';
import { openX509Source } from '../../workload/x509-source.ts';
import { makeCa } from '../spiffe/pki/authorities.ts';
import { credentialsFor, newVolume } from '../workload/credentials.ts';
import { median } from './statistics.ts';

const id = 'spiffe://example.org/ns/shop/sa/web';
const parallel = 8;

interface Side {
  readonly server: tls.Server;
  readonly connect: (port: number) => tls.TLSSocket;
}

const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-handshakes-'));
try {
  const ca = await makeCa();
  const { keyPem, chainPem, pem } = await credentialsFor(id, ca);
  const onSocket = (socket: tls.TLSSocket) => void socket.resume().on('error', () => undefined);

  const context = { key: keyPem, cert: chainPem, ca: ca.pem };
  const secureContext = tls.createSecureContext(context);
  const bare: Side = {
    server: tls.createServer({ ...context, requestCert: true }, onSocket),
    connect: (port) =>
      tls.connect({ host: '127.0.0.1', port, secureContext, checkServerIdentity: () => undefined }),
  };

  await using source = await openX509Source(
    newVolume(folder, { 'credentials.pem': pem, 'roots.pem': ca.pem }),
  );
  const authorize = exactly(id);
  const client = createTlsClient({ source, authorize });
  const library: Side = {
    server: createMtlsServer((options) => tls.createServer(options, onSocket), { source, authorize }),
    connect: (port) => client.connect({ host: '127.0.0.1', port }),
  };

  for (const { server } of [bare, library]) await once(server.listen(0, '127.0.0.1'), 'listening');
  for (const side of [bare, library]) await perCpuSecond(side, 300);
  const rounds: { bare: number; library: number; ratio: number }[] = [];
  for (let count = 0; count < Number(process.argv[2] ?? 12); count++) {
    const before = await perCpuSecond(bare, 200);
    const ours = await perCpuSecond(library, 200);
    const behind = await perCpuSecond(bare, 200);
    rounds.push({ bare: (before + behind) / 2, library: ours, ratio: (2 * ours) / (before + behind) });
  }
  const middle = (name: 'bare' | 'library' | 'ratio') => median(rounds.map((round) => round[name]));
  console.log(
    `node:tls ${middle('bare').toFixed(0)}/s of CPU, library ${middle('library').toFixed(0)}/s of CPU, ratio ${middle('ratio').toFixed(2)}`,
  );
  for (const { server } of [bare, library]) server.close();
} finally {
  rmSync(folder, { recursive: true });
}

/** Handshakes per second of CPU time, of which some are under way at once. */
async function perCpuSecond({ server, connect }: Side, handshakes: number): Promise<number> {
  const { port } = server.address() as AddressInfo;
  const from = process.cpuUsage();
  let left = handshakes;
  const work = async () => {
    while (left-- > 0) {
      const socket = connect(port);
      // The server has finished when its first message comes, or its end.
      await once(socket, 'secureConnect');
      socket.end();
      await once(socket.resume(), 'close');
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  const { user, system } = process.cpuUsage(from);
  return (handshakes * 1_000_000) / (user + system);
}

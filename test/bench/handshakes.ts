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
import { serveCalls } from './worker.ts';

const id = 'spiffe://example.org/ns/shop/sa/web';
const parallel = 8;

interface Side {
  readonly server: tls.Server;
  readonly connect: (port: number) => tls.TLSSocket;
}

/** Handshakes per second of CPU of node:tls and of the library, and the ratio within a round; medians. */
export interface HandshakeRates {
  readonly bare: number;
  readonly library: number;
  readonly ratio: number;
}

const calls = {
  measure: async ({
    rounds,
    handshakes,
  }: {
    rounds: number;
    handshakes: number;
  }): Promise<HandshakeRates> => {
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
      for (const side of [bare, library]) await perCpuSecond(side, handshakes);
      const measured: HandshakeRates[] = [];
      while (measured.length < rounds) {
        const before = await perCpuSecond(bare, handshakes);
        const ours = await perCpuSecond(library, handshakes);
        const mean = (before + (await perCpuSecond(bare, handshakes))) / 2;
        measured.push({ bare: mean, library: ours, ratio: ours / mean });
      }
      for (const { server } of [bare, library]) server.close();
      const middle = (name: keyof HandshakeRates) => median(measured.map((round) => round[name]));
      return { bare: middle('bare'), library: middle('library'), ratio: middle('ratio') };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};
export type HandshakeCalls = typeof calls;

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

serveCalls(calls);

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { type ConnectionOptions, connect, createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { clientCertificateTls, peerCertificate } from '../../../signer/token/http/client-tls.ts';
import { aCertificate, authoritiesOfAllStates } from '../caller/client-certificates.ts';

const now = Math.floor(Date.now() / 1000);
const credentials = await aCertificate({
  authorities: await authoritiesOfAllStates(now),
  namespace: 'shop',
  serviceAccount: { name: 'web', uid: 'sa-uid' },
  pod: { name: 'web-0', uid: 'pod-uid' },
  now,
});

/** What the server finds at its end of each connection: a certificate, none, or the code of a refusal. */
async function aServer(options: TlsOptions) {
  const server = createServer({ ...credentials, ...clientCertificateTls, ...options });
  const seen: string[] = [];
  server.on('secureConnection', (socket) => {
    const found = peerCertificate(socket);
    seen.push(found.ok ? (found.value ? 'certificate' : 'none') : found.code);
    socket.end('bye');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  /** Connects, reads to the end, and returns the session for a later one. */
  async function visit(more: ConnectionOptions): Promise<{ session: Buffer | undefined; resumed: boolean }> {
    const socket: TLSSocket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...more });
    let session: Buffer | undefined;
    socket.on('session', (given) => {
      session = given;
    });
    await once(socket, 'secureConnect');
    const resumed = socket.isSessionReused();
    socket.resume();
    await once(socket, 'close');
    return { session: session ?? socket.getSession(), resumed };
  }
  return { visit, seen, stop: () => server.close() };
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const versions = { minVersion: version, maxVersion: version };

  describe(`the certificate of a client, ${version}`, () => {
    it('the certificate of a client is known only if it came with the handshake', async () => {
      const { visit, seen, stop } = await aServer(versions);
      await visit({});
      await visit(credentials);
      stop();
      assert.deepEqual(seen, ['none', 'certificate']);
    });

    it('the certificate of a client cannot come with a resumed session, because there are none', async () => {
      const { visit, seen, stop } = await aServer(versions);
      const { session } = await visit(credentials);
      const again = await visit({ session });
      stop();
      assert.equal(again.resumed, false);
      assert.deepEqual(seen, ['certificate', 'none']);
    });

    it('the certificate of a client is refused if a session is resumed after all', async () => {
      const { visit, seen, stop } = await aServer({ ...versions, secureOptions: 0 });
      const { session } = await visit(credentials);
      const again = await visit({ session });
      stop();
      assert.equal(again.resumed, true);
      assert.deepEqual(seen, ['certificate', 'SessionResumed']);
    });
  });
}

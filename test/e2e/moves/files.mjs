// A program that has tls.crt, tls.key and ca.crt in FOLDER, as csi-driver-spiffe writes them. It serves with them, and calls PEER
// with them, each time on a new connection. A line in LOG says what came of each call.
import { once } from 'node:events';
import { appendFileSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { connect, createServer } from 'node:tls';

const { FOLDER, LOG, PEER, PEER_IDS, HOSTNAME } = process.env;
const read = (name) => readFileSync(`${FOLDER}/${name}`);
const files = () => ({ key: read('tls.key'), cert: read('tls.crt'), ca: read('ca.crt') });
const isPeer = ({ subjectaltname: names }) =>
  PEER_IDS.split(' ').some((id) => names.split(', ').includes(`URI:${id}`));

const server = createServer({ ...files(), requestCert: true }, (socket) =>
  isPeer(socket.getPeerCertificate()) ? socket.on('error', () => {}).pipe(socket) : socket.destroy(),
);
setInterval(() => server.setSecureContext(files()), 500);
server.listen(8443);
process.on('SIGTERM', () => process.exit(0));

for (;;) {
  const checkServerIdentity = (_, certificate) =>
    isPeer(certificate) ? undefined : new Error(`the server is ${certificate.subjectaltname}`);
  const line = { pod: HOSTNAME };
  const socket = connect({ host: PEER, port: 8443, ...files(), checkServerIdentity });
  const signal = AbortSignal.timeout(30_000);
  try {
    await once(socket, 'secureConnect', { signal });
    line.peer = socket.getPeerCertificate().issuer.CN;
    socket.write('x');
    await once(socket, 'data', { signal });
  } catch (error) {
    line.failed = error.message;
  }
  socket.destroy();
  appendFileSync(LOG, `${JSON.stringify(line)}\n`);
  await setTimeout(100);
}

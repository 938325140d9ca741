// A workload of one cluster that serves and calls the workload of another one: by the files of its volume, and by its Workload
// API. Each call is a new connection. Prints what came of them, as one line of JSON every half second.
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { createServer } from 'node:tls';
import { exactly } from '/app/workload/authorize.js';
import { openBundleSource } from '/app/workload/bundle-source.js';
import { createTlsClient } from '/app/workload/tls-client.js';
import { createMtlsServer } from '/app/workload/tls-server.js';
import { connectX509Source } from '/app/workload/workload-api.js';
import { openX509Source } from '/app/workload/x509-source.js';

const { BUNDLES, OTHER_ID, OTHER_HOST, REST_MS = '100' } = process.env;
const authorize = exactly(OTHER_ID);

const files = await openX509Source('/run/spiffe');
const bundles = await openBundleSource('/run/spiffe', JSON.parse(BUNDLES));
const api = await connectX509Source('unix:///run/workload-api/socket');
const forms = [
  { name: 'files', port: 8443, identity: { source: files, bundles, authorize } },
  { name: 'api', port: 8444, identity: { source: api, authorize } },
];

const report = {};
for (const { name, port, identity } of forms) {
  report[name] = { answered: 0, failed: [], peerIssuer: '' };
  createMtlsServer(
    (tls) => createServer(tls, (socket) => socket.on('error', () => {}).pipe(socket)),
    identity,
  )
    .on('tlsClientError', (error) => console.error(error.message))
    .listen(port);
  void call(report[name], createTlsClient(identity), port);
}
setInterval(() => console.log(JSON.stringify(report)), 500);

async function call(to, client, port) {
  let said = '';
  for (;;) {
    const socket = client.connect({ host: OTHER_HOST, port });
    const signal = AbortSignal.timeout(30_000);
    try {
      await once(socket, 'secureConnect', { signal });
      socket.write('x');
      await once(socket, 'data', { signal });
      to.answered += 1;
      to.peerIssuer = socket.getPeerCertificate().issuer.CN;
    } catch (error) {
      if (to.answered > 0) to.failed.push(error.message);
      // Before the first answer, the other one may not be there yet.
      else if (error.message !== said) {
        said = error.message;
        console.error(`call to ${OTHER_HOST}:${port}: ${said}`);
      }
    }
    socket.destroy();
    await setTimeout(Number(REST_MS));
  }
}

// An HTTPS server with a certificate that kubelet renews. With ROOTS it requires a client certificate under them, and
// answers only the client whose SPIFFE ID is CLIENT_ID.
import { readFileSync, watchFile } from 'node:fs';
import { createServer } from 'node:https';

const { CREDENTIALS, ROOTS, CLIENT_ID } = process.env;

function credentials() {
  const pem = readFileSync(CREDENTIALS);
  const own = { key: pem, cert: pem, minVersion: 'TLSv1.3' };
  return ROOTS ? { ...own, ca: readFileSync(ROOTS), requestCert: true } : own;
}

const server = createServer(credentials(), (request, response) => {
  const client = ROOTS ? request.socket.getPeerCertificate().subjectaltname : undefined;
  if (client !== undefined && client !== `URI:${CLIENT_ID}`) {
    response.writeHead(403).end(`this server does not know ${client}\n`);
    return;
  }
  response.end(`hello ${client ?? 'anybody'}\n`);
});
// New connections use the new files; open ones keep the old certificate.
for (const file of [CREDENTIALS, ROOTS]) {
  if (file) watchFile(file, { interval: 10_000 }, () => server.setSecureContext(credentials()));
}
server.listen(8443, () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));

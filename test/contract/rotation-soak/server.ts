// Answers shop/api over mTLS, with the certificate in its folder.
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { exactly } from '../../../workload/authorize.ts';
import { createMtlsServer } from '../../../workload/tls-server.ts';
import { openX509Source } from '../../../workload/x509-source.ts';
import { createReport } from './report.ts';

/** Milliseconds. A connection that the server closes just when a request comes would be a failure of HTTP, not of TLS. */
const keepAliveTimeout = 120_000;
const { SPIFFE_CREDENTIALS = '', SPIFFE_TRUST_DOMAIN } = process.env;
const source = await openX509Source(SPIFFE_CREDENTIALS);
const report = createReport(source);
const server = createMtlsServer(
  (tls) =>
    createServer({ ...tls, keepAliveTimeout }, (_request, response) => {
      report.answered();
      response.end('hello');
    }),
  { source, authorize: exactly(`spiffe://${SPIFFE_TRUST_DOMAIN}/ns/shop/sa/api`) },
);
server.on('tlsClientError', report.failed);
server.listen(0, '127.0.0.1', () => console.log(`port ${(server.address() as AddressInfo).port}`));
process.once('SIGTERM', () => process.exit());

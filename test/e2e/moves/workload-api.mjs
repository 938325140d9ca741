// A program that has its identity from the Workload API at SPIFFE_ENDPOINT_SOCKET. Its server is on our library, its client is
// go-spiffe, which asks the Workload API for each call to PEER. A line in LOG says what came of each call.
import { execFile } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';
import { oneOf } from '/app/workload/authorize.js';
import { createMtlsServer } from '/app/workload/tls-server.js';
import { connectX509Source } from '/app/workload/workload-api.js';

const { GO_SPIFFE, LOG, PEER, PEER_IDS, HOSTNAME, SPIFFE_ENDPOINT_SOCKET: socket } = process.env;
const ids = PEER_IDS.split(' ');
const run = promisify(execFile);

createMtlsServer(
  (tls) => createServer(tls, (connection) => connection.on('error', () => {}).pipe(connection)),
  { source: await connectX509Source(socket), authorize: oneOf(ids) },
)
  .on('tlsClientError', (error) => console.error(error.message))
  .listen(8443);
process.on('SIGTERM', () => process.exit(0));

for (;;) {
  const line = { pod: HOSTNAME };
  try {
    const { stdout } = await run(GO_SPIFFE, [
      'mtls-peer',
      '--workload-api',
      socket,
      '--address',
      `${PEER}:8443`,
    ]);
    line.peer = JSON.parse(stdout).facts.saw;
    if (!ids.includes(line.peer)) throw new Error(`the server is ${line.peer}`);
  } catch (error) {
    line.failed = `${error.message} ${error.stdout ?? ''}`;
  }
  appendFileSync(LOG, `${JSON.stringify(line)}\n`);
  await setTimeout(100);
}

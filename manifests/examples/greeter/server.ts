// Greets the clients whose SPIFFE IDs are in CLIENT_IDS, separated by blanks.
import { createServer } from 'node:tls';
import { type handleUnaryCall, Server, ServerCredentials } from '@grpc/grpc-js';
import { oneOf } from 'kubespiffe/authorize';
import { peerIdOf } from 'kubespiffe/tls-peer';
import { createMtlsServer } from 'kubespiffe/tls-server';
import { Greeter, type HelloReply, type HelloRequest, openIdentity } from './service.ts';

const { CLIENT_IDS = '', PORT = '8443', CONNECTION_AGE_MS = '5000' } = process.env;
const source = await openIdentity();

const sayHello: handleUnaryCall<HelloRequest, HelloReply> = (call, done) => {
  const { name } = call.request;
  console.log(`${peerIdOf(call)?.uri} asked ${source.svid.id.uri} to greet ${JSON.stringify(name)}`);
  done(null, { message: `Hello ${name}` });
};

// A renewed certificate is used by new connections. A client makes one when this age is reached, so no connection
// outlives the certificates of its two ends for long.
const grpc = new Server({ 'grpc.max_connection_age_ms': Number(CONNECTION_AGE_MS) });
grpc.addService(Greeter.service, { SayHello: sayHello });
const connections = grpc.createConnectionInjector(ServerCredentials.createInsecure());
const server = createMtlsServer(
  (tls) => createServer({ ...tls, ALPNProtocols: ['h2'] }, (socket) => connections.injectConnection(socket)),
  { source, authorize: oneOf(CLIENT_IDS.split(' ')) },
);
server.on('tlsClientError', (error: NodeJS.ErrnoException) => {
  // The readiness probe of kubelet connects and goes away each second.
  if (error.code !== 'ECONNRESET') console.error(error.message);
});
server.listen(Number(PORT), () => console.log(`listening on port ${PORT}`));
process.on('SIGTERM', () => process.exit(0));

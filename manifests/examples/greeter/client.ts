// Asks the server at SERVER, whose SPIFFE ID must be SERVER_ID, for a greeting, again every INTERVAL_MS.
import { setTimeout } from 'node:timers/promises';
import { credentials } from '@grpc/grpc-js';
import { exactly } from 'kubespiffe/authorize';
import { createTlsClient } from 'kubespiffe/tls-client';
import { Greeter, type HelloReply, openIdentity } from './service.ts';

const { SERVER = '', SERVER_ID = '', INTERVAL_MS = '1000' } = process.env;
const source = await openIdentity();
const tls = createTlsClient({ source, authorize: exactly(SERVER_ID) });
const greeter = new Greeter(SERVER, credentials.createFromSecureContext(...tls.grpcCredentials()));

function sayHello(name: string): Promise<HelloReply> {
  const deadline = Date.now() + 30_000;
  return new Promise((resolve, reject) =>
    greeter.SayHello({ name }, { deadline }, (error, reply) => (reply ? resolve(reply) : reject(error))),
  );
}

process.on('SIGTERM', () => process.exit(0));
for (let count = 1; ; count += 1) {
  try {
    const { message } = await sayHello(`number ${count}`);
    console.log(`${SERVER_ID} answered ${source.svid.id.uri}: ${message}`);
  } catch (error) {
    console.error(`request ${count} failed: ${(error as Error).message}`);
  }
  await setTimeout(Number(INTERVAL_MS));
}

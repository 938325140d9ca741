// Asks shop/web again and again over mTLS, with the certificate of its Workload API: on one connection that stays open, and
// on a new one each time.
import { once } from 'node:events';
import { type Agent, get } from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { exactly } from '../../../workload/authorize.ts';
import { createTlsClient } from '../../../workload/tls-client.ts';
import { connectX509Source } from '../../../workload/workload-api.ts';
import { createReport } from './report.ts';

/** Between two requests of a loop, in milliseconds. */
const restMs = 10;
const { PORT = '', SPIFFE_ENDPOINT_SOCKET, SPIFFE_TRUST_DOMAIN } = process.env;
const source = await connectX509Source(SPIFFE_ENDPOINT_SOCKET);
const report = createReport(source);
const client = createTlsClient({
  source,
  authorize: exactly(`spiffe://${SPIFFE_TRUST_DOMAIN}/ns/shop/sa/web`),
});

async function loop(agent: Agent): Promise<void> {
  for (;;) {
    try {
      const [response] = await once(get(`https://127.0.0.1:${PORT}`, { agent }), 'response');
      if ((await text(response)) === 'hello') report.answered();
      else report.failed(new Error('the answer is not whole'));
    } catch (error) {
      report.failed(error as Error);
    }
    await sleep(restMs);
  }
}

process.once('SIGTERM', () => process.exit());
await Promise.all([
  loop(client.httpsAgent({ keepAlive: true, maxSockets: 1 })),
  loop(client.httpsAgent({ keepAlive: false })),
]);

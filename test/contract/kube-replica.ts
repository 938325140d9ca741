import { loadCredentials } from '../../signer/kube/credentials.ts';
import { createMembership } from '../../signer/kube/membership.ts';
import { realTime } from '../../signer/kube/time.ts';
import { createTransport } from '../../signer/kube/transport.ts';

// A replica that does nothing but be one: for a test that kills it. Ends well on SIGTERM.
const [kubeconfig = '', self = ''] = process.argv.slice(2);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const transport = createTransport({
  time: realTime,
  credentials: await loadCredentials({ time: realTime, kubeconfig, env: {} }),
});
const membership = createMembership({
  transport,
  namespace: 'default',
  self,
  time: realTime,
  log: { warn: () => undefined, debug: () => undefined },
});
await membership.run(stop.signal);
await transport.close();

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeProgramImage } from '../cluster/image.ts';
import { podLog, waitForPod } from '../cluster/pods.ts';
import { type Installation, trustDomain } from './installation.ts';
import { followBelow, type Reader } from './reader.ts';

/** The images that the examples name, as kubelet reads the names: here they have the programs of this machine. */
const images = {
  'docker.io/library/nginx:1.22': {
    name: 'nginx',
    file: '/usr/sbin/nginx',
    modules: ['/usr/share/nginx/modules/ngx_http_js_module.so'],
  },
  'docker.io/library/haproxy:2.6': { name: 'haproxy', file: '/usr/sbin/haproxy' },
  'docker.io/library/redis:7.0': { name: 'redis-server', file: '/usr/bin/redis-server' },
};

/** The pods of the examples, and what the log of their helper has after a renewal. */
export const servers = {
  nginx: /^sent SIGHUP to process/m,
  haproxy: /^sent SIGUSR2 to process/m,
  redis: /^wrote [\s\S]*^ran node$/m,
};

/** The commands that create them. */
const pages = [
  ['docs/guides/nginx.md', 'nginx: X509-SVIDs on both sides'],
  ['docs/guides/haproxy-redis.md', 'HAProxy'],
  ['docs/guides/haproxy-redis.md', 'Redis'],
] as const;

/** Asks over a new connection each time. Accepts the server by its SPIFFE ID, and prints a line for each request. */
const clientScript = `
import { get } from 'node:https';
import { setTimeout } from 'node:timers/promises';
import { exactly } from '/app/workload/authorize.js';
import { createTlsClient } from '/app/workload/tls-client.js';
import { openX509Source } from '/app/workload/x509-source.js';

const source = await openX509Source('/run/spiffe');
source.events.on('update', () => console.log('renewed'));
const agent = createTlsClient({
  source,
  authorize: exactly('spiffe://${trustDomain}/ns/default/sa/default'),
}).httpsAgent();
const ask = () =>
  new Promise((resolve, reject) => {
    get(process.env.URL, { agent }, async (response) =>
      resolve(\`\${response.statusCode} \${(await response.toArray()).join('').trim()}\`),
    ).on('error', reject);
  });
for (;;) {
  console.log(await ask().catch((error) => \`failed: \${error.message}\`));
  await setTimeout(200);
}`;

/** The pods of the pages, and the client that nginx accepts, once they run. */
export async function applyServers(
  { controlPlane, node, createNamespace }: Installation,
  reader: Reader,
): Promise<void> {
  for (const [image, program] of Object.entries(images)) {
    const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-image-'));
    await node.importImage(await makeProgramImage(image, program, folder));
    await rm(folder, { recursive: true });
  }
  for (const [page, heading] of pages) await followBelow(reader, controlPlane, page, heading);
  await createNamespace('shop', ['web']);
  for (const name of Object.keys(servers)) await waitForPod(controlPlane, { namespace: 'default', name });
  const { body } = await controlPlane.request('GET', '/api/v1/namespaces/default/pods/nginx');
  const pod = client(`https://${body.status.podIP}:8443/`, body.spec.volumes);
  const created = await controlPlane.request('POST', '/api/v1/namespaces/shop/pods', pod);
  if (created.status !== 201) throw new Error(JSON.stringify(created.body));
  await waitForPod(controlPlane, { namespace: 'shop', name: 'web' });
}

/** A pod with the same volume of credentials. */
function client(url: string, volumes: readonly { readonly name: string }[]) {
  return {
    metadata: { name: 'web' },
    spec: {
      serviceAccountName: 'web',
      securityContext: { runAsUser: 65532, fsGroup: 65532 },
      containers: [
        {
          name: 'main',
          image: 'kubespiffe.io/kubespiffe:dev',
          command: ['node', '--input-type=module', '--eval', clientScript],
          env: [{ name: 'URL', value: url }],
          volumeMounts: [{ name: 'spiffe', mountPath: '/run/spiffe' }],
        },
      ],
      volumes: volumes.filter(({ name }) => name === 'spiffe'),
    },
  };
}

/** What the client printed so far. */
export async function nginxAnswers({ controlPlane }: Installation): Promise<string[]> {
  return (await podLog(controlPlane, { namespace: 'shop', name: 'web' })).trim().split('\n');
}

/** What the helper in a pod has logged. */
export async function helperLog({ controlPlane }: Installation, pod: string): Promise<string> {
  return podLog(controlPlane, { namespace: 'default', name: pod }, { container: 'helper' });
}

/** What kubelet and the containers of a pod report. */
export async function serverState({ controlPlane }: Installation, pod: string): Promise<string> {
  const where = ['--namespace', 'default', pod];
  const seen = [
    controlPlane.kubectl(['describe', 'pod', ...where]),
    controlPlane.kubectl(['logs', '--all-containers', '--prefix', ...where]),
  ];
  return (await Promise.all(seen.map((text) => text.catch(String)))).join('\n');
}

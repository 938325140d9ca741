import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeProgramImage } from '../cluster/image.ts';
import { waitForPod } from '../cluster/pods.ts';
import { type Installation, trustDomain } from './installation.ts';

const example = join(import.meta.dirname, '../../manifests/examples/servers/nginx');
/** The image that the example names, as kubelet reads the name: here it has the nginx of this machine. */
const image = 'docker.io/library/nginx:1.22';
const program = {
  name: 'nginx',
  file: '/usr/sbin/nginx',
  modules: ['/usr/share/nginx/modules/ngx_http_js_module.so'],
};

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

/** The pod of manifests/examples/servers/nginx as it stands there, and the client that it accepts, once it runs. */
export async function applyNginx({ controlPlane, node, createNamespace }: Installation): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-nginx-'));
  await node.importImage(await makeProgramImage(image, program, folder));
  await rm(folder, { recursive: true });
  await controlPlane.kubectl(['apply', '--kustomize', example]);
  await createNamespace('shop', ['web']);
  const server = { namespace: 'default', name: 'nginx' };
  await waitForPod(controlPlane, server);
  const { body } = await controlPlane.request('GET', '/api/v1/namespaces/default/pods/nginx');
  const { spec, metadata } = client(`https://${body.status.podIP}:8443/`, body.spec.volumes);
  const created = await controlPlane.request('POST', '/api/v1/namespaces/shop/pods', { metadata, spec });
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
  return (await controlPlane.kubectl(['logs', '--namespace', 'shop', 'web'])).trim().split('\n');
}

/** What the helper has logged. */
export async function helperLog({ controlPlane }: Installation): Promise<string> {
  return controlPlane.kubectl(['logs', '--namespace', 'default', '--container', 'helper', 'nginx']);
}

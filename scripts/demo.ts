// Two pods on a real Kubernetes get their SPIFFE certificates, and one of them a JWT-SVID for the other. curl calls a server by
// the DNS name of its Service. A gRPC client and server know the SPIFFE IDs of each other, and none of their requests fails while
// their certificates are renewed and the CA is replaced. A registration gives a pod another name, which it has after its next refresh.
import { join } from 'node:path';
import { runCommand } from '../test/cluster/command.ts';
import { waitFor } from '../test/cluster/process.ts';
import { defaultVersion } from '../test/cluster/versions.ts';
import { clusterChoices } from '../test/e2e/clusters.ts';
import { fetchBundle, fetchToken, runCommandPod } from '../test/e2e/command-pod.ts';
import {
  answersOfNewConnection,
  applyGreeter,
  greeterClientId,
  greeterClients,
  greeterPods,
  greeterServerId,
  lineOf,
} from '../test/e2e/greeter.ts';
import { type Installation, install, trustDomain } from '../test/e2e/installation.ts';
import { answerIn, applyMesh } from '../test/e2e/mesh.ts';
import { registerApp } from '../test/e2e/registration.ts';
import { type Held, readHeld, startWorkload, type WorkloadName } from '../test/e2e/workload.ts';
import { openJudges } from '../test/judges/judges.ts';
import { describeCertificate, serialOf } from './demo/certificate.ts';
import { card, show, step, withHeartbeat } from './demo/output.ts';
import { describeToken, describeVerdict } from './demo/token.ts';

const web = { namespace: 'shop', name: 'web', serviceAccount: 'web', labels: { app: 'web' } };
const ledger = { namespace: 'payments', name: 'ledger', serviceAccount: 'ledger' };
type Pod = WorkloadName;

const judges = await openJudges();
const [choice] = clusterChoices(defaultVersion);
if (!choice) throw new Error(`no cluster of version ${defaultVersion}`);
/** How long a root must be published before it signs. All pods of the demo are younger than the root of the next CA. */
const propagationDelay = '10s';
const installation = await install(choice, {
  components: ['token-endpoint', 'service-dns', 'rotation'],
  settings: [`KUBESPIFFE_ROOT_PROPAGATION_DELAY=${propagationDelay}`],
  report: step,
});
process.on('SIGINT', () => void installation.stop().then(() => process.exit(130)));
try {
  await showSigner(installation);
  await nextCaPublished(installation);
  await applyMesh(installation.controlPlane);
  await applyGreeter(installation.controlPlane);
  const held = await showCertificates(installation);
  await showToken(installation);
  await showServices(installation);
  await showGreeter(installation);
  await showRegistration(installation);
  await showRenewal(installation, held);
} finally {
  await installation.stop();
}
step('the cluster is gone again. `make cluster` leaves one running to try things on');

async function showSigner({ controlPlane }: Installation): Promise<void> {
  step(
    `kubespiffe runs on Kubernetes ${controlPlane.version}, with its token endpoint and the signer service-dns:`,
  );
  show(await controlPlane.kubectl(['get', 'pods', '--namespace', 'kubespiffe']));
}

/** The signer makes the next CA by itself, and every pod that starts from now on has its root too. */
async function nextCaPublished({ controlPlane }: Installation): Promise<void> {
  const path = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';
  await waitFor('the root of the next CA', async () => {
    const { body } = await controlPlane.request('GET', path);
    return body.spec?.trustBundle.split('BEGIN CERTIFICATE').length > 2;
  });
  step('the signer has made the next CA by itself and published its root: one is always in reserve');
}

async function showCertificates({ createNamespace }: Installation): Promise<Map<Pod, Held>> {
  step('starting two pods, each with a podCertificate volume of signer kubespiffe.io/spiffe');
  const held = new Map<Pod, Held>();
  for (const pod of [web, ledger]) {
    await createNamespace(pod.namespace, [pod.serviceAccount]);
    await startWorkload(installation, pod);
    held.set(pod, await readHeld(installation, pod));
  }
  for (const [pod, one] of held) show(describeCertificate(pod, one));
  return held;
}

/** A caller gets a token for its receiver, which fetches what verifies it: each in a pod that runs our command once. */
async function showToken(installation: Installation): Promise<void> {
  const audience = `spiffe://${trustDomain}/ns/${ledger.namespace}/sa/${ledger.serviceAccount}`;
  const outputOf = async (pod: Pod, suffix: string, args: readonly string[]) => {
    const name = `${pod.name}-${suffix}`;
    const { succeeded, output } = await runCommandPod(installation, { ...pod, name, args });
    if (!succeeded) throw new Error(`pod ${pod.namespace}/${name} failed:\n${output}`);
    return output.trim();
  };
  step('web gets a JWT-SVID for ledger with its projected ServiceAccount token, and ledger the bundle');
  const [token, bundle] = await withHeartbeat('waiting for their pods to end', () =>
    Promise.all([outputOf(web, 'token', fetchToken(audience)), outputOf(ledger, 'bundle', fetchBundle)]),
  );
  show(describeToken('pod shop/web-token', token));
  step('go-spiffe verifies the token by that bundle');
  show(await describeVerdict(judges, token, audience, { trustDomain, content: bundle }));
}

/** The clients of manifests/examples/mesh, each with the answer of its server. */
async function showServices({ controlPlane }: Installation): Promise<void> {
  step('three clients call three servers by the DNS names of their Services (manifests/examples/mesh)');
  const clients = [
    ['plain-client', 'curl --cacert roots.pem https://shop.mesh.svc/', 'no certificate of its own'],
    ['spiffe-client', 'https://orders.mesh.svc/', 'verifies the DNS name, shows its SPIFFE ID'],
    ['ledger-client', 'https://ledger.mesh.svc/', 'SPIFFE IDs on both sides'],
  ] as const;
  for (const [client, call, how] of clients) {
    const answer = await withHeartbeat(`waiting for ${client}`, () => answerIn(controlPlane, client));
    const facts = [
      ['calls', call],
      ['', how],
      ['answer', answer],
    ] as const;
    show(card(`pod mesh/${client}`, facts));
  }
}

/** The two forms of manifests/examples/greeter, by what their clients and servers log. */
async function showGreeter({ controlPlane }: Installation): Promise<void> {
  step(
    'gRPC with SPIFFE IDs on both sides: from files, and from a Workload API (manifests/examples/greeter)',
  );
  const starts = { client: `${greeterServerId} answered `, server: `${greeterClientId} asked ` };
  for (const form of ['', 'sidecar-']) {
    for (const [role, start] of Object.entries(starts)) {
      const line = await withHeartbeat(`waiting for ${form}${role}`, () =>
        lineOf(controlPlane, `${form}${role}`, start),
      );
      show(card(`pod greeter/${form}${role}`, [['log', line]]));
    }
  }
}

async function showRegistration({ controlPlane }: Installation): Promise<void> {
  step('registering the pods of shop with the label app=web under another name');
  show(await registerApp(controlPlane, web.namespace, web.labels.app));
  step('`kubespiffe explain pod shop/web` says what the pod gets now');
  show(await asAdmin(controlPlane, 'explain', 'pod', 'shop/web', '--signer', 'kubespiffe.io/spiffe'));
}

function asAdmin({ kubeconfig }: Installation['controlPlane'], ...args: string[]): Promise<string> {
  return runCommand(
    'env',
    `KUBECONFIG=${kubeconfig}`,
    join(import.meta.dirname, '../bin/kubespiffe'),
    ...args,
  );
}

async function showRenewal(installation: Installation, held: Map<Pod, Held>): Promise<void> {
  const { controlPlane, node } = installation;
  step('`kubespiffe ca rotate` lets the CA in reserve sign, while the greeter goes on');
  show(await installation.kubespiffe('ca', 'rotate', '--propagation-delay', propagationDelay));
  step(
    'restarting kubelet, which requests every certificate again: web gets its new name, from the new CA, and goes on running',
  );
  await node.restartKubelet();
  const renewed = await withHeartbeat('waiting for the files in the pods to change', () =>
    Promise.all([...held].map(async ([pod, before]) => ({ pod, before, after: await changed(pod, before) }))),
  );
  for (const { pod, before, after } of renewed) show(describeCertificate(pod, after, before));
  await showGreeterRenewal(installation);
  step('`kubespiffe ca status`: the life of each authority, and what comes next');
  show(
    await asAdmin(
      controlPlane,
      'ca',
      'status',
      '--max-lifetime',
      '24h',
      '--propagation-delay',
      propagationDelay,
    ),
  );
  show(await controlPlane.kubectl(['get', 'pods', '--all-namespaces']));
}

async function showGreeterRenewal({ controlPlane }: Installation): Promise<void> {
  step('the greeter has new certificates too, and opens new connections with them');
  await withHeartbeat('waiting for the renewals', () =>
    Promise.all(greeterPods.map((pod) => lineOf(controlPlane, pod, 'renewed: ', 180_000))),
  );
  const reports = await withHeartbeat('waiting for new connections', () =>
    Promise.all(greeterClients.map((client) => answersOfNewConnection(controlPlane, client))),
  );
  for (const [index, { answered, failed }] of reports.entries()) {
    const requests = `${answered} answered, ${failed.length} failed`;
    show(card(`pod greeter/${greeterClients[index]}`, [['requests', requests]]));
    if (failed.length > 0) throw new Error(failed.join('\n'));
  }
}

/** What the pod holds once its certificate is another one. */
function changed(pod: Pod, before: Held): Promise<Held> {
  return waitFor(
    `a new certificate in ${pod.namespace}/${pod.name}`,
    async () => {
      const held = await readHeld(installation, pod);
      return serialOf(held) !== serialOf(before) && held;
    },
    { timeoutMs: 180_000, everyMs: 1_000 },
  );
}

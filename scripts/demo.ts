// Two pods on a real Kubernetes get their SPIFFE certificates, one of them a JWT-SVID for the other, and both get new
// certificates when kubelet starts again.
import { waitFor } from '../test/cluster/process.ts';
import { defaultVersion } from '../test/cluster/versions.ts';
import { clusterChoices } from '../test/e2e/clusters.ts';
import { fetchBundle, fetchToken, runCommandPod } from '../test/e2e/command-pod.ts';
import { type Installation, install, trustDomain } from '../test/e2e/installation.ts';
import { type Held, readHeld, startWorkload } from '../test/e2e/workload.ts';
import { openJudges } from '../test/judges/judges.ts';
import { describeCertificate, serialOf } from './demo/certificate.ts';
import { show, step, withHeartbeat } from './demo/output.ts';
import { describeToken, describeVerdict } from './demo/token.ts';

const web = { namespace: 'shop', name: 'web', serviceAccount: 'web' };
const ledger = { namespace: 'payments', name: 'ledger', serviceAccount: 'ledger' };
type Pod = typeof web;

const judges = await openJudges();
const [choice] = clusterChoices(defaultVersion);
if (!choice) throw new Error(`no cluster of version ${defaultVersion}`);
const installation = await install(choice, { components: ['token-endpoint'], report: step });
process.on('SIGINT', () => void installation.stop().then(() => process.exit(130)));
try {
  await showSigner(installation);
  const held = await showCertificates(installation);
  await showToken(installation);
  await showRenewal(installation, held);
} finally {
  await installation.stop();
}
step('the cluster is gone again. `make cluster` leaves one running to try things on');

async function showSigner({ controlPlane }: Installation): Promise<void> {
  step(`kubespiffe runs on Kubernetes ${controlPlane.version}, with its token endpoint:`);
  show(await controlPlane.kubectl(['get', 'pods', '--namespace', 'kubespiffe']));
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

async function showRenewal({ controlPlane, node }: Installation, held: Map<Pod, Held>): Promise<void> {
  step('restarting kubelet: it asks for every certificate again, while the pods go on running');
  await node.restartKubelet();
  const renewed = await withHeartbeat('waiting for the files in the pods to change', () =>
    Promise.all([...held].map(async ([pod, before]) => ({ pod, before, after: await changed(pod, before) }))),
  );
  for (const { pod, before, after } of renewed) show(describeCertificate(pod, after, before));
  show(await controlPlane.kubectl(['get', 'pods', '--all-namespaces']));
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

// Two pods on a real Kubernetes get their SPIFFE certificates, and new ones when kubelet starts again.
import { X509Certificate } from 'node:crypto';
import { waitFor } from '../test/cluster/process.ts';
import { defaultVersion } from '../test/cluster/versions.ts';
import { clusterChoices } from '../test/e2e/clusters.ts';
import { type Installation, install } from '../test/e2e/installation.ts';
import { type Held, readHeld, startWorkload } from '../test/e2e/workload.ts';

const started = Date.now();
const pods = [
  { namespace: 'shop', name: 'web', serviceAccount: 'web' },
  { namespace: 'payments', name: 'ledger', serviceAccount: 'ledger' },
];

const [choice] = clusterChoices(defaultVersion);
if (!choice) throw new Error(`no cluster of version ${defaultVersion}`);
const installation = await install(choice, { report: step });
process.on('SIGINT', () => void installation.stop().then(() => process.exit(130)));
try {
  await show(installation);
} finally {
  await installation.stop();
}
step('the cluster is gone again. `make cluster` leaves one running to try things on');

async function show({ controlPlane, node, createNamespace }: Installation): Promise<void> {
  step(`kubespiffe runs on Kubernetes ${choice?.version}, as manifests/base has it:`);
  console.log(indent(await controlPlane.kubectl(['get', 'pods', '--namespace', 'kubespiffe'])));

  step('starting two pods, each with a podCertificate volume of signer kubespiffe.io/spiffe');
  for (const pod of pods) {
    await createNamespace(pod.namespace, [pod.serviceAccount]);
    await startWorkload(installation, pod);
  }
  const before = await Promise.all(pods.map((pod) => readHeld(installation, pod)));
  for (const [index, pod] of pods.entries()) console.log(describe(pod, before[index]));

  step('restarting kubelet: it asks for every certificate again, while the pods go on running');
  await node.restartKubelet();
  const after = await withHeartbeat('waiting for the files in the pods to change', () =>
    Promise.all(pods.map((pod, index) => changed(pod, before[index]))),
  );
  for (const [index, pod] of pods.entries()) console.log(describe(pod, after[index], before[index]));
  console.log(indent(await controlPlane.kubectl(['get', 'pods', '--all-namespaces'])));
}

/** What the pod holds once its certificate is another one. */
function changed(pod: (typeof pods)[number], before: Held | undefined): Promise<Held> {
  return waitFor(
    `a new certificate in ${pod.namespace}/${pod.name}`,
    async () => {
      const held = await readHeld(installation, pod);
      return chainOf(held)[0]?.serialNumber !== (before && chainOf(before)[0]?.serialNumber) && held;
    },
    { timeoutMs: 180_000, everyMs: 1_000 },
  );
}

function describe(pod: (typeof pods)[number], held: Held | undefined, before?: Held): string {
  if (!held) return '';
  const chain = chainOf(held);
  const [leaf] = chain;
  if (!leaf) throw new Error(`pod ${pod.name} holds no certificate`);
  const last = chain.at(-1) ?? leaf;
  const root = certificatesIn(held.roots).find((candidate) => last.checkIssued(candidate));
  const proven =
    root && last.verify(root.publicKey) ? 'verified against the projected roots' : 'NOT VERIFIED';
  const old = before && chainOf(before)[0]?.serialNumber.toLowerCase();
  return indent(
    [
      `pod ${pod.namespace}/${pod.name}`,
      `  SPIFFE ID  ${leaf.subjectAltName?.replace('URI:', '')}`,
      `  serial     ${leaf.serialNumber.toLowerCase()}${old ? `   (was ${old})` : ''}`,
      `  valid      ${leaf.validFromDate.toISOString()} to ${leaf.validToDate.toISOString()}`,
      `  key        ${leaf.publicKey.asymmetricKeyType} ${leaf.publicKey.asymmetricKeyDetails?.namedCurve ?? ''}`,
      `  chain      leaf <- ${root ? oneLine(root.subject) : 'no root'} (${proven})`,
      '',
    ].join('\n'),
  );
}

/** Leaf first. The private key before it is not touched. */
function chainOf(held: Held): X509Certificate[] {
  return certificatesIn(held.credentials.ECDSAP256 ?? '');
}

function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

async function withHeartbeat<T>(sentence: string, work: () => Promise<T>): Promise<T> {
  const since = Date.now();
  const timer = setInterval(() => step(`${sentence}: ${Math.round((Date.now() - since) / 1000)} s`), 5_000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

function step(line: string): void {
  console.log(`${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${line}`);
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '        ');
}

function oneLine(name: string): string {
  return name.split('\n').join(', ');
}

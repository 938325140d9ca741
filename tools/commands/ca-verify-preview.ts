import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Option } from 'commander';
import {
  markVerified,
  previewed,
  testCertificate,
  testCertificateSeconds,
} from '../../signer/authority/preview.ts';
import { keysOf } from '../../signer/keys/new-key.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { withApi } from '../api.ts';
import { get } from '../cluster/get.ts';
import { readSignerContainer, usualDeployment } from '../cluster/signer-settings.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { CliError, poolInvalid } from '../errors.ts';
import { type OutputOptions, outputOption, printObject } from '../output.ts';
import { readClusterRoots } from '../pool/cluster-roots.ts';
import { type KeyRefOptions, withNewKey, withPkcs11 } from '../pool/key-ref.ts';
import { type ChangeOptions, changePool, readPool, withChange } from '../pool/pool-change.ts';
import { previewJob } from '../pool/preview-job.ts';
import { recordSigned } from '../pool/signed-until.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ChangeOptions, KeyRefOptions, OutputOptions {
  signerDeployment: string;
  image?: string;
  timeout: string;
}

interface Job {
  metadata: { name: string };
  status?: { conditions?: { type: string; status: string; message?: string }[] };
}

/** `kubespiffe ca verify-preview`: whether a pod with the preview bundle verifies what the next CA signs. */
export const caVerifyPreview: AddCommand = (parent, terminal) =>
  addCommand(parent, 'verify-preview', {
    description:
      'Let a pod verify a test certificate of a CA that is in preview.\n\n' +
      'Signs a certificate that is valid for 15 minutes, discards its key, and starts a Job that projects the\n' +
      'preview bundle and verifies it. The result is recorded in the pool. With the setting caPreviewVerified a rotation\n' +
      'goes on only then.',
    examples: `
    # Test the next CA before every pod gets its root
    kubespiffe ca preview ca-2
    kubespiffe ca verify-preview ca-2
    kubespiffe ca trust ca-2

    # Only the manifest of the Job
    kubespiffe ca verify-preview ca-2 -o yaml`,
    options: [withChange, withPkcs11],
  })
    .argument('<authority>', 'Id of the CA, as `kubespiffe ca status` shows it.')
    .addOption(
      new Option(
        '--signer-deployment <namespace/name>',
        'Deployment of the signer, whose image the Job has.',
      ).default(usualDeployment),
    )
    .option('--image <image>', 'Image with this command for the Job. (default: that of the signer)')
    .option('--timeout <duration>', 'How long to wait for the pod.', '10m')
    .addOption(outputOption())
    .action((authority: string, options: Options) => verify(terminal, options, authority));

async function verify(terminal: Terminal, options: Options, authority: string): Promise<void> {
  const timeoutSeconds = Math.min(parseSeconds(options.timeout, '--timeout'), testCertificateSeconds);
  const { document, facts } = await readPool(options, terminal);
  const { trustDomain } = document;
  const record = previewed(document, authority);
  if ('ok' in record) throw poolInvalid(record.what, record.remedy);
  const isDry = options.dryRun === 'server';
  await withApi({ ...options, role: 'Role kubespiffe-preview-verifier' }, terminal, async (api) => {
    const ends = { trustDomain, now: facts.now, until: facts.now + testCertificateSeconds };
    // A dry run keeps and prints no certificate.
    if (!isDry || options.output) await recordSigned(api, options, record, ends);
    // The key of the authority, where it is kept outside of the pool.
    const { keyRef } = record;
    const keyOptions = { ...options, ...(keyRef !== undefined && { keyRef }) };
    const test = await withNewKey(keyOptions, terminal.env, (key) =>
      testCertificate(document, authority, facts.now, randomBytes, key && keysOf(key)),
    );
    if (!test.ok) throw poolInvalid(test.what, test.remedy);
    const job = previewJob({
      namespace: options.namespace,
      ...(await imageOf(api, options)),
      trustDomain: test.trustDomain,
      chain: test.chainPem,
      timeoutSeconds,
    });
    if (options.output) return printObject(terminal, options.output, job);
    await inPreviewBundle(api, test, options.bundleSuffix);
    const { name } = (await createJob(api, job, isDry)).metadata;
    if (isDry) return terminal.out(`job ${name} would be created (server dry run)\n`);
    terminal.err(`waiting for job ${name} in namespace ${options.namespace}\n`);
    await finished(api, options.namespace, name, timeoutSeconds);
  });
  if (options.output || isDry) return;
  await changePool(options, terminal, (pool, { now }) => markVerified(pool, record, now));
  terminal.out(`authority ${authority}: a pod with the preview bundle verifies its certificates\n`);
}

/** The pod would wait for the root too, but would not say so. */
async function inPreviewBundle(
  api: Transport,
  { rootSha256, trustDomain }: { readonly rootSha256: string; readonly trustDomain: string },
  suffix: string,
): Promise<void> {
  for (let tries = 0; tries < 30; tries += 1) {
    const { fingerprints } = await readClusterRoots(api, trustDomain, suffix, 'preview');
    if (!fingerprints || fingerprints.has(rootSha256)) return;
    await pause(1_000);
  }
  const what = 'the root is not in the preview bundle';
  throw new CliError('BUNDLE_INVALID', what, 'check that the signer is ready; it publishes the bundle');
}

async function imageOf(
  api: Transport,
  { signerDeployment, image }: Options,
): Promise<{ image: string; imagePullPolicy: string }> {
  if (image !== undefined) return { image, imagePullPolicy: 'IfNotPresent' };
  const { container } = await readSignerContainer(api, signerDeployment, 'give --image');
  return { image: container.image, imagePullPolicy: container.imagePullPolicy ?? 'IfNotPresent' };
}

async function createJob(api: Transport, job: ReturnType<typeof previewJob>, isDry: boolean): Promise<Job> {
  const path = `/apis/batch/v1/namespaces/${encodeURIComponent(job.metadata.namespace)}/jobs`;
  const query = isDry ? { dryRun: 'All' } : {};
  return (await api.request<Job>({ method: 'POST', path, query, body: job, resource: 'jobs' })).body;
}

/** @throws CliError where the Job failed, with what its pod said. */
async function finished(api: Transport, namespace: string, name: string, seconds: number): Promise<void> {
  const place = { group: 'batch', version: 'v1', resource: 'jobs', namespace, name };
  for (let waited = 0; waited <= seconds + 30; waited += 1) {
    const conditions = (await get<Job>(api, place))?.status?.conditions ?? [];
    const is = (type: string) => conditions.some((each) => each.type === type && each.status === 'True');
    if (is('Complete')) return;
    if (is('Failed')) break;
    await pause(1_000);
  }
  const said = await lastWords(api, namespace, name).catch(() => undefined);
  const what = 'no pod verified the test certificate by the preview bundle';
  const hint =
    `\`kubectl logs --namespace ${namespace} job/${name}\` and \`kubectl describe\` of it say why; the live bundle is as it was. ` +
    'Roll the CA back with `kubespiffe ca remove`';
  throw new CliError('SVID_INVALID', said === undefined ? what : `${what}: ${printable(said)}`, hint);
}

interface JobPod {
  status?: { containerStatuses?: { state?: { terminated?: { message?: string } } }[] };
}

/** What a pod of a Job that failed said at its end: which demands are not fulfilled, or else its last line. */
async function lastWords(api: Transport, namespace: string, name: string): Promise<string | undefined> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
  const query = { labelSelector: `batch.kubernetes.io/job-name=${name}` };
  const { body } = await api.request<{ items: JobPod[] }>({ method: 'GET', path, query, resource: 'pods' });
  const text = body.items
    .flatMap(({ status }) => status?.containerStatuses ?? [])
    .map(({ state }) => state?.terminated?.message ?? '')
    .find((message) => message !== '');
  const lines = text?.trimEnd().split('\n') ?? [];
  const broken = lines.filter((line) => line.startsWith('  MUST ')).map((line) => line.trim());
  return broken.length > 0 ? broken.join('; ') : lines.at(-1)?.slice(0, 300);
}

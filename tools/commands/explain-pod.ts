import type { Transport } from '../../signer/kube/transport.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { signerEvents } from '../cluster/events.ts';
import { createListed } from '../cluster/lists.ts';
import { requestsWith } from '../cluster/requests.ts';
import { readSignerSettings, type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { createWorld, identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { CliError, exitCodes, usageError } from '../errors.ts';
import { blockedIn, lastEventOf, nextFor } from '../explain/next.ts';
import type { SignerExplanation } from '../explain/pod.ts';
import type { ReadRequest, RequestExplanation } from '../explain/requests.ts';
import { printSteps, printVerdict } from '../explain/steps.ts';
import { explainWholePod, isEnabled, notServed, type PodExplanation } from '../explain/whole-pod.ts';
import { mark, type OutputOptions, outputOption, printObject, table } from '../output.ts';
import { fromNow, span } from '../span.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ClusterOptions, SettingsOptions, OutputOptions {
  signer?: string;
}

/** `kubespiffe explain pod`: which identities a pod gets, and why. */
export const explainPod: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'pod', {
    description:
      'Explain which identities a pod gets, and why.\n\n' +
      'Shows each step of the decision with its facts and where they come from, the names, what the signer does now, and\n' +
      'the open requests. Ends with 1 when a signer that the pod asks gives it nothing.',
    examples: `
    # Why does this pod have its identity, or none?
    kubespiffe explain pod shop/web-0

    # Which DNS names would service-dns give to it?
    kubespiffe explain pod shop/web-0 --signer kubespiffe.io/service-dns`,
    options: [withSignerSettings, withCluster],
  })
    .argument('<pod>', 'NAMESPACE/NAME of the pod.')
    .option('--signer <name>', 'Explain only this signer, such as kubespiffe.io/spiffe.')
    .addOption(outputOption())
    .action(async (pod: string, options: Options) => {
      const [namespace = '', name = '', ...rest] = pod.split('/');
      if (namespace === '' || name === '' || rest.length > 0) {
        throw usageError(`${pod} does not name a pod`, 'write NAMESPACE/NAME');
      }
      const explanation = await withApi({ ...options, role: identityViewer }, terminal, (api) =>
        explanationOf(api, terminal, { namespace, name }, options),
      );
      if (options.output) printObject(terminal, options.output, explanation);
      else print(terminal, explanation, Math.floor(terminal.now() / 1000));
      done(blockedIn(explanation) ? exitCodes.failed : exitCodes.ok);
    });

async function explanationOf(
  api: Transport,
  terminal: Terminal,
  { namespace, name }: { namespace: string; name: string },
  options: Options,
): Promise<PodExplanation> {
  const settings = await readSignerSettings(api, terminal, options);
  const world = createWorld(settings);
  if (options.signer !== undefined && !isEnabled(world, options.signer)) {
    throw usageError(...notServed(options.signer, settings.from));
  }
  const key = `${namespace}/${name}`;
  const requests = createListed(
    requestsWith<ReadRequest>((wire, version) =>
      wire.spec.podName === name ? { wire, version } : undefined,
    ),
  );
  const events = createListed(signerEvents);
  // Requests first: a request that is listed was made for a pod that was there before.
  await requests.fill(api, namespace);
  await Promise.all([world, events].map((each) => each.fill(api, namespace)));
  const facts = world.pods.store.get(key);
  if (!facts) {
    const hint = `\`kubectl --namespace ${namespace} get pods\` lists the pods that there are`;
    throw new CliError('API_STATUS', `there is no pod ${key}`, hint);
  }
  return explainWholePod(world, key, facts, {
    requests: requests.store.values(),
    events: events.store.values(),
    ...(options.signer !== undefined && { signer: options.signer }),
  });
}

function print(terminal: Terminal, explanation: PodExplanation, now: number): void {
  const { pod, settings, signers, otherVolumes, requests } = explanation;
  terminal.out(`${mark(terminal, 'title', `Pod ${pod}`)}\n`);
  terminal.out(`  trust domain ${settings.trustDomain}, by the settings of ${printable(settings.from)}\n`);
  for (const { signer, volume, steps, verdict, keepsUntil } of signers) {
    const title = volume === null ? signer : `${signer} for volume ${volume}`;
    terminal.out(`\n${mark(terminal, 'title', printable(title))}\n`);
    printSteps(terminal, shortened(steps));
    printVerdict(terminal, verdict, keepsUntil);
  }
  for (const { volume, why } of otherVolumes)
    terminal.out(`\nVolume ${printable(volume)}: ${printable(why)}\n`);
  if (requests.length > 0) {
    terminal.out(`\n${mark(terminal, 'title', 'Requests')}\n`);
    terminal.out(
      table([['NAME', 'SIGNER', 'AGE', 'STATE', 'WHY'], ...requests.map((each) => requestRow(each, now))]),
    );
  }
  const last = lastEventOf(explanation);
  if (last) {
    terminal.out(`\n${mark(terminal, 'title', 'Last Event of the signer')}\n`);
    const at = fromNow(Date.parse(last.at) / 1000, now);
    terminal.out(`  ${printable(last.reason)}, ${at}: ${printable(last.message)}\n`);
  }
  terminal.out(`\nNext: ${nextFor(explanation)}\n`);
}

const mostUnmatched = 10;

/** What does not count is cut: there may be thousands of registrations. */
function shortened(steps: SignerExplanation['steps']): SignerExplanation['steps'] {
  const unmatched = steps.filter(({ ok }) => ok === null);
  const left = unmatched.length - mostUnmatched;
  if (left <= 0) return steps;
  const cut = new Set(unmatched.slice(mostUnmatched));
  const fact = `${left} more do not count; -o json lists them`;
  const shown = steps.filter((step) => !cut.has(step));
  const at = shown.findLastIndex(({ ok }) => ok === null) + 1;
  return shown.toSpliced(at, 0, { ok: null, what: unmatched.at(-1)?.what ?? '', fact, from: '' });
}

function requestRow(
  { request, signer, createdAt, state, reason, notAfter, names }: RequestExplanation,
  now: number,
): string[] {
  const age = span(now - Date.parse(createdAt) / 1000);
  const ends = notAfter === null ? '' : `, ends ${fromNow(Date.parse(notAfter) / 1000, now)}`;
  const why = state === 'Issued' ? `${names.join(', ')}${ends}` : reason;
  return [request.split('/')[1] ?? '', signer, age, state, why].map(printable);
}

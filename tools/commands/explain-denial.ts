import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { signerEvents } from '../cluster/events.ts';
import { createListed } from '../cluster/lists.ts';
import { requestsWith } from '../cluster/requests.ts';
import { readSignerSettings, type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { createWorld, identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes, usageError } from '../errors.ts';
import { type Denial, denialsIn } from '../explain/denial.ts';
import { explainRequest, type ReadRequest } from '../explain/requests.ts';
import { fromNow, mark, type OutputOptions, outputOption, printObject } from '../output.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ClusterOptions, SettingsOptions, OutputOptions {
  namespace?: string;
}

/** `kubespiffe explain denial`: which pods were denied a certificate, why, and what to do. */
export const explainDenial: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'denial', {
    description:
      'Explain which pods were denied a certificate, and what to do.\n\n' +
      'Kubelet never repeats a denied request, so such a pod stays without its certificate until it is recreated. Denials\n' +
      'are read from requests and Events, which Kubernetes deletes after a while. Ends with 1 when there is one.',
    examples: `
    # Everything that was denied lately
    kubespiffe explain denial

    # One pod
    kubespiffe explain denial shop/web-0`,
    options: [withSignerSettings, withCluster],
  })
    .argument('[pod]', 'NAMESPACE/NAME of a pod; all pods when left out.')
    .option('-n, --namespace <namespace>', 'Only pods of this namespace.')
    .addOption(outputOption())
    .action(async (pod: string | undefined, options: Options) => {
      const [podNamespace = '', name = '', ...rest] = (pod ?? '').split('/');
      if (pod !== undefined && (podNamespace === '' || name === '' || rest.length > 0)) {
        throw usageError(`${pod} does not name a pod`, 'write NAMESPACE/NAME');
      }
      const namespace = pod === undefined ? options.namespace : podNamespace;
      const denials = await withApi({ ...options, role: identityViewer }, terminal, async (api) => {
        const world = createWorld(await readSignerSettings(api, terminal, options));
        const requests = createListed(requestsWith<ReadRequest>((wire, version) => ({ wire, version })));
        const events = createListed(signerEvents);
        await requests.fill(api, namespace);
        await Promise.all([world, events].map((each) => each.fill(api, namespace)));
        const explained = [...requests.store.values()].flatMap(
          (request) => explainRequest(request, world) ?? [],
        );
        return denialsIn(world, explained, [...events.store.values()]);
      });
      const shown = denials.filter((denial) => pod === undefined || denial.pod === pod);
      if (options.output) printObject(terminal, options.output, { denials: shown });
      else print(terminal, shown, Math.floor(terminal.now() / 1000));
      done(shown.length === 0 ? exitCodes.ok : exitCodes.failed);
    });

function print(terminal: Terminal, denials: readonly Denial[], now: number): void {
  if (denials.length === 0) terminal.out('No request is denied, and no Event reports a denial.\n');
  for (const [index, denial] of denials.entries()) {
    const { pod, signer, request, at, reason, message } = denial;
    const title = `Pod ${pod}${signer === null ? '' : ` (${signer})`}`;
    terminal.out(`${index > 0 ? '\n' : ''}${mark(terminal, 'title', printable(title))}\n`);
    const from = request === null ? 'Event' : `request ${request.split('/')[1]}`;
    const ago = fromNow(Date.parse(at) / 1000, now);
    terminal.out(
      `  ${mark(terminal, 'bad', `denied: ${printable(reason)}`)}  (${printable(from)}, ${ago})\n`,
    );
    terminal.out(`  ${printable(message)}\n`);
    terminal.out(`  Next: ${printable(nextFor(denial))}\n`);
  }
}

function nextFor({ pod, podExists, now }: Denial): string {
  if (!podExists) return 'nothing: the pod is gone. Its successor asks anew.';
  if (now?.verdict === 'deny') {
    return `the pod asks for the same as before and would be denied again. Correct its volume, then recreate ${pod}: kubelet never repeats a denied request.`;
  }
  const would = now?.verdict === 'issue' ? 'a certificate would be issued now' : 'it would not be denied now';
  return `recreate ${pod}: ${would}, but kubelet never repeats a denied request.`;
}

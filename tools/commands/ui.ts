import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../../spiffe/errors.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { endpointUrl } from '../endpoint-url.ts';
import { CliError, usageError } from '../errors.ts';
import { parsePort } from '../port.ts';
import { abortAtSignal, type Terminal } from '../terminal.ts';
import type { UiServerNeeds } from '../ui/server.ts';

interface Options extends ClusterOptions, SettingsOptions {
  port: string;
  tokenAudience?: string;
  credentials?: string;
  tokenEndpoint?: string;
  audience?: string;
}

/** `kubespiffe ui`: identities in the browser, until SIGTERM. */
export const ui: AddCommand = (parent, terminal) =>
  addCommand(parent, 'ui', {
    description:
      'Serve a page that shows the identities of the cluster, its CAs and its peers, until SIGTERM.\n\n' +
      'Listens on 127.0.0.1 only, reads with the rights of the kubeconfig, and changes nothing. The URL that it prints\n' +
      'holds a secret, and nothing is shown without it. With --credentials it shows the credentials of its own pod.\n' +
      'Private keys and usable tokens are never shown.',
    examples: `
    # Open the URL that it prints
    kubespiffe ui

    # In a pod: what this pod holds, with a JWT-SVID
    kubespiffe ui --port 8090 --credentials /run/spiffe --audience https://api.example.org \\
      --token-endpoint https://kubespiffe-tokens.kubespiffe.svc/jwt-svid

    # In a pod of the cluster: admit people by a token and the right to see it
    kubespiffe ui --port 8090 --token-audience kubespiffe-view`,
    options: [withSignerSettings, withCluster],
  })
    .option('--port <number>', 'Port of 127.0.0.1; 0 chooses a free one.', '0')
    .option(
      '--token-audience <audience>',
      'Admit callers with a ServiceAccount token for this audience and the right to get /kubespiffe/view.',
    )
    .option('--credentials <folder>', 'Show this pod: the folder with its credentials.pem and roots.pem.')
    .option('--token-endpoint <url>', 'With --credentials: where the pod gets its JWT-SVID.')
    .option('--audience <audience>', 'With --token-endpoint: audience of the JWT-SVID.')
    .action(async (options: Options) => {
      const port = parsePort(options.port, 'give a number from 0 to 65535');
      if (options.credentials !== undefined) return showOwn(terminal, options.credentials, port, options);
      await withApi({ ...options, role: identityViewer }, terminal, async (api) => {
        const { clusterAnswers } = await import('../ui/cluster-answers.ts');
        const { reviewAdmission } = await import('../ui/admission.ts');
        const answers = clusterAnswers(api, terminal, options);
        const { tokenAudience } = options;
        if (tokenAudience === undefined) {
          // What is missing is said here, where the person is looking.
          await answers.overview?.(new URLSearchParams());
          return serve(terminal, port, answers);
        }
        const warn = (error: unknown) =>
          terminal.err(`a token could not be checked: ${printable(messageOf(error))}\n`);
        await serve(
          terminal,
          port,
          answers,
          reviewAdmission(api, tokenAudience, () => performance.now(), warn),
        );
      });
    });

async function showOwn(
  terminal: Terminal,
  folder: string,
  port: number,
  { audience, tokenEndpoint }: Options,
): Promise<void> {
  if ((audience === undefined) !== (tokenEndpoint === undefined)) {
    throw usageError('--token-endpoint and --audience belong together', 'give both, or none');
  }
  const { openX509Source } = await import('../../workload/x509-source.ts');
  const { createJwtSource } = await import('../../workload/jwt-source.ts');
  const { ownAnswers } = await import('../ui/own-answers.ts');
  await using x509 = await openX509Source(folder);
  const endpoint =
    tokenEndpoint === undefined
      ? undefined
      : endpointUrl(tokenEndpoint, 'https://kubespiffe-tokens.kubespiffe.svc/jwt-svid');
  await using source =
    endpoint && createJwtSource({ endpoint, credential: { source: x509 }, env: terminal.env });
  const jwt = source && audience !== undefined ? { source, audience } : undefined;
  await serve(terminal, port, ownAnswers({ from: folder, x509, jwt }, terminal.now));
}

/**
 * Serves until SIGTERM, SIGINT or SIGHUP, or until its stdout is closed when it writes the URL. Without `admit`, that URL holds a
 * secret.
 */
async function serve(
  terminal: Terminal,
  port: number,
  answers: UiServerNeeds['answers'],
  admit?: UiServerNeeds['admit'],
): Promise<void> {
  const { readPageFiles } = await import('../ui/page-files.ts');
  const { secretAdmission } = await import('../ui/admission.ts');
  const { createUiServer } = await import('../ui/server.ts');
  const own = secretAdmission();
  const server = createUiServer({
    files: await readPageFiles(),
    answers,
    admit: admit ?? own.admit,
  });
  const { signal } = abortAtSignal();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening').catch((error: Error) => {
    throw new CliError(
      'USAGE',
      `port ${port} cannot be used: ${error.message}`,
      'choose another with --port',
      {
        cause: error,
      },
    );
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  terminal.out(admit ? `${url}\n` : `${url}#token=${own.secret}\n`);
  if (!signal.aborted) await once(signal, 'abort');
  server.closeAllConnections();
  server.close();
}

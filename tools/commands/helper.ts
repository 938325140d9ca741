import { type KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import type { SourceConfig } from '../../workload/helper/config.ts';
import { type AddCommand, addCommand, required } from '../command.ts';
import { usageError } from '../errors.ts';
import { readInput } from '../read-input.ts';
import { abortAtSignal } from '../terminal.ts';
import { trustDomainFlag } from '../trust-domain.ts';

interface Options {
  config: string;
  once?: boolean;
  credentials?: string;
  trustDomain?: string;
  tokenEndpoint?: string;
}

/** `kubespiffe helper`: the files that other software wants, until SIGTERM or once. */
export const helper: AddCommand = (parent, terminal) =>
  addCommand(parent, 'helper', {
    description:
      'Write certificate, key and roots in the files that other software wants, until SIGTERM.\n\n' +
      'Writes them again after each renewal, all at one moment, and then signals a process or runs a command so that\n' +
      'the software reloads them. With --once it writes them and ends, as an init container.',
    examples: `
    # As a sidecar container: write the files, and again after each renewal
    kubespiffe helper --config /etc/kubespiffe/helper.yaml

    # As an init container
    kubespiffe helper --config /etc/kubespiffe/helper.yaml --once

    # With the configuration of spiffe-helper, and the volume of the pod in place of SPIRE's agent
    kubespiffe helper --config helper.conf --credentials /run/spiffe`,
    options: [required('--config <file>', 'Configuration file: YAML or JSON, or one of spiffe-helper.')],
  })
    .option(
      '--credentials <folder>',
      'Folder with credentials.pem and roots.pem, in place of the source in the file.',
    )
    .option(
      '--trust-domain <name>',
      'With --credentials: trust domain of all roots in roots.pem, for roots without a SPIFFE ID.',
    )
    .option('--token-endpoint <url>', 'With --credentials: token endpoint that gives JWT-SVIDs and JWT keys.')
    .option('--once', 'Write the files once, without signal or command, and end.')
    .action(async (options: Options) => {
      const { parseConfig } = await import('../../workload/helper/parse-config.ts');
      const { runHelper } = await import('../../workload/helper/run.ts');
      const text = textOf(await readInput(terminal, options.config));
      const { config, differences } = await parseConfig(options.config, text, {
        source: await sourceOf(options),
        defaultSocket: terminal.env.SPIFFE_ENDPOINT_SOCKET,
      });
      for (const one of differences) terminal.err(`not as in spiffe-helper: ${one}\n`);
      const { signal } = abortAtSignal();
      const warn = (problem: KubespiffeError) => {
        terminal.err(`warning: ${messageOf(problem)}\n`);
        if (problem.hint !== undefined) terminal.err(`hint: ${problem.hint}\n`);
      };
      await runHelper(
        { ...config, once: options.once ?? config.once },
        { log: (line) => terminal.err(`${line}\n`), warn, env: terminal.env, signal },
      );
    });

/** @throws CliError USAGE */
async function sourceOf(options: Options): Promise<SourceConfig | undefined> {
  const { credentials, trustDomain, tokenEndpoint } = options;
  if (credentials === undefined) {
    for (const [flag, key] of [
      ['--token-endpoint', 'tokenEndpoint'],
      ['--trust-domain', 'trustDomain'],
    ] as const) {
      if (options[key] === undefined) continue;
      throw usageError(`${flag} is for --credentials`, `give both, or write source.${key}`);
    }
    return undefined;
  }
  trustDomainFlag(trustDomain);
  const { endpointUrl } = await import('../endpoint-url.ts');
  const example = 'https://kubespiffe-tokens.kubespiffe.svc';
  const endpoint = tokenEndpoint === undefined ? undefined : endpointUrl(tokenEndpoint, example);
  return {
    ...{ kind: 'folder', credentials, trustDomain, bundles: {} },
    ...{ tokenEndpoint: endpoint, tokenFile: undefined },
  };
}

import { type Command, Option } from 'commander';
import type { PoolDocument } from '../signer/authority/document.ts';
import type { Pool } from '../signer/authority/pool.ts';
import { newPoolSecret, poolSecret } from '../signer/authority/pool-secret.ts';
import type { Secret } from '../signer/kube/types.ts';
import { rfc3339 } from '../signer/pki/time.ts';
import { type ClusterOptions, createSecret, withApi } from './api.ts';
import { colons, fromNow, type OutputFormat, outputOption, printable, printObject } from './output.ts';
import type { Terminal } from './terminal.ts';

/** The options of the commands that make a pool Secret. */
export interface NewSecretOptions extends ClusterOptions {
  namespace: string;
  name: string;
  dryRun?: 'none' | 'client' | 'server';
  output?: OutputFormat;
  showPrivateKey?: boolean;
}

/** The defaults name the pool of `manifests/base`. */
export function withSecretName(command: Command): Command {
  return command
    .option('-n, --namespace <namespace>', 'Namespace of the pool Secret.', 'kubespiffe')
    .option('--name <name>', 'Name of the pool Secret.', 'kubespiffe-pool');
}

export function withNewSecret(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--dry-run [mode]',
        'Write nothing: client, which --dry-run alone means, only prints, server has it checked.',
      )
        .choices(['none', 'client', 'server'])
        .preset('client'),
    )
    .addOption(outputOption('Print the Secret (with --dry-run: yaml unless told otherwise).'))
    .option('--show-private-key', 'Print the private key as it is; otherwise a placeholder stands for it.');
}

/** Stands for a key in what is printed. It is no PEM, so a signer refuses a pool that was applied with it. */
const keyPlaceholder = '<private key left out; print it with --show-private-key>';

/** Creates the Secret of a new pool, or prints what would be created. */
export async function deliverPool(
  terminal: Terminal,
  options: NewSecretOptions,
  document: PoolDocument,
  pool: Pool,
): Promise<void> {
  const { namespace, name, dryRun } = options;
  const secret = newPoolSecret(options, document);

  if (dryRun !== 'client') {
    await withApi(options, terminal, (api) => createSecret(api, secret, dryRun === 'server'));
  }
  for (const { warnings } of pool.authorities) {
    for (const warning of warnings) terminal.err(`warning: ${printable(warning)}\n`);
  }
  if (options.output !== undefined || dryRun === 'client') {
    const shown = options.showPrivateKey ? secret : withoutKeys(secret, document);
    return printObject(terminal, options.output ?? 'yaml', shown);
  }
  const how = dryRun === 'server' ? ' (server dry run)' : '';
  terminal.out(`secret/${name} created in namespace ${namespace}${how}\n`);
  for (const authority of pool.authorities) {
    const end = authority.signingAuthority?.notAfter ?? authority.root.notAfter;
    terminal.out(
      `authority ${authority.id}: ${authority.state}, ${authority.keyType}, until ${rfc3339(end)} ` +
        `(${fromNow(end, terminal.now() / 1000)}), SHA-256 ${colons(authority.root.sha256Hex)}\n`,
    );
  }
  for (const { id, state, keyType, kid, algorithm } of pool.jwt) {
    terminal.out(`authority ${id}: ${state}, ${keyType}, for ${algorithm} tokens, kid ${kid}\n`);
  }
}

/** The Secret in clear, so that it can be read, and without its keys. */
function withoutKeys(secret: Secret, document: PoolDocument): object {
  const { data: _, ...rest } = secret;
  const authorities = document.authorities.map((each) =>
    each.privateKey === undefined ? each : { ...each, privateKey: keyPlaceholder },
  );
  const json = `${JSON.stringify({ ...document, authorities }, undefined, 2)}\n`;
  return { ...rest, stringData: { [poolSecret.key]: json } };
}

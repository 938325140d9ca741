import type { Option } from 'commander';
import { defaultJwtPropagation } from '../../signer/authority/may-sign.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { jwksDocument, rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { withApi, withCluster } from '../api.ts';
import { type BundleFormat, bundleFormats } from '../bundle/formats.ts';
import { type AddCommand, addCommand, choice } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { CliError, poolError } from '../errors.ts';
import { documentIn, type PoolOptions, requireSecret, withSecretName } from '../pool/pool-secret.ts';

interface Options extends PoolOptions {
  format: BundleFormat;
  refreshHint: string;
}

export function formatOption(description: string): Option {
  return choice('--format <format>', description, bundleFormats, 'spiffe');
}

/** `kubespiffe bundle show`: what a pool publishes, byte for byte as the endpoint serves it. */
export const bundleShow: AddCommand = (parent, terminal) =>
  addCommand(parent, 'show', {
    description:
      'Print the bundle of a pool: the keys that verify its SVIDs.\n\n' +
      'The bytes are those that the bundle endpoint serves. They contain no private key.',
    examples: `
    # The SPIFFE bundle
    kubespiffe bundle show

    # The roots, for a program that knows nothing of SPIFFE
    kubespiffe bundle show --format pem > roots.pem`,
    options: [withSecretName, withCluster],
  })
    .addOption(formatOption('What to print: a SPIFFE bundle, the JWK set of OIDC, or the roots as PEM.'))
    .option(
      '--refresh-hint <duration>',
      'How often others should look again, as the signer is configured.',
      `${defaultJwtPropagation.refreshHintSeconds}s`,
    )
    .action(async (options: Options) => {
      const { namespace, name, format } = options;
      const refreshHintSeconds = parseSeconds(options.refreshHint, '--refresh-hint');
      const pool = poolIn(await withApi(options, terminal, (api) => requireSecret(api, options)));
      if (pool.trustDomain === undefined && format !== 'pem') {
        const what = `a pool of no trust domain has no ${format} bundle`;
        throw new CliError('BUNDLE_INVALID', what, 'use --format pem');
      }
      const documents = {
        spiffe: () => spiffeBundleDocument(pool, refreshHintSeconds),
        jwks: () => jwksDocument(pool),
        pem: () => rootsPem(pool),
      };
      const document = documents[format]();
      if (!document) {
        const hint = `\`kubespiffe ca show --namespace ${namespace} --name ${name}\` shows the states`;
        throw new CliError('BUNDLE_INVALID', 'no authority of the pool is published', hint);
      }
      terminal.out(document.bytes.toString('utf8'));
    });

/** Times are not looked at: what is published does not depend on them. */
function poolIn(secret: Secret): Pool {
  const document = documentIn(secret);
  const compiled = compilePool(document, document.trustDomain);
  if (!compiled.ok) throw poolError(compiled.problem);
  return compiled.pool;
}

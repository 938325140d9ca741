import { type Command, Option } from 'commander';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { freshSequence } from '../../signer/authority/sequence.ts';
import { type AuthorityKeyType, authorityKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { withCluster } from '../api.ts';
import { parseSeconds } from '../duration.ts';
import { withExamples } from '../help.ts';
import { defaultJwtKeys, parseJwtKeys } from '../jwt-keys.ts';
import { deliverPool, type NewSecretOptions, withNewSecret, withSecretName } from '../pool-secret.ts';
import { requiredOption } from '../required.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends NewSecretOptions {
  caId: string;
  trustDomain: string;
  keyType: AuthorityKeyType;
  lifetime: string;
  jwtKeys: string;
}

/** `kubespiffe ca create`: a new root, in a new pool, in a new Secret. */
export function caCreate(parent: Command, terminal: Terminal): Command {
  const command = parent
    .command('create')
    .description(
      'Make a CA and the pool Secret that holds it.\n\n' +
        'The CA is a self-signed root with the SPIFFE ID of the trust domain. It is the first of its pool, so it\n' +
        'signs at once; beside it are keys for JWT-SVIDs. A Secret that is there already is never touched.\n\n' +
        'Where roots of the trust domain are published already, put the copy of the pool back with `ca restore` instead.',
    );
  withExamples(
    command,
    `
    # Make the pool of trust domain example.org, with a root of one year
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org

    # For certificates alone, without keys for tokens
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org \\
      --jwt-keys none

    # The pool and its copies are lost: a new CA, with the old roots still published
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org --start-anew

    # See the Secret without writing anything; the private key is left out
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org --dry-run

    # Make the Secret somewhere else, with its key
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org \\
      --dry-run=client -o yaml --show-private-key | kubectl apply -f -`,
  );
  withSecretName(command);
  requiredOption(command, '--ca-id <id>', 'Name of the CA within the pool.');
  requiredOption(command, '--trust-domain <name>', 'Trust domain that the CA is for, such as example.org.')
    .addOption(
      new Option('--key-type <type>', 'Type of the key.').choices(authorityKeyTypes).default('ecdsa-p256'),
    )
    .option('--lifetime <duration>', 'How long the root is valid, such as 8760h or 365d.', '8760h')
    .option('--jwt-keys <types>', 'Keys for JWT-SVIDs: none, or some of es256,rs256.', defaultJwtKeys);
  withCluster(withNewSecret(command)).action(async (options: Options) => {
    const { caId: id, trustDomain, keyType } = options;
    const now = Math.floor(terminal.now() / 1000);
    const lifetimeSeconds = parseSeconds(options.lifetime, '--lifetime');
    const jwtKeys = parseJwtKeys(options.jwtKeys);
    // The library that makes certificates takes longer to load than most commands to run.
    const { createAuthority } = await import('../../signer/authority/create.ts');
    const authority = await createAuthority({ id, trustDomain, keyType, lifetimeSeconds, now });
    const jwtAuthorities = await Promise.all(jwtKeys.map((key) => createJwtAuthority({ key, now })));
    const sequence = freshSequence(now);
    const document = { ...newPool(trustDomain, authority, ...jwtAuthorities), sequence };
    await deliverPool(terminal, options, document);
  });
  return command;
}

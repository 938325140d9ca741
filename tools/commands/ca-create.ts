import { type Command, Option } from 'commander';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import { newPool } from '../../signer/authority/document.ts';
import { freshSequence } from '../../signer/authority/sequence.ts';
import { type AuthorityKeyType, authorityKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { withCluster } from '../api.ts';
import { type AddCommand, addCommand, choice, required } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { usageError } from '../errors.ts';
import { defaultJwtKeys, parseJwtKeys } from '../pool/jwt-keys.ts';
import { type KeyRefOptions, withKeyRef, withNewKey } from '../pool/key-ref.ts';
import { deliverPool, type NewSecretOptions, withNewSecret, withSecretName } from '../pool/pool-secret.ts';

interface Options extends NewSecretOptions, KeyRefOptions {
  caId: string;
  kind: keyof typeof poolKinds;
  trustDomain?: string;
  permittedDns?: string;
  keyType: AuthorityKeyType;
  lifetime: string;
  jwtKeys: string;
}

/** For which signers a pool is. */
const poolKinds = {
  spiffe: { secretName: 'kubespiffe-pool' },
  'service-dns': { secretName: 'kubespiffe-service-dns-pool' },
} as const;

/** `kubespiffe ca create`: a new root, in a new pool, in a new Secret. */
export const caCreate: AddCommand = (parent, terminal) =>
  addCommand(parent, 'create', {
    description:
      'Make a CA and the pool Secret that holds it.\n\n' +
      'The CA is a self-signed root with the SPIFFE ID of the trust domain. It is the first of its pool, so it\n' +
      'signs at once; beside it are keys for JWT-SVIDs. An existing Secret is never changed.\n' +
      'With --kind service-dns it is a root of no trust domain, for the DNS names of Services.\n\n' +
      'Where roots of the trust domain are published already, put the copy of the pool back with `ca restore` instead.',
    examples: `
    # Make the pool of trust domain example.org, with a root of one year
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org

    # For certificates alone, without keys for tokens
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org \\
      --jwt-keys none

    # With the key of the CA in a PKCS#11 token
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org \\
      --key-ref 'pkcs11:token=kubespiffe;object=ca-1' --pkcs11-module /usr/lib/libvendor.so --pkcs11-pin-file pin

    # The pool of the signer service-dns, with a root that is good for Services alone
    kubespiffe ca create --kind service-dns --ca-id dns-1 --permitted-dns svc,svc.cluster.local

    # The pool and its copies are lost: a new CA, with the old roots still published
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org --start-anew

    # See the Secret without writing anything; the private key is left out
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org --dry-run

    # Make the Secret somewhere else, with its key
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org \\
      --dry-run=client -o yaml --show-private-key | kubectl apply -f -`,
    options: [
      withSecretName,
      choice('--kind <kind>', 'What the pool is for.', Object.keys(poolKinds), 'spiffe'),
      required('--ca-id <id>', 'Name of the CA within the pool.'),
      required(
        '--trust-domain <name>',
        'Trust domain that the CA is for, such as example.org; none with --kind service-dns.',
        ({ kind }) => kind === 'spiffe',
      ),
      new Option(
        '--permitted-dns <names>',
        'With --kind service-dns: the only DNS names of its certificates, with all below them. With a leading dot: those below it alone.',
      ),
      choice('--key-type <type>', 'Type of the key.', authorityKeyTypes, 'ecdsa-p256'),
      new Option('--lifetime <duration>', 'How long the root is valid, such as 8760h or 365d.').default(
        '8760h',
      ),
      new Option('--jwt-keys <types>', 'Keys for JWT-SVIDs: none, or some of es256,rs256.').default(
        defaultJwtKeys,
      ),
      withKeyRef,
      withNewSecret,
      withCluster,
    ],
  }).action(async (options: Options, command: Command) => {
    const { caId: id, keyType } = options;
    const { trustDomain, permittedDnsNames, jwtKeys } = contentFor(options, command);
    const name =
      command.getOptionValueSource('name') === 'default' ? poolKinds[options.kind].secretName : options.name;
    const now = Math.floor(terminal.now() / 1000);
    const lifetimeSeconds = parseSeconds(options.lifetime, '--lifetime');
    // The library that makes certificates takes longer to load than most commands to run.
    const { createAuthority } = await import('../../signer/authority/create.ts');
    const authority = await withNewKey(options, terminal.env, (key) =>
      createAuthority({
        ...{ id, trustDomain, permittedDnsNames, keyType, lifetimeSeconds, now },
        ...(key && { key }),
      }),
    );
    const jwtAuthorities = await Promise.all(jwtKeys.map((key) => createJwtAuthority({ key, now })));
    const sequence = freshSequence(now);
    const document = { ...newPool(trustDomain, authority, ...jwtAuthorities), sequence };
    await deliverPool(terminal, { ...options, name }, document, document.authorities);
  });

/** What the options of a kind ask for. @throws CliError USAGE for an option of another kind. */
function contentFor({ kind, trustDomain, permittedDns, jwtKeys }: Options, command: Command) {
  const refuse = (flag: string, why: string) => usageError(`${flag} cannot be used with --kind ${kind}`, why);
  if (kind === 'spiffe') {
    if (permittedDns !== undefined) throw refuse('--permitted-dns', 'its certificates have SPIFFE IDs');
    return { trustDomain, permittedDnsNames: [], jwtKeys: parseJwtKeys(jwtKeys) };
  }
  if (trustDomain !== undefined) throw refuse('--trust-domain', 'its certificates have no SPIFFE ID');
  if (command.getOptionValueSource('jwtKeys') !== 'default')
    throw refuse('--jwt-keys', 'it issues no tokens');
  return { trustDomain: undefined, permittedDnsNames: permittedDns?.split(',') ?? [], jwtKeys: [] };
}

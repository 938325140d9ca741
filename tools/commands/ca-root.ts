import { type AuthorityKeyType, authorityKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { type AddCommand, addCommand, choice, required } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { writeNewFile } from '../new-file.ts';
import { type CaContentOptions, caContentOf, withCaContent } from '../pool/ca-content-options.ts';

interface Options extends CaContentOptions {
  trustDomain: string;
  cert: string;
  key: string;
  caId: string;
  keyType: AuthorityKeyType;
  lifetime: string;
}

/** `kubespiffe ca root`: a root that signs CAs and no pod, in files. */
export const caRoot: AddCommand = (parent, terminal) =>
  addCommand(parent, 'root', {
    description:
      'Make an offline root in files. It signs the CAs of the pool, and is in no cluster.\n\n' +
      'Uses no cluster and no network. Keep the key in a place where it cannot be copied.',
    examples: `
    # A root for ten years
    kubespiffe ca root --trust-domain example.org --cert root.pem --key root.key`,
    options: [
      required('--trust-domain <name>', 'Trust domain of the root.'),
      required('--cert <file>', 'New file for the certificate.'),
      required('--key <file>', 'New file for the private key (PKCS#8, PEM, not encrypted).'),
      withCaContent('1'),
    ],
  })
    .option('--ca-id <id>', 'Distinguishes this root from others; a part of its name.', 'root-1')
    .addOption(choice('--key-type <type>', 'Type of the key.', authorityKeyTypes, 'ecdsa-p384'))
    .option('--lifetime <duration>', 'How long the root is valid.', '87600h')
    .action(async (options: Options) => {
      const { trustDomain, caId: id, keyType, cert, key } = options;
      const { createAuthority } = await import('../../signer/authority/create.ts');
      const made = await createAuthority({
        ...{ id, trustDomain, keyType, pathLength: 1, ...caContentOf(options) },
        lifetimeSeconds: parseSeconds(options.lifetime, '--lifetime'),
        now: Math.floor(terminal.now() / 1000),
      });
      await writeNewFile(key, made.privateKey ?? '', { isPrivate: true });
      await writeNewFile(cert, made.certificate ?? '');
      terminal.err(`root of ${trustDomain} made: ${cert}, key in ${key}\n`);
    });

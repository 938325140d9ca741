import { Option } from 'commander';
import { authorityKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { type AddCommand, addCommand, choice } from '../command.ts';
import { usageError } from '../errors.ts';
import { writeNewFile } from '../new-file.ts';
import { type CaContentOptions, caContentOf, withCaContent } from '../pool/ca-content-options.ts';
import { withKeyRef } from '../pool/key-ref.ts';
import { type NewAuthorityOptions, prepareInPool, requestIn } from '../pool/new-authority.ts';
import { readPool, withChange } from '../pool/pool-change.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends NewAuthorityOptions, CaContentOptions {
  key?: string;
  trustDomain?: string;
}

/** `kubespiffe ca csr`: asks another CA for the certificate of the next CA, with a key that stays in the pool. */
export const caCsr: AddCommand = (parent, terminal) =>
  addCommand(parent, 'csr', {
    description:
      'Make the request for a CA that another CA signs: an offline root, or the PKI of a company.\n\n' +
      'Prints the request (PKCS#10, PEM). Its key is made in the pool and never leaves it, or is kept outside of the pool. While\n' +
      'the pool has a request without an answer, the same one is printed again. `ca import --request` takes the answer.',
    examples: `
    # Ask for the next CA, have it signed, and bring the answer in
    kubespiffe ca csr > issuing.csr
    kubespiffe ca sign issuing.csr --cert root.pem --key root.key > issuing.pem
    kubespiffe ca import --request ca-2 --cert issuing.pem

    # With a key in a PKCS#11 token
    kubespiffe ca csr --key-ref 'pkcs11:token=kubespiffe;object=ca-2' \\
      --pkcs11-module /usr/lib/libvendor-pkcs11.so --pkcs11-pin-file pin > issuing.csr

    # For a first pool: without a cluster, with the key in a file
    kubespiffe ca csr --key issuing.key --trust-domain example.org > issuing.csr`,
    options: [withChange, withCaContent('0'), withKeyRef],
  })
    .option('--ca-id <id>', 'Id of the new CA. (default: the next number)')
    .addOption(
      choice(
        '--key-type <type>',
        'Type of the key. (default: same as the active CA, or ecdsa-p256)',
        authorityKeyTypes,
      ),
    )
    .addOption(
      new Option('--key <file>', 'Use no cluster: write the new key to this file.').conflicts('keyRef'),
    )
    .option('--trust-domain <name>', 'With --key: trust domain of the CA.')
    .action((options: Options) =>
      options.key === undefined
        ? requestInPool(terminal, options)
        : requestInFile(terminal, options, options.key),
    );

const contentOf = (options: Options) => ({ pathLength: 0, ...caContentOf(options) });

async function requestInPool(terminal: Terminal, options: Options): Promise<void> {
  if (options.trustDomain !== undefined) {
    throw usageError('--trust-domain without --key', 'leave it out: the pool names its trust domain');
  }
  const { document } = await readPool(options, terminal);
  const open = requestIn(document, options);
  if (open) {
    terminal.err(`authority ${open.id} has waited for its certificate since ${open.createdAt}\n`);
    return terminal.out(open.request ?? '');
  }
  const wanted = { kind: 'X509', asRequest: true, ...contentOf(options) } as const;
  const change = await prepareInPool(terminal, options, wanted);
  const [made] = change.changed;
  const record = change.document.authorities.find(({ id }) => id === made?.id);
  const how = options.dryRun === 'server' ? ' (server dry run)' : '';
  terminal.err(
    `authority ${record?.id}: new -> prepared, waits for its certificate${how}\n` +
      `next: have the request signed, then \`kubespiffe ca import --request ${record?.id} --cert FILE\`\n`,
  );
  terminal.out(record?.request ?? '');
}

async function requestInFile(terminal: Terminal, options: Options, key: string): Promise<void> {
  const { trustDomain, keyType, caId = 'ca-1' } = options;
  if (trustDomain === undefined) {
    throw usageError('--key without --trust-domain', 'give the trust domain with --trust-domain NAME');
  }
  const { makeCaRequest } = await import('../../signer/authority/request.ts');
  const content = { ...contentOf(options), ...(keyType && { keyType }) };
  const made = await makeCaRequest({ ...content, trustDomain, id: caId });
  await writeNewFile(key, made.privateKey ?? '', { isPrivate: true });
  terminal.out(made.request);
}

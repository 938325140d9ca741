import { readAnyKey, readCertificates, trustDomainIn } from '../../signer/authority/import.ts';
import { readProvenCsrKey } from '../../spiffe/pki/csr.ts';
import { certificatesPem, decodePem } from '../../spiffe/pki/pem.ts';
import type { SupportedKey } from '../../spiffe/pki/spki.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { type AddCommand, addCommand, required } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { CliError, usageError } from '../errors.ts';
import { fromNow } from '../output.ts';
import { type CaContentOptions, caContentOf, withCaContent } from '../pool/ca-content-options.ts';
import { nameOfInput, readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends CaContentOptions {
  cert: string;
  key: string;
  trustDomain?: string;
  lifetime: string;
}

/** `kubespiffe ca sign`: signs the request of a CA with another CA, where that is kept: on a machine without a network. */
export const caSign: AddCommand = (parent, terminal) =>
  addCommand(parent, 'sign', {
    description:
      'Sign the request of a CA with a CA in files. Uses no cluster and no network.\n\n' +
      'Prints the new certificate and those above it (PEM), for `ca import --request`. Only the key of the\n' +
      'request is used: name, trust domain and rights come from these options and from the CA that signs.',
    examples: `
    # On the machine that has the root
    kubespiffe ca sign issuing.csr --cert root.pem --key root.key > issuing.pem`,
    options: [
      required(
        '--cert <file>',
        'PEM file with the CA that signs; those above it, up to the root, may follow.',
      ),
      required('--key <file>', 'PEM file with its private key.'),
      withCaContent('0'),
    ],
  })
    .argument('<request>', 'File with the request of `kubespiffe ca csr`; - is standard input.')
    .option('--trust-domain <name>', 'Trust domain of the new CA. (default: that of the CA that signs)')
    .option(
      '--lifetime <duration>',
      'How long the new CA is valid. It ends with the CA that signs at the latest.',
      '8760h',
    )
    .action((request: string, options: Options) => sign(terminal, request, options));

async function sign(terminal: Terminal, file: string, options: Options): Promise<void> {
  const key = await readRequest(terminal, file);
  const issuerPem = textOf(await readInput(terminal, options.cert));
  const chain = readCertificates(issuerPem);
  const privateKey = readAnyKey(textOf(await readInput(terminal, options.key)));
  const [certificate] = chain;
  if (!certificate) {
    throw new CliError(
      'CERTIFICATE_INVALID',
      `${nameOfInput(options.cert)} has no PEM certificate`,
      'give the CA that signs',
    );
  }
  if (!privateKey) {
    const hint = 'give an unencrypted PEM key; `openssl pkey -in FILE -out NEW-FILE` decrypts one';
    throw new CliError(
      'KEY_UNSUPPORTED',
      `${nameOfInput(options.key)} has no private key that can be read`,
      hint,
    );
  }
  const trustDomain = options.trustDomain ?? trustDomainIn(chain);
  if (trustDomain === undefined) {
    const hint = 'give it with --trust-domain NAME';
    throw usageError(`${nameOfInput(options.cert)} does not name a trust domain`, hint);
  }
  const now = Math.floor(terminal.now() / 1000);
  const { signCa } = await import('../../signer/authority/sign-ca.ts');
  const made = await signCa(
    { certificate, privateKey },
    {
      ...{ key, trustDomain, now, pathLength: 0, ...caContentOf(options) },
      notAfter: now + parseSeconds(options.lifetime, '--lifetime'),
    },
  );
  terminal.err(
    `signed a CA of ${trustDomain}, valid until ${rfc3339(made.notAfter)} (${fromNow(made.notAfter, now)})\n`,
  );
  terminal.out(certificatesPem([made, ...chain]));
}

async function readRequest(terminal: Terminal, file: string): Promise<SupportedKey> {
  const blocks = decodePem(textOf(await readInput(terminal, file)));
  const labels = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'];
  const block = blocks.ok ? blocks.value.find(({ label }) => labels.includes(label)) : undefined;
  const what = nameOfInput(file);
  if (!block) {
    throw new CliError(
      'PEM_INVALID',
      `${what} has no certificate request`,
      'give the output of `kubespiffe ca csr`',
    );
  }
  const key = readProvenCsrKey(block.der);
  if (key.kind === 'supported') return key;
  const hint = 'make a new request with `kubespiffe ca csr`';
  if (key.kind === 'unsupported') {
    throw new CliError('KEY_UNSUPPORTED', `${what} asks for a key of type ${key.algorithm}`, hint);
  }
  throw new CliError(
    'DER_INVALID',
    `${what}: the request ${key.kind === 'unproven' ? 'signature ' : ''}${key.reason}`,
    hint,
  );
}

import { Option } from 'commander';
import { answerRequest } from '../../signer/authority/answer.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import {
  type AuthorityRecord,
  isAuthorityId,
  newPool,
  type PoolDocument,
} from '../../signer/authority/document.ts';
import {
  assembleAuthority,
  type CaMaterial,
  type Imported,
  readMeshPool,
  readTlsSecret,
  trustDomainOf,
} from '../../signer/authority/import.ts';
import { freshSequence } from '../../signer/authority/sequence.ts';
import { longestCertificateSeconds } from '../../signer/authority/signed-until.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { getSecret, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { CliError, poolError, poolInvalid, usageError } from '../errors.ts';
import { defaultJwtKeys, parseJwtKeys } from '../pool/jwt-keys.ts';
import { changePool, printChange } from '../pool/pool-change.ts';
import { deliverPool, type NewSecretOptions, withNewSecret, withSecretName } from '../pool/pool-secret.ts';
import { nameOfInput, pemText, readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends NewSecretOptions {
  caId?: string;
  trustDomain?: string;
  fromSecret?: string;
  cert?: string;
  key?: string;
  chain?: string;
  meshPool?: string;
  jwtKeys: string;
  request?: string;
}

/** `kubespiffe ca import`: a CA that others made, in a new pool, in a new Secret. */
export const caImport: AddCommand = (parent, terminal) =>
  addCommand(parent, 'import', {
    description:
      'Make a pool Secret from an existing CA, or import the certificate that a CA of a pool waits for.\n\n' +
      'The CA comes from a kubernetes.io/tls Secret (as cert-manager makes it), from PEM files, or from the pool of\n' +
      'ahmedtd/mesh-example. It is checked by the rules for every pool before anything is written.',
    examples: `
    # A CA of cert-manager
    kubespiffe ca import --from-secret cert-manager/root --trust-domain example.org

    # An intermediate CA in files, with its root
    kubespiffe ca import --ca-id issuing-1 \\
      --cert issuing.pem --key issuing.key --chain root.pem --trust-domain example.org

    # The answer to a request of \`kubespiffe ca csr\`, into the pool that has it
    kubespiffe ca import --request ca-2 --cert issuing.pem --chain root.pem

    # A pool of ahmedtd/mesh-example: the value of key "pool" of its Secret
    kubespiffe ca import --mesh-pool pool.json --trust-domain example.org`,
    options: [
      withSecretName,
      new Option('--from-secret <namespace/name>', 'Import the CA of this kubernetes.io/tls Secret.'),
      new Option(
        '--cert <file>',
        'Import the CA certificate of this PEM file; intermediates and root may follow it.',
      ),
      new Option('--key <file>', 'PEM file with the private key to --cert.'),
      new Option('--chain <file>', 'PEM file with the certificates above the CA, up to the root.'),
      new Option('--mesh-pool <file>', 'Import the CAs of this pool of ahmedtd/mesh-example (JSON).'),
      new Option('--ca-id <id>', 'Name of the CA within the pool.'),
      new Option('--trust-domain <name>', 'Trust domain of the CA, if its certificate does not contain it.'),
      new Option(
        '--request <id>',
        'The certificate is the answer to the request of this CA of the pool (`ca csr`).',
      ),
      new Option('--jwt-keys <types>', 'New keys for JWT-SVIDs: none, or some of es256,rs256.').default(
        defaultJwtKeys,
      ),
      withNewSecret,
      withCluster,
    ],
  }).action(async (options: Options) => {
    if (options.request !== undefined) return importAnswer(terminal, options, options.request);
    const now = Math.floor(terminal.now() / 1000);
    const jwtKeys = parseJwtKeys(options.jwtKeys);
    const materials = await readMaterials(options, terminal);
    const records = materials.map((material, index) => {
      if (!isAuthorityId(material.id)) {
        const rule = '1 to 63 of A-Z a-z 0-9 - _ ., alphanumeric at both ends';
        // --ca-id names one CA only.
        const hint = `${materials.length === 1 ? 'give another with --ca-id' : 'change the ID in the file'}: ${rule}`;
        throw poolInvalid(`${JSON.stringify(material.id)} cannot be the id of an authority`, hint);
      }
      return unwrap(assembleAuthority(material, index === 0 ? 'active' : 'trusted', rfc3339(now)));
    });
    const jwtRecords = await Promise.all(jwtKeys.map((key) => createJwtAuthority({ key, now })));
    const pool = poolOf([...records, ...jwtRecords], options.trustDomain);
    const document = { ...pool, sequence: freshSequence(now) };
    await deliverPool(terminal, options, document);
  });

/** The answer to a request goes into the pool that has its key. */
async function importAnswer(terminal: Terminal, options: Options, id: string): Promise<void> {
  const { cert, chain, dryRun } = options;
  if (cert === undefined) {
    throw usageError('--request without --cert', 'give the certificate that was signed with --cert FILE');
  }
  const certificates = await readFiles(terminal, cert, chain);
  const change = {
    ...{ ...options, maxLifetime: `${longestCertificateSeconds}s` },
    dryRun: dryRun === undefined || dryRun === 'none' ? 'none' : 'server',
  } as const;
  const made = await changePool(change, terminal, (document, { now }) =>
    answerRequest(document, id, { certificates }, now),
  );
  printChange(terminal, change, made);
}

function poolOf(records: readonly AuthorityRecord[], given: string | undefined): PoolDocument {
  const [first] = records;
  const trustDomain = given ?? (first && trustDomainOf(first));
  if (!first || trustDomain === undefined) {
    throw usageError('the CA does not name its trust domain', 'give it with --trust-domain NAME');
  }
  return newPool(trustDomain, ...records);
}

async function readMaterials(options: Options, terminal: Terminal): Promise<CaMaterial[]> {
  const sources = [options.fromSecret, options.cert, options.meshPool].filter((each) => each !== undefined);
  if (sources.length !== 1) {
    const hint = 'give one of --from-secret, --cert with --key, or --mesh-pool';
    throw usageError(sources.length === 0 ? 'nothing to import' : 'more than one CA to import', hint);
  }
  if (options.fromSecret !== undefined) return [await fromSecret(options.fromSecret, options, terminal)];
  if (options.cert !== undefined) return [await fromFiles(options.cert, options, terminal)];
  const pool = unwrap(readMeshPool(textOf(await readInput(terminal, options.meshPool ?? ''))));
  const [only] = pool;
  return pool.length === 1 && only && options.caId !== undefined ? [{ ...only, id: options.caId }] : pool;
}

async function fromSecret(reference: string, options: Options, terminal: Terminal): Promise<CaMaterial> {
  const [namespace, name, ...more] = reference.split('/');
  if (!namespace || !name || more.length > 0) {
    throw usageError(`--from-secret ${reference}: not a namespace and a name`, 'write it as NAMESPACE/NAME');
  }
  const secret = await withApi(options, terminal, (api) => getSecret(api, namespace, name));
  if (!secret) {
    const hint = `\`kubectl get secrets --namespace ${namespace}\` lists what there is`;
    throw new CliError('POOL_MISSING', `there is no Secret ${namespace}/${name}`, hint);
  }
  return unwrap(readTlsSecret(secret, options.caId ?? name));
}

async function fromFiles(cert: string, options: Options, terminal: Terminal): Promise<CaMaterial> {
  const { key, chain, caId } = options;
  if (key === undefined) throw usageError('--cert without --key', 'give the private key with --key FILE');
  if (caId === undefined) throw usageError('--cert without --ca-id', 'give the CA a name with --ca-id ID');
  return {
    id: caId,
    privateKey: { name: nameOfInput(key), pem: textOf(await readInput(terminal, key)) },
    certificates: await readFiles(terminal, cert, chain),
  };
}

function readFiles(
  terminal: Terminal,
  cert: string,
  chain: string | undefined,
): Promise<CaMaterial['certificates']> {
  const files = chain === undefined ? [cert] : [cert, chain];
  return Promise.all(
    files.map(async (file) => ({ name: nameOfInput(file), pem: pemText(await readInput(terminal, file)) })),
  );
}

function unwrap<T>(imported: Imported<T>): T {
  if (!imported.ok) throw poolError(imported.problem);
  return imported.value;
}
